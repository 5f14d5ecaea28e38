"""The parts of one run on a cluster. The plan and what was found out before are shipped once to each node."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facexcli import journal
from facexcli.batch.cluster_worker import PartWorker, Shipment
from facexcli.batch.crew import render_with_crew
from facexcli.batch.staff import Staff
from facexcli.errors import OutputError
from facexcli.events import Informed
from facexcli.pipeline.kept import KEPT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from facexcli.batch.cluster import Cluster, Share
    from facexcli.batch.crew import Kind
    from facexcli.batch.ledger import Ledger
    from facexcli.events import Reporter
    from facexcli.pipeline.analyse import StageProgress
    from facexcli.pipeline.parts import Segment
    from facexcli.pipeline.plan import Plan


def render_on_cluster(
    plan: Plan,
    segments: Sequence[Segment],
    ledger: Ledger,
    cluster: Cluster,
    share: Share,
    weights: Mapping[str, str],
    progress: StageProgress,
    reporter: Reporter,
) -> None:
    """Render `segments` into the ledger's folder, which all nodes share. See `crew.render_with_crew`.

    weights: SHA-256 by name, which the nodes have to have too.
    """
    count = min(share.count, len(segments))
    reporter.emit(Informed(f"{len(segments)} parts on {count} workers of the cluster {cluster.address}"))
    folder = ledger.folder.absolute()
    mark = folder / f".shared.{secrets.token_hex(4)}.part"
    journal.half_written(mark)
    try:
        mark.touch()
        kept = {name: path.read_bytes() for name in sorted(KEPT) if (path := folder / name).is_file()}
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
    try:
        shipment = Shipment(_for_worker(plan).model_dump_json(), folder, mark, Path.cwd(), kept, dict(weights))
        crew = _Actors(Staff(cluster, PartWorker, share, reporter), cluster.put(shipment))
        render_with_crew(crew, count, segments, ledger, progress, reporter)
    finally:
        mark.unlink(missing_ok=True)


def _for_worker(plan: Plan) -> Plan:
    compute = plan.settings.compute.model_copy(update={"workers": 1, "cluster": ""})
    return plan.model_copy(update={"settings": plan.settings.model_copy(update={"compute": compute})})


class _Actors:
    """A `crew.Crew` of workers on a cluster."""

    def __init__(self, staff: Staff, shipment: Any) -> None:
        self._staff, self._shipment = staff, shipment

    def start(self, number: int) -> None:
        """See `Crew`. The worker is ready when a node has room for it."""
        self._staff.hire(number)

    def give(self, number: int, segment: Segment | None) -> None:
        """See `Crew`."""
        self._staff.tell(number, "give", segment)

    def hear(self) -> Iterator[tuple[int, Kind, Any]]:
        """See `Crew`."""
        for said in self._staff.hear():
            if said.kind == "ready":
                self._staff.call(said.number, "render", self._shipment)
                yield said.number, "ready", None
            elif said.kind == "died":
                yield said.number, "died", said.item
            elif said.kind == "item":
                kind, value = said.item
                yield said.number, kind, value

    def close(self) -> None:
        """See `Crew`."""
        self._staff.close()

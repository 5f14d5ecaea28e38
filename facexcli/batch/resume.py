"""A run that goes on where an earlier one ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from facexcli.batch.code import code_digest
from facexcli.batch.ledger import Ledger, work_folder
from facexcli.batch.local import render_with_workers, worker_count
from facexcli.batch.segments import cut_segments
from facexcli.errors import Interrupted
from facexcli.events import Informed, SilentReporter, Warned
from facexcli.media.pipe import STANDARD
from facexcli.media.probe import fingerprint
from facexcli.pipeline.perception import occlusion_network
from facexcli.pipeline.run import run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from fractions import Fraction

    from facexcli.batch.cluster import Cluster, Share
    from facexcli.events import Reporter
    from facexcli.pipeline.analyse import StageProgress
    from facexcli.pipeline.models import Models
    from facexcli.pipeline.parts import Segment
    from facexcli.pipeline.plan import Plan
    from facexcli.pipeline.render import RenderCounts
    from facexcli.pipeline.result import RunResult


def run_resumable(
    plan: Plan,
    reporter: Reporter | None = None,
    overwrite: bool = False,
    *,
    fresh: bool = False,
    keep_work: bool = False,
    models: Models | None = None,
) -> RunResult:
    """`pipeline.run.run`, but a video that is longer than one segment survives whatever ends the process.

    Its finished segments lie in `OUT.facex/`, and the same call goes on with them; `fresh` renders all anew. The folder
    is removed at success unless `keep_work`. What goes into a pipe, pictures, GIF and AVI are written in one go.

    Raises as `run` does; also UsageError for a folder that holds parts of something else, OutputError for one in use,
    Interrupted instead of KeyboardInterrupt where parts are kept, and what `Cluster` raises, before all work.
    """
    reporter = reporter or SilentReporter()
    address = plan.settings.compute.cluster
    if not address:
        return _run(plan, reporter, overwrite, KeptParts(plan, reporter, fresh, keep_work), models)
    from facexcli.batch.cluster import Cluster

    with Cluster(address) as cluster:
        share = cluster.share(plan.settings.compute.device, plan.settings.compute.workers)
        parts = KeptParts(plan, reporter, fresh, keep_work, (cluster, share))
        result = _run(plan, reporter, overwrite, parts, models)
        if not parts.were_many:
            reporter.emit(Warned(f"{plan.output} was rendered here and not on the cluster: it is of one part"))
        return result


def _run(plan: Plan, reporter: Reporter, overwrite: bool, parts: KeptParts, models: Models | None) -> RunResult:
    settings = plan.settings
    # With --temporal a frame is made of the one before it: there is nothing to begin with in the middle.
    if plan.output == STANDARD or not settings.compute.segment_s or settings.sampling.temporal:
        return run(plan, reporter, overwrite, models=models)
    try:
        return run(plan, reporter, overwrite, parts, models)
    except KeyboardInterrupt as error:
        if kept := parts.close():
            raise Interrupted("interrupted", f"{kept}: the same command goes on with them") from error
        raise
    except BaseException:
        if kept := parts.close():
            reporter.emit(Warned(f"{kept}: the same command goes on with them"))
        raise
    finally:
        if kept := parts.close():
            reporter.emit(Informed(kept))


class KeptParts:
    """`pipeline.parts.Parts` in a work folder. Rendered here, or by that share of a cluster."""

    def __init__(
        self,
        plan: Plan,
        reporter: Reporter,
        fresh: bool = False,
        keep_work: bool = False,
        cluster: tuple[Cluster, Share] | None = None,
    ) -> None:
        self._plan, self._reporter, self._fresh, self._keep_work = plan, reporter, fresh, keep_work
        self._cluster, self._weights = cluster, dict[str, str]()
        self._segment_s = plan.settings.compute.segment_s
        self.were_many = False
        self._ledger: Ledger | None = None

    def begin(self, frames: int | None, frame_rate: Fraction, weights: Mapping[str, str]) -> None:
        """See `Parts`. A video that is hardly longer than one segment gets no folder."""
        self._weights.update(weights)
        if frames is None or len(cut_segments(0, frames, frame_rate, self._segment_s, ())) > 1:
            self._ledger = Ledger(work_folder(self._plan.output), _header(self._plan, weights), self._fresh)

    def place(self, name: str) -> Path | None:
        """See `Parts`."""
        return self._ledger.folder / name if self._ledger is not None else None

    def cut(self, start: int, stop: int, frame_rate: Fraction, shots: Sequence[int]) -> Sequence[Segment]:
        """See `Parts`. Without a folder all is one: the file is longer than its header says."""
        return cut_segments(start, stop, frame_rate, self._segment_s if self._ledger else 0, shots)

    def render(
        self,
        segments: Sequence[Segment],
        encode: Callable[[Segment, Path], RenderCounts],
        progress: StageProgress,
        reporter: Reporter,
    ) -> Sequence[tuple[Path, RenderCounts]]:
        """See `Parts`."""
        ledger = self._ledger
        assert ledger is not None
        self.were_many = True
        todo = [segment for segment in segments if not ledger.verified(segment)]
        if len(todo) < len(segments):
            done = len(segments) - len(todo)
            reporter.emit(Informed(f"{ledger.folder}: {done} of {len(segments)} parts are there from an earlier run"))
            left = set(todo)
            progress.skip(sum(ledger.counts(segment).frames for segment in segments if segment not in left))
        workers = min(worker_count(self._plan), len(todo))
        if self._cluster is not None and todo:
            from facexcli.batch.cluster_parts import render_on_cluster

            render_on_cluster(self._plan, todo, ledger, *self._cluster, self._weights, progress, reporter)
        elif workers > 1:
            render_with_workers(self._plan, todo, ledger, workers, progress, reporter)
        else:
            for segment in todo:
                ledger.finished(segment, encode(segment, ledger.path(segment)))
        return [(ledger.path(segment), ledger.counts(segment)) for segment in segments]

    def finish(self) -> None:
        """See `Parts`."""
        if self._ledger is not None and not self._keep_work:
            self._ledger.remove()
            self._ledger = None

    def close(self) -> str:
        """Let go of the folder, and remove it where it holds no part; says what is kept, the first time."""
        ledger, self._ledger = self._ledger, None
        if ledger is None:
            return ""
        if not ledger.done:
            ledger.remove()
            return ""
        ledger.close()
        return f"finished parts are kept in {ledger.folder}"


def _header(plan: Plan, weights: Mapping[str, str]) -> dict[str, Any]:
    """All that the frames and packets of the segments depend on. What it takes is known before anything is analysed."""
    people = plan.settings.people
    network = occlusion_network() if plan.settings.look.occlusion != "off" else None
    return {
        "format": 2,
        "plan": plan.fingerprint,
        "inputs": [item.fingerprint for item in plan.inputs],
        "people": [fingerprint(path) for path in (people.match, people.analysis) if path is not None],
        "weights": [dict(weights), *(item.fingerprint for item in plan.weights), *_digests(network)],
        "code": code_digest(),
        "container": plan.output.suffix.lower(),
        "segment_s": plan.settings.compute.segment_s,
    }


def _digests(weights: Path | None) -> list[str]:
    """Of weights that lie somewhere: a file, or the files of a folder."""
    if weights is None:
        return []
    files = sorted(path for path in weights.rglob("*") if path.is_file()) if weights.is_dir() else [weights]
    return [fingerprint(path) for path in files]


__all__ = ["KeptParts", "code_digest", "run_resumable"]

"""Worker processes on this machine that render the segments of one run side by side.

Each worker runs the plan like anybody: it opens the engine and prepares the identities once, with the faces and the
occlusion model that the parent found and keeps in the work folder; then it takes segments from the parent over a pipe
until there are none. A worker ends when its pipe closes, so none outlives its parent.
"""

from __future__ import annotations

import multiprocessing
from contextlib import suppress
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from facexcli.batch.crew import render_with_crew
from facexcli.batch.worker import work
from facexcli.device import devices_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

    from facexcli.batch.crew import Kind
    from facexcli.batch.ledger import Ledger
    from facexcli.events import Reporter
    from facexcli.pipeline.analyse import StageProgress
    from facexcli.pipeline.parts import Segment
    from facexcli.pipeline.plan import Plan


def worker_count(plan: Plan) -> int:
    """How many workers a plan asks for: `--workers`, and at least one for each device."""
    compute = plan.settings.compute
    return max(compute.workers, len(devices_of(compute.device)))


def render_with_workers(
    plan: Plan,
    segments: Sequence[Segment],
    ledger: Ledger,
    workers: int,
    progress: StageProgress,
    reporter: Reporter,
) -> None:
    """Render `segments` with so many processes. See `crew.render_with_crew`."""
    render_with_crew(_Processes(plan, ledger), workers, segments, ledger, progress, reporter)


class _Processes:
    """A `crew.Crew` of processes."""

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self._plan, self._ledger = plan, ledger
        self._workers: dict[Connection, _Worker] = {}
        self._ready: list[int] = []

    def start(self, number: int) -> None:
        """See `Crew`. A process takes what is in its pipe when it has come so far."""
        worker = _Worker(number, _for_worker(self._plan, number), self._ledger)
        self._workers[worker.pipe] = worker
        self._ready.append(number)

    def give(self, number: int, segment: Segment | None) -> None:
        """See `Crew`."""
        worker = next(worker for worker in self._workers.values() if worker.number == number)
        worker.is_at_work = segment is not None
        with suppress(OSError):  # dead already: its end of the pipe is heard next
            worker.pipe.send(segment)

    def hear(self) -> Iterator[tuple[int, Kind, Any]]:
        """See `Crew`."""
        while self._ready:
            yield self._ready.pop(0), "ready", None
        for pipe in wait(list(self._workers)):
            worker = self._workers[pipe]  # type: ignore[index]
            try:
                kind, value = worker.pipe.recv()
            except (EOFError, OSError):
                del self._workers[worker.pipe]
                yield worker.number, "died", f"exit {worker.stop()}"
            else:
                yield worker.number, kind, value

    def close(self) -> None:
        """See `Crew`."""
        for worker in self._workers.values():
            worker.kill()
        for worker in self._workers.values():
            worker.stop()
        self._workers.clear()


class _Worker:
    """A process, this end of its pipe, and whether it has a segment in work."""

    def __init__(self, number: int, plan: Plan, ledger: Ledger) -> None:
        context = multiprocessing.get_context("spawn")
        self.number = number
        self.pipe, theirs = context.Pipe()
        self.is_at_work = False
        self._process = context.Process(
            target=work, args=(theirs, plan.model_dump_json(), ledger.folder), name=f"facex-{number}", daemon=True
        )
        self._process.start()
        theirs.close()

    def kill(self) -> None:
        """Send it to its end, without waiting."""
        if self.is_at_work:
            self._process.kill()

    def stop(self) -> int | None:
        """End it, unless it has ended by itself; its exit code."""
        self.pipe.close()
        self._process.join(0 if self.is_at_work else 0.2)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        return self._process.exitcode


def _for_worker(plan: Plan, number: int) -> Plan:
    """The plan on the worker's own device."""
    devices = devices_of(plan.settings.compute.device)
    compute = plan.settings.compute.model_copy(update={"device": devices[number % len(devices)], "workers": 1})
    return plan.model_copy(update={"settings": plan.settings.model_copy(update={"compute": compute})})


__all__ = ["render_with_workers", "worker_count"]

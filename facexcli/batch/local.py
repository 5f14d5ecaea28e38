"""Worker processes on this machine that render the segments of one run side by side.

Each worker runs the plan like anybody: it opens the engine and prepares the identities once, with the faces and the
occlusion model that the parent found and keeps in the work folder; then it takes segments from the parent over a pipe
until there are none. A worker ends when its pipe closes, so none outlives its parent.
"""

from __future__ import annotations

import multiprocessing
from contextlib import suppress
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from facexcli.batch.segments import Shares
from facexcli.batch.worker import work
from facexcli.device import devices_of
from facexcli.errors import DeviceError
from facexcli.events import Warned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from facexcli.batch.ledger import Ledger
    from facexcli.events import Reporter
    from facexcli.pipeline.analyse import StageProgress
    from facexcli.pipeline.parts import Segment
    from facexcli.pipeline.plan import Plan
    from facexcli.pipeline.render import RenderCounts

RETRIES = 2
"""How often a segment is given to another worker after the death of one."""


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
    """Render `segments` into the ledger's folder with so many processes.

    Raises what a worker raises, and DeviceError for a segment whose workers died again and again. All workers have
    ended when it returns, however it does.
    """
    _Pool(plan, segments, ledger, workers, progress, reporter).run()


class _Pool:
    def __init__(
        self,
        plan: Plan,
        segments: Sequence[Segment],
        ledger: Ledger,
        workers: int,
        progress: StageProgress,
        reporter: Reporter,
    ) -> None:
        self._plan, self._ledger, self._progress, self._reporter = plan, ledger, progress, reporter
        self._count = workers
        self._shares = Shares(segments, workers)
        self._deaths: dict[int, int] = {}
        self._workers: dict[Connection, _Worker] = {}

    def run(self) -> None:
        try:
            for number in range(self._count):
                self._start(number)
            while self._workers:
                for pipe in wait(list(self._workers)):
                    self._hear(self._workers[pipe])  # type: ignore[index]
        finally:
            for worker in self._workers.values():
                worker.kill()
            for worker in self._workers.values():
                worker.stop()

    def _start(self, number: int) -> None:
        worker = _Worker(number, _for_worker(self._plan, number), self._ledger)
        self._workers[worker.pipe] = worker
        self._give(worker)

    def _give(self, worker: _Worker) -> None:
        worker.segment = self._shares.take(worker.number)
        worker.frames = 0
        with suppress(OSError):  # dead already: its end of the pipe is heard next
            worker.pipe.send(worker.segment)

    def _hear(self, worker: _Worker) -> None:
        try:
            kind, value = worker.pipe.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if kind == "failed":
            raise value
        if kind == "said":
            self._reporter.emit(value)
        elif kind == "rendered":
            self._count_frames(worker, value)
        else:
            self._finished(worker, value)

    def _finished(self, worker: _Worker, counts: RenderCounts) -> None:
        assert worker.segment is not None
        self._ledger.finished(worker.segment, counts)
        self._count_frames(worker, counts.frames)
        self._give(worker)

    def _count_frames(self, worker: _Worker, frames: int) -> None:
        """The worker has rendered so many of its segment."""
        if frames != worker.frames:
            self._progress.advance(frames - worker.frames)
            worker.frames = frames

    def _bury(self, worker: _Worker) -> None:
        del self._workers[worker.pipe]
        code = worker.stop()
        segment = worker.segment
        if segment is None:
            return
        self._count_frames(worker, 0)
        deaths = self._deaths[segment.number] = self._deaths.get(segment.number, 0) + 1
        if deaths > RETRIES:
            raise DeviceError(f"part {segment.number} of {self._plan.output} ended {deaths} workers (last exit {code})",
                              "use fewer --workers if memory ran out; -v shows more")  # fmt: skip
        self._reporter.emit(
            Warned(f"a worker died (exit {code}); part {segment.number} is given to another (retry {deaths})")
        )
        self._shares.give_back(worker.number, segment)
        self._start(worker.number)


class _Worker:
    """A process, this end of its pipe, the segment that it has in work, and how many of its frames it has rendered."""

    def __init__(self, number: int, plan: Plan, ledger: Ledger) -> None:
        context = multiprocessing.get_context("spawn")
        self.number = number
        self.pipe, theirs = context.Pipe()
        self.segment: Segment | None = None
        self.frames = 0
        self._process = context.Process(
            target=work, args=(theirs, plan.model_dump_json(), ledger.folder), name=f"facex-{number}", daemon=True
        )
        self._process.start()
        theirs.close()

    def kill(self) -> None:
        """Send it to its end, without waiting."""
        if self.segment is not None:
            self._process.kill()

    def stop(self) -> int | None:
        """End it, unless it has ended by itself; its exit code."""
        self.pipe.close()
        self._process.join(0.2 if self.segment is None else 0)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        return self._process.exitcode


def _for_worker(plan: Plan, number: int) -> Plan:
    """The plan on the worker's own device."""
    devices = devices_of(plan.settings.compute.device)
    compute = plan.settings.compute.model_copy(update={"device": devices[number % len(devices)], "workers": 1})
    return plan.model_copy(update={"settings": plan.settings.model_copy(update={"compute": compute})})


__all__ = ["RETRIES", "render_with_workers", "worker_count"]

"""Worker processes on this machine that render the segments of one run side by side.

Each worker runs the plan like anybody: it opens the engine, finds the faces (known from the parent's analysis, in the
cache) and prepares the identities once; then it takes segments from the parent over a pipe until there are none. A
worker ends when its pipe closes, so none outlives its parent.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections import deque
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facexcli.errors import DeviceError, FacexError
from facexcli.events import SilentReporter, Warned
from facexcli.pipeline.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from fractions import Fraction
    from multiprocessing.connection import Connection

    from facexcli.batch.ledger import Ledger
    from facexcli.events import Reporter
    from facexcli.pipeline.parts import Segment
    from facexcli.pipeline.render import RenderCounts

RETRIES = 2
"""How often a segment is given to another worker after the death of one."""


def render_with_workers(
    plan: Plan, segments: Sequence[Segment], ledger: Ledger, workers: int, reporter: Reporter
) -> None:
    """Render `segments` into the ledger's folder with so many processes.

    Raises what a worker raises, and DeviceError for a segment whose workers died again and again. All workers have
    ended when it returns, however it does.
    """
    _Pool(plan, segments, ledger, reporter).run(workers)


class _Pool:
    def __init__(self, plan: Plan, segments: Sequence[Segment], ledger: Ledger, reporter: Reporter) -> None:
        self._plan, self._ledger, self._reporter = plan, ledger, reporter
        self._todo = deque(segments)
        self._deaths: dict[int, int] = {}
        self._workers: dict[Connection, _Worker] = {}

    def run(self, workers: int) -> None:
        try:
            for _ in range(workers):
                self._start()
            while self._workers:
                for pipe in wait(list(self._workers)):
                    self._hear(self._workers[pipe])  # type: ignore[index]
        finally:
            for worker in self._workers.values():
                worker.stop()

    def _start(self) -> None:
        worker = _Worker(self._plan)
        self._workers[worker.pipe] = worker
        self._give(worker)

    def _give(self, worker: _Worker) -> None:
        worker.segment = self._todo.popleft() if self._todo else None
        with suppress(OSError):  # dead already: its end of the pipe is heard next
            worker.pipe.send(worker.segment and (worker.segment, self._ledger.path(worker.segment)))

    def _hear(self, worker: _Worker) -> None:
        try:
            answer = worker.pipe.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if isinstance(answer, BaseException):
            raise answer
        assert worker.segment is not None
        self._ledger.finished(worker.segment, answer)
        self._give(worker)

    def _bury(self, worker: _Worker) -> None:
        del self._workers[worker.pipe]
        code = worker.stop()
        segment = worker.segment
        if segment is None:
            return
        deaths = self._deaths[segment.number] = self._deaths.get(segment.number, 0) + 1
        if deaths > RETRIES:
            raise DeviceError(f"part {segment.number} of {self._plan.output} ended {deaths} workers (last exit {code})",
                              "use fewer --workers if memory ran out; -v shows more")  # fmt: skip
        self._reporter.emit(Warned(f"a worker died (exit {code}); part {segment.number} is given to another"))
        self._todo.appendleft(segment)
        self._start()


class _Worker:
    """A process, this end of its pipe, and the segment that it has in work."""

    def __init__(self, plan: Plan) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.segment: Segment | None = None
        self._process = context.Process(target=_work, args=(theirs, plan.model_dump_json()), daemon=True)
        self._process.start()
        theirs.close()

    def stop(self) -> int | None:
        """End it at once, unless it has; its exit code."""
        self.pipe.close()
        self._process.join(0.2 if self.segment is None else 0)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        return self._process.exitcode


class _NoMore(Exception):
    """There are no more segments."""


class _Taken:
    """`pipeline.parts.Parts` in a worker: segments come from the pipe, and counts go back."""

    def __init__(self, pipe: Connection, seconds: float) -> None:
        self._pipe, self._seconds = pipe, seconds

    def cut(self, start: int, stop: int, frame_rate: Fraction, shots: Sequence[int]) -> Sequence[Segment]:
        """See `Parts`."""
        from facexcli.batch.segments import cut_segments

        return cut_segments(start, stop, frame_rate, self._seconds, shots)

    def render(
        self, segments: Sequence[Segment], encode: Callable[[Segment, Path], RenderCounts]
    ) -> Sequence[tuple[Path, RenderCounts]]:
        """See `Parts`. Never returns: the parent joins."""
        while (taken := self._pipe.recv()) is not None:
            segment, path = taken
            if segment != segments[segment.number]:
                raise DeviceError(f"part {segment.number} is not cut alike in all workers", "use --workers 1")
            self._pipe.send(encode(segment, path))
        raise _NoMore

    def finish(self) -> None:
        """See `Parts`."""


def _work(pipe: Any, plan_json: str) -> None:
    """What a worker does."""
    from facexcli.pipeline.run import run

    _end_with_the_parent()
    plan = Plan.model_validate_json(plan_json)
    try:
        run(plan, SilentReporter(), True, _Taken(pipe, plan.settings.compute.segment_s))
    except (_NoMore, EOFError, BrokenPipeError):
        pass
    except FacexError as error:
        with suppress(OSError):
            pipe.send(type(error)(error.message, error.hint))


def _end_with_the_parent() -> None:
    """A parent that was killed cannot stop its workers."""
    import os

    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()

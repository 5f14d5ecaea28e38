"""What a worker process does: it runs a plan, and renders those parts of it that it is told to.

It knows nothing of who starts it. Over its line come `Segment`s, and None when there are no more; back go pairs:
("finished", RenderCounts) for each, ("rendered", frames of the segment so far), ("said", event) and ("failed", error).
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import platform
import signal
import threading
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from facexcli.batch.segments import cut_segments, part_path
from facexcli.errors import DeviceError, WeightsError
from facexcli.events import Informed, StageAdvanced, Warned
from facexcli.pipeline.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from fractions import Fraction
    from multiprocessing.connection import Connection
    from pathlib import Path

    from facexcli.events import Event, Reporter
    from facexcli.pipeline.analyse import StageProgress
    from facexcli.pipeline.parts import Segment
    from facexcli.pipeline.render import RenderCounts


class Line(Protocol):
    """The way to the parent and back."""

    def recv(self) -> Segment | None:
        """Wait for the next segment."""

    def send(self, message: tuple[str, Any], /) -> None:
        """Say a pair; raises OSError where nobody listens."""


def work(pipe: Connection, plan_json: str, folder: Path) -> None:
    """`serve`, as all that a process of this machine does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    _end_with_the_parent()
    serve(pipe, Plan.model_validate_json(plan_json), folder)


def serve(
    pipe: Line, plan: Plan, folder: Path, kept: Path | None = None, weights: Mapping[str, str] | None = None
) -> None:
    """Render the segments that come over the line into files in `folder`, until it says that there are no more.

    Args:
        kept: the folder with what was found out before; `folder` itself if None.
        weights: those of the parent, to be compared with (SHA-256 by name), where they may be others.
    """
    from facexcli.pipeline.run import run

    line = _Told(pipe)
    try:
        run(plan, line, True, _TakenParts(pipe, line, folder, kept or folder, plan.settings.compute.segment_s, weights))
    except (_NoMore, EOFError, BrokenPipeError):
        pass
    except BaseException as error:
        line.say("failed", portable(error))


class _NoMore(Exception):
    """There are no more segments."""


class _Told:
    """The way back to the parent, from any thread; a `Reporter`."""

    def __init__(self, pipe: Line) -> None:
        self._pipe, self._lock = pipe, threading.Lock()
        self.before = 0
        """Frames of earlier segments."""

    def say(self, kind: str, value: Any) -> None:
        with self._lock, suppress(OSError):  # a parent that is gone ends this process otherwise
            self._pipe.send((kind, value))

    def emit(self, event: Event) -> None:
        if isinstance(event, Warned | Informed):
            self.say("said", event)
        elif isinstance(event, StageAdvanced) and event.stage == "render":
            self.say("rendered", event.done - self.before)


class _TakenParts:
    """`pipeline.parts.Parts` in a worker: segments come over the line, and counts go back."""

    def __init__(
        self, pipe: Line, line: _Told, folder: Path, kept: Path, seconds: float, weights: Mapping[str, str] | None
    ) -> None:
        self._pipe, self._line, self._folder, self._kept, self._seconds = pipe, line, folder, kept, seconds
        self._weights = weights

    def begin(self, frames: int | None, frame_rate: Fraction, weights: Mapping[str, str]) -> None:
        """See `Parts`. The parent has checked all that is the same here."""
        if self._weights is not None and dict(weights) != dict(self._weights):
            names = sorted({name.partition("/")[0] for name, _ in set(weights.items()) ^ set(self._weights.items())})
            raise WeightsError(f"node {platform.node()} has other weights: {', '.join(names)}",
                               "`facex models pull` on every node, or FACEX_HOME on a path that all share")  # fmt: skip

    def place(self, name: str) -> Path:
        """See `Parts`."""
        return self._kept / name

    def cut(self, start: int, stop: int, frame_rate: Fraction, shots: Sequence[int]) -> Sequence[Segment]:
        """See `Parts`."""
        return cut_segments(start, stop, frame_rate, self._seconds, shots)

    def render(
        self,
        segments: Sequence[Segment],
        encode: Callable[[Segment, Path], RenderCounts],
        progress: StageProgress,
        reporter: Reporter,
    ) -> Sequence[tuple[Path, RenderCounts]]:
        """See `Parts`. Never returns: the parent joins."""
        while (segment := self._pipe.recv()) is not None:
            if segment != segments[segment.number]:
                raise DeviceError(f"part {segment.number} is not cut alike in all workers", "use --workers 1")
            counts = encode(segment, part_path(self._folder, segment))
            self._line.before += counts.frames
            self._line.say("finished", counts)
        raise _NoMore

    def finish(self) -> None:
        """See `Parts`."""


def portable(error: BaseException) -> BaseException:
    """The error that is being handled, with its traceback as a note; one with the same text if it survives no pipe."""
    error.add_note(f"in a worker:\n{traceback.format_exc()}")
    with suppress(Exception):
        if str(pickle.loads(pickle.dumps(error))) == str(error):
            return error
    return RuntimeError(f"in a worker: {type(error).__name__}: {error}")


def _end_with_the_parent() -> None:
    """A parent that was killed cannot stop its workers."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()

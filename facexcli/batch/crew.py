"""The parts of one run, given to whoever renders them: shared out, counted, and given to another when somebody dies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

from facexcli.batch.segments import Shares
from facexcli.errors import DeviceError
from facexcli.events import Warned

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from facexcli.batch.ledger import Ledger
    from facexcli.events import Reporter
    from facexcli.pipeline.analyse import StageProgress
    from facexcli.pipeline.parts import Segment

RETRIES = 2
"""How often a segment is given to another worker after the death of one."""

Kind = Literal["ready", "died", "finished", "rendered", "said", "failed"]


class Crew(Protocol):
    """Workers by number, wherever they are. They do what `batch.worker` says."""

    def start(self, number: int) -> None:
        """Have a worker come, in the place of one that died if there was one."""

    def give(self, number: int, segment: Segment | None) -> None:
        """The worker's next segment; None when there are no more."""

    def hear(self) -> Iterable[tuple[int, Kind, Any]]:
        """Wait until a worker says something: `batch.worker`'s pairs, ready (for a segment), or died (of what)."""

    def close(self) -> None:
        """End all workers at once."""


def render_with_crew(
    crew: Crew, count: int, segments: Sequence[Segment], ledger: Ledger, progress: StageProgress, reporter: Reporter
) -> None:
    """Render `segments` into the ledger's folder with `count` workers.

    Raises what a worker raises, and DeviceError for a segment whose workers died again and again. All workers have
    ended when it returns, however it does.
    """
    _Sharing(crew, count, segments, ledger, progress, reporter).run()


class _Sharing:
    def __init__(
        self,
        crew: Crew,
        count: int,
        segments: Sequence[Segment],
        ledger: Ledger,
        progress: StageProgress,
        reporter: Reporter,
    ) -> None:
        self._crew, self._count, self._ledger = crew, count, ledger
        self._progress, self._reporter = progress, reporter
        self._shares, self._left = Shares(segments, count), len(segments)
        self._segments: dict[int, Segment] = {}
        """What each worker has in work, and how many of its frames are rendered."""
        self._frames: dict[int, int] = {}
        self._deaths: dict[int, int] = {}

    def run(self) -> None:
        try:
            for number in range(self._count):
                self._crew.start(number)
            while self._left:
                for number, kind, value in self._crew.hear():
                    self._heard(number, kind, value)
        finally:
            self._crew.close()

    def _heard(self, number: int, kind: Kind, value: Any) -> None:
        if kind == "failed":
            raise value
        if kind == "said":
            self._reporter.emit(value)
        elif kind == "rendered":
            self._count_frames(number, value)
        elif kind == "died":
            self._bury(number, value)
        else:
            if kind == "finished":
                self._ledger.finished(self._segments.pop(number), value)
                self._count_frames(number, value.frames)
                self._left -= 1
            self._give(number)

    def _give(self, number: int) -> None:
        self._frames[number] = 0
        segment = self._shares.take(number)
        if segment is not None:
            self._segments[number] = segment
        self._crew.give(number, segment)

    def _count_frames(self, number: int, frames: int) -> None:
        """The worker has rendered so many of its segment."""
        if frames != self._frames[number]:
            self._progress.advance(frames - self._frames[number])
            self._frames[number] = frames

    def _bury(self, number: int, reason: str) -> None:
        segment = self._segments.pop(number, None)
        if segment is None:
            return
        self._count_frames(number, 0)
        deaths = self._deaths[segment.number] = self._deaths.get(segment.number, 0) + 1
        if deaths > RETRIES:
            raise DeviceError(f"part {segment.number} of {self._ledger.folder} ended {deaths} workers ({reason})",
                              "use fewer --workers if memory ran out; -v shows more")  # fmt: skip
        self._reporter.emit(
            Warned(f"a worker died ({reason}); part {segment.number} is given to another (retry {deaths})")
        )
        self._shares.give_back(number, segment)
        self._crew.start(number)

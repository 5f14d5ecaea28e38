"""Strictly ascending time stamps, out of whatever a decoder gives."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_GAP_S = 10


class Clock:
    """Puts missing, repeated and backward time stamps in order.

    A frame whose time is missing, not later than the one before, or far beyond the one after, goes halfway between its
    neighbours, or one frame's duration after the one before, whichever is sooner: so sound stays in step. Where the
    times start again (joined files), they go on by durations.

    `nominal` is the duration of a frame that has none, `start` the time of a first frame that has none, in `time_base`.
    """

    def __init__(self, nominal: int, start: int, time_base: Fraction) -> None:
        self._nominal, self._start, self._time_base = nominal, start, time_base
        self._last: int | None = None
        self._step = nominal
        self._repaired = 0
        self._gap_s = Fraction(0)

    @property
    def warnings(self) -> list[str]:
        """What was found so far, one line each."""
        found = []
        if self._repaired:
            found.append(f"{self._repaired} time stamps were missing, repeated or out of order; repaired")
        if self._gap_s:
            found.append(f"its time stamps leave a gap of {float(self._gap_s):.1f} s")
        return found

    def timed(self, natives: Iterable[Any]) -> Iterator[tuple[Any, int, int]]:
        """Each libav frame with its (pts, duration); reads one frame ahead."""
        waiting = None
        for native in natives:
            if waiting is not None:
                yield waiting, *self.next(waiting.pts, waiting.duration, native.pts)
            waiting = native
        if waiting is not None:
            yield waiting, *self.next(waiting.pts, waiting.duration, None)

    def next(self, pts: int | None, duration: int, following: int | None) -> tuple[int, int]:
        """The (pts, duration) of the next frame, given what the decoder says of it and of the one after."""
        duration = duration if duration > 0 else self._nominal
        if self._last is None:
            place = self._start if pts is None else pts
        else:
            place = self._between(self._last, pts, following)
            gap_s = (place - self._last) * self._time_base
            if gap_s > _GAP_S:
                self._gap_s = max(self._gap_s, gap_s)
        self._repaired += place != pts
        self._last, self._step = place, duration
        return place, duration

    def _between(self, last: int, pts: int | None, following: int | None) -> int:
        end = following if following is not None and following > last else None
        if pts is not None and pts > last and (end is None or pts <= max(end, last + 2 * self._step)):
            return pts
        half = self._step if end is None else (end - last) // 2
        return last + max(1, min(self._step, half))

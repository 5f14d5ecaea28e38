"""Where a long video is cut into segments that are rendered by themselves, and who renders which."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING

from facexcli.media.packets import SUFFIX
from facexcli.pipeline.parts import Segment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction
    from pathlib import Path

SLACK = 0.25
"""How far a border may move to a shot's begin, as a share of a segment; a rest that is shorter is no segment."""


def cut_segments(
    start: int, stop: int, frame_rate: Fraction, seconds: float, shots: Sequence[int]
) -> tuple[Segment, ...]:
    """Frames [start, stop) in segments of about `seconds`, each beginning with a shot where one begins nearby.

    The last one is open: frames that are found behind `stop` belong to it. `shots` are the first frames of shots,
    ascending. One segment where all is hardly longer than one, or `seconds` is 0.
    """
    length = round(seconds * frame_rate)
    if length < 1:
        return (Segment(0, start, None),)
    slack = int(length * SLACK)
    borders = [start]
    while stop - borders[-1] > length + slack:
        borders.append(_near_shot(borders[-1] + length, slack, shots))
    ends = [*borders[1:], None]
    return tuple(Segment(number, begin, end) for number, (begin, end) in enumerate(zip(borders, ends, strict=True)))


def _near_shot(border: int, slack: int, shots: Sequence[int]) -> int:
    near = shots[bisect_left(shots, border - slack) : bisect_left(shots, border + slack + 1)]
    return min(near, key=lambda shot: abs(shot - border), default=border)


def part_path(folder: Path, segment: Segment) -> Path:
    """The file of a segment in a work folder."""
    return folder / f"{segment.number:06d}{SUFFIX}"


class Shares:
    """Segments, shared out among workers so that each has some that follow each other: one decoder runs through them.

    Who has done their own takes the later half of what another has left.
    """

    def __init__(self, segments: Sequence[Segment], workers: int) -> None:
        ends = [len(segments) * (number + 1) // workers for number in range(workers)]
        self._shares = [deque(segments[begin:end]) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]

    def take(self, worker: int) -> Segment | None:
        """The next segment for a worker, by its number from 0; None when nothing is left."""
        own = self._shares[worker]
        if not own:
            other = max(self._shares, key=len)
            for _ in range((len(other) + 1) // 2):
                own.appendleft(other.pop())
        return own.popleft() if own else None

    def give_back(self, worker: int, segment: Segment) -> None:
        """A segment that was taken, and not done."""
        self._shares[worker].appendleft(segment)

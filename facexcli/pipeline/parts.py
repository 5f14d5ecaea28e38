"""A long video is rendered in parts: what a part is, and what whoever keeps them has to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from facexcli.pipeline.painter import Job
from facexcli.pipeline.render import RenderCounts
from facexcli.types import Frame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction
    from pathlib import Path

    from facexcli.events import Reporter
    from facexcli.pipeline.analyse import StageProgress

JOINED = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm"))
"""Containers whose video can be put together from packets of several encoders. AVI has no time stamps for that."""

MakeJobs = Callable[[Iterator[Frame]], Iterator[Job]]
"""Gives frames of the timeline the faces that are painted in them."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Frames [start, stop) by their index in the file, or all from `start` on; `number` counts from 0."""

    number: int
    start: int
    stop: int | None


class Parts(Protocol):
    """Says where a video is cut, has its parts rendered by whomever, and keeps them until they are joined."""

    def begin(self, frames: int | None, frame_rate: Fraction, weights: Mapping[str, str]) -> None:
        """A video of about so many frames is about to be analysed and rendered, with these weights (SHA-256 by name).

        Raises UsageError where parts of something else are kept in its place, OutputError where nothing can be.
        """

    def place(self, name: str) -> Path | None:
        """Where to keep what was found out, for whoever renders parts; None where nothing is kept."""

    def cut(self, start: int, stop: int, frame_rate: Fraction, shots: Sequence[int]) -> Sequence[Segment]:
        """The segments of frames [start, stop); a single one is rendered without parts. shots: their first frames."""

    def render(
        self,
        segments: Sequence[Segment],
        encode: Callable[[Segment, Path], RenderCounts],
        progress: StageProgress,
        reporter: Reporter,
    ) -> Sequence[tuple[Path, RenderCounts]]:
        """All segments as files of packets, in order, and what was counted.

        `encode` renders one in this process, fastest in ascending order, and counts its frames in `progress`; those of
        others are counted here.
        """

    def finish(self) -> None:
        """The parts were joined, and the result is in its place."""


def total_counts(counts: Sequence[RenderCounts]) -> RenderCounts:
    """Those of the whole, from those of its parts in order."""
    per_track: Counter[int] = Counter()
    doubts: Counter[str] = Counter()
    for part in counts:
        per_track.update(part.per_track)
        doubts.update(part.doubts)
    spans = [part.span for part in counts if part.frames]
    span = range(spans[0].start, spans[-1].stop) if spans else range(0)
    return RenderCounts(
        sum(part.frames for part in counts), sum(part.painted for part in counts), dict(per_track), dict(doubts), span
    )

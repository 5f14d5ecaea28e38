"""Which frames a file has, read from its packets without decoding: what makes exact seeking possible."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import av

from facexcli.media.container import open_input, packets_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction
    from pathlib import Path

    from facexcli.types import MediaInfo

# Containers whose packets carry presentation times and key frame marks that can be relied on.
_TRUSTED = frozenset(("mov", "mp4", "matroska"))
# Packets of these are not frames: some are hidden, or shown again.
_HIDDEN_FRAMES = frozenset(("vp8", "vp9", "av1"))


@dataclass(frozen=True, slots=True)
class FrameTable:
    """pts: of all frames, ascending; the position is the frame index. keyframe_pts: where decoding can begin."""

    pts: tuple[int, ...]
    keyframe_pts: tuple[int, ...]

    def index_at(self, pts: int | Fraction) -> int:
        """The first frame that begins at `pts` or later."""
        return bisect_left(self.pts, pts)

    def index_of(self, pts: int) -> int | None:
        """The frame that begins at exactly `pts`."""
        index = self.index_at(pts)
        return index if self.pts[index : index + 1] == (pts,) else None

    def keyframe_before(self, index: int) -> int | None:
        """pts of the last key frame that is shown at `index` or before; None where there is none."""
        if not 0 <= index < len(self.pts):
            return None
        position = bisect_right(self.keyframe_pts, self.pts[index])
        return self.keyframe_pts[position - 1] if position else None


def frame_table(path: Path, info: MediaInfo) -> FrameTable | None:
    """The table of a file's frames; None where its packets do not tell them for certain. Reads the file once."""
    if not _TRUSTED & set(info.container.split(",")) or info.video_codec in _HIDDEN_FRAMES:
        return None
    pts: list[int] = []
    keyframes: list[int] = []  # positions in `pts`
    try:
        with open_input(path) as container:
            for packet in packets_of(container, [container.streams[info.stream_index]]):
                if not packet.size or packet.is_discard:
                    continue
                if packet.pts is None or packet.is_corrupt:
                    return None
                if packet.is_keyframe:
                    keyframes.append(len(pts))
                pts.append(packet.pts)
    except av.FFmpegError:
        return None
    ordered = sorted(pts)
    if not pts or ordered[0] != info.start_pts or any(after == before for before, after in pairwise(ordered)):
        return None
    if not _groups_follow_each_other(pts, keyframes):
        return None
    return FrameTable(tuple(ordered), tuple(pts[position] for position in keyframes))


def _groups_follow_each_other(pts: Sequence[int], keyframes: Sequence[int]) -> bool:
    """Whether all that is decoded before a key frame is shown before all that is decoded from it on.

    So it is wherever times are in order, leading pictures included; elsewhere the decoder's times have to be repaired,
    and the packets do not tell what comes of it.
    """
    latest = list(accumulate(pts, max))
    earliest = list(accumulate(reversed(pts), min))[::-1]
    return all(latest[position - 1] < earliest[position] for position in keyframes if position)

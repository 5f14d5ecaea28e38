"""What a run says of how strongly it painted each face."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facexcli.evaluate.values import DoubtfulFrame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from facexcli.pipeline.result import RunResult
    from facexcli.types import Array

_FULL = 0.95
"""What is painted stronger than this is painted in full."""


def painted_strengths(run: RunResult, start: int) -> Mapping[str, Array]:
    """By a person's name the strength of the new face, float64 (frames,) in 0..1, NaN where there was none.

    `start` is the frame of the target that the result begins with.
    """
    strengths = {}
    for person in run.people:
        values = np.full(run.frames, np.nan)
        for presence in (run.presences[track_id] for track_id in person.track_ids if track_id in run.presences):
            rows, inside = _rows(presence.frame_indices, start, run.frames)
            values[rows] = presence.strength[inside]
        if np.isfinite(values).any():
            strengths[person.name] = values
    return strengths


def weaker_frames(run: RunResult, start: int, duration_s: float) -> Iterator[DoubtfulFrame]:
    """The frames in which a face was painted weaker because the source has no view of its pose."""
    for person in run.people:
        for presence in (run.presences[track_id] for track_id in person.track_ids if track_id in run.presences):
            rows, inside = _rows(presence.frame_indices, start, run.frames)
            for row, strength, turned in zip(rows, presence.strength[inside], presence.turned[inside], strict=True):
                if turned and strength < _FULL:
                    reason = f"the source has no view of this pose: painted at {strength:.0%}"
                    yield DoubtfulFrame(int(row), float(row) * duration_s / run.frames, person.name, reason)


def merged(doubtful: Iterable[DoubtfulFrame]) -> tuple[DoubtfulFrame, ...]:
    """One for each person in each frame, with all reasons; in order of time."""
    found: dict[tuple[int, str], DoubtfulFrame] = {}
    for doubt in doubtful:
        other = found.get((doubt.frame_index, doubt.person))
        if other is not None:
            reason = f"{other.reason}; {doubt.reason}"
            doubt = DoubtfulFrame(other.frame_index, other.time_s, other.person, reason, other.box_px or doubt.box_px)
        found[doubt.frame_index, doubt.person] = doubt
    return tuple(found[key] for key in sorted(found))


def _rows(frame_indices: Array, start: int, frames: int) -> tuple[Array, Array]:
    """Rows of the result, int64 (M,), for those frames of the target that are in it, bool (N,)."""
    rows = frame_indices - start
    inside = (rows >= 0) & (rows < frames)
    return rows[inside], inside

"""Landmarks that cannot be true, replaced by what their neighbours in time tell.

A predictor fails now and then for a frame or a few: a hand, a flash, a smear. Smoothing would spread such a failure
over the frames around it, so it is taken out before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from facexcli.faces.tracklet import face_box
from facexcli.tracks import in_parts

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    from facexcli.types import Array, Box, Track

    Misfit = Callable[[Array], Array]
    """Landmarks (T, 68, 2) in frame pixels to how badly each frame's are a face: float64 (T,)."""

_LONGEST_S = 0.3
"""A failure that lasts longer has no neighbours that could tell what was there; it is left as it was measured."""
_SURROUNDINGS_S = 0.5
_LEAST_MISFIT = 0.10
_MISFIT_GROWTH = 2.0
"""Over the median of the frames around. Measured on 16 clips: at most 1.7; 0.02 to 0.05 for talkers, 0.08 for heads
that are turned by 45 degrees."""
_LEAST_JUMP = 0.06
"""Box widths between landmarks and the line from those before to those after; at most 0.023 on the same clips."""
_JUMP_OVER_STEPS = 3.0
"""A jump is that much faster than the face moves before and after it, so that a head that shakes is none."""


def repair_track(track: Track, frame_rate: Fraction | float, misfit: Misfit, *, reuse: bool = False) -> Track:
    """The track with implausible landmarks replaced by the straight line between the good ones before and after.

    Implausible are landmarks that are not finite, that for a short time fit a face much worse than in the frames
    around, or that jump away and back. Their faces are marked `repaired`. Nothing is taken from another shot, as a
    track is of one.

    Args:
        track: as it was measured, before smoothing.
        frame_rate: of the video.
        misfit: see `Misfit`; only called with finite landmarks.
        reuse: write over the landmarks of `track`, which must not be used any more: that takes half the memory.
    Raises:
        ValueError: a track without a single finite face.
    """
    faces, indices = track.faces, np.array(track.frame_indices)
    longest = max(1, round(float(frame_rate) * _LONGEST_S))
    lost = np.concatenate([~np.isfinite(faces.landmarks_px[part]).all(axis=(1, 2)) for part in in_parts(len(faces))])
    if lost.all():
        raise ValueError(f"track {track.id} has no finite landmarks")
    bridged = _Bridged(faces.landmarks_px, indices, lost)
    misfits = np.concatenate([misfit(bridged.part(part.start, part.stop)) for part in in_parts(len(faces))])
    bad = lost | _misfitting(misfits, max(longest + 1, round(float(frame_rate) * _SURROUNDINGS_S)), longest)
    if bad.all():  # those that fit badly are all that tells of the lost ones
        bad = lost.copy()
    bad |= _jumping(_Bridged(faces.landmarks_px, indices, bad), indices, longest)
    if not bad.any():
        return track
    landmarks = faces.landmarks_px if reuse else faces.landmarks_px.copy()
    boxes = faces.box_px.copy()
    landmarks[bad] = _Bridged(faces.landmarks_px, indices, bad).rows
    for place in np.flatnonzero(bad):
        boxes[place] = _box_for(faces.box_px[place], landmarks[place])
    repaired = faces.repaired | bad
    return replace(track, faces=replace(faces, landmarks_px=landmarks, box_px=boxes, repaired=repaired))


class _Bridged:
    """Landmarks (T, 68, 2) with the bad ones, bool (T,), on the line between their neighbours; held at the ends.

    rows: float64 (B, 68, 2), the bad ones, in order. Where all are bad, they are as they were.
    """

    def __init__(self, landmarks: Array, indices: Array, bad: Array) -> None:
        self._landmarks, self._bad = landmarks, bad
        # Only good ones beside bad ones say where these are.
        beside = np.flatnonzero(~bad & (np.append(bad[1:], False) | np.insert(bad[:-1], 0, False)))
        self.rows = landmarks[bad].astype(np.float64)
        if len(beside):
            flat = self.rows.reshape(len(self.rows), -1)
            for column, values in enumerate(landmarks[beside].astype(np.float64).reshape(len(beside), -1).T):
                flat[:, column] = np.interp(indices[bad], indices[beside], values)

    def part(self, start: int, stop: int) -> Array:
        """float64 (stop - start, 68, 2), a copy."""
        result = self._landmarks[start:stop].astype(np.float64)
        inside = self._bad[start:stop]
        if inside.any():
            first = np.count_nonzero(self._bad[:start])
            result[inside] = self.rows[first : first + np.count_nonzero(inside)]
        return result


def _misfitting(misfits: Array, reach: int, longest: int) -> Array:
    """bool (T,): a face that for at most `longest` frames fits much worse than in `reach` frames to both sides."""
    usual = np.array([np.median(misfits[max(0, i - reach) : i + reach + 1]) for i in range(len(misfits))])
    wrong = misfits > np.maximum(_LEAST_MISFIT, _MISFIT_GROWTH * usual)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wrong, [False]])))
    for start, stop in edges.reshape(-1, 2):
        if stop - start > longest:
            wrong[start:stop] = False
    return np.asarray(wrong)


def _jumping(bridged: _Bridged, indices: Array, longest: int) -> Array:
    """bool (T,): landmarks that leave the way of the face all at once, and come back as suddenly."""
    width, steps = _widths_and_steps(bridged, indices)
    wrong = np.zeros(len(indices), bool)
    # Both a way out and a way back have to be seen, and what is usual before and after.
    for start in (np.flatnonzero(steps[1:] > _LEAST_JUMP) + 2).tolist():
        for stop in range(start + 1, min(start + longest, len(indices) - 2) + 1):
            around = max(steps[start - 2], steps[stop])
            out, back = steps[start - 1], steps[stop - 1]
            if min(out, back) <= max(_LEAST_JUMP, _JUMP_OVER_STEPS * around):
                continue
            if _beside_the_way(bridged, indices, start, stop) > _LEAST_JUMP * width[start - 1]:
                wrong[start:stop] = True
                break
    return wrong


def _widths_and_steps(bridged: _Bridged, indices: Array) -> tuple[Array, Array]:
    """Widths of the faces' boxes (T,), and how far the landmarks move to the next, in widths a frame (T - 1,)."""
    widths, steps = [], []
    for part in in_parts(len(indices)):
        landmarks = bridged.part(max(0, part.start - 1), part.stop)
        boxes = [face_box(points) for points in landmarks[-(part.stop - part.start) :]]
        widths.append(np.array([box[2] - box[0] for box in boxes]))
        steps.append(np.linalg.norm(np.diff(landmarks, axis=0), axis=2).mean(axis=1))
    width = np.concatenate(widths)
    return width, np.concatenate(steps) / (width[1:] * np.diff(indices))


def _beside_the_way(bridged: _Bridged, indices: Array, start: int, stop: int) -> float:
    """Pixels between the landmarks of frames [start, stop) and the line from those before to those after: the least."""
    landmarks = bridged.part(start - 1, stop + 1)
    inside = np.ones(len(landmarks), bool)
    inside[[0, -1]] = False
    line = _Bridged(landmarks, indices[start - 1 : stop + 1], inside).rows
    return float(np.linalg.norm(landmarks[1:-1] - line, axis=2).mean(axis=1).min())


def _box_for(box_px: Array, landmarks_px: Array) -> Box:
    """The box for other landmarks; the pixels' proportions are those that the old box was made for."""
    aspect = (box_px[3] - box_px[1]) / (box_px[2] - box_px[0])
    return face_box(landmarks_px, aspect)

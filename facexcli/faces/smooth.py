"""Steady faces without lag: smoothing that looks both ways, and that leaves blinks and speech alone.

A track's landmarks are split into where the head is (a similarity) and what the face does (the rest). Both are filtered
by a local linear fit in a window of time whose weights also fall with the difference in value (a bilateral filter;
Tomasi and Manduchi 1998). So trembling is averaged away, while a lid that closes for two frames differs too much from
its neighbours to be averaged with them. The fit is linear, so that the ends of a track do not lag behind a motion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from facexcli.affine import transform_points
from facexcli.faces.align import crop_from_frame, fit_similarity
from facexcli.faces.shape import MEAN_SHAPE, STEADY_WEIGHTS
from facexcli.faces.tracklet import face_box
from facexcli.tracks import in_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from fractions import Fraction

    from facexcli.types import Array, TemplateName, Track


@dataclass(frozen=True, slots=True)
class Kernel:
    """How far the filter reaches at full strength: in seconds, and in values (units of the detector's box width)."""

    time_s: float
    value: float


_HEAD = Kernel(0.16, 0.006)
_ALIGNMENT = Kernel(0.30, 0.03)
_GROUPS = (
    (slice(0, 17), Kernel(0.12, 0.008)),  # jaw: the least certain points, and the slowest
    (slice(17, 27), Kernel(0.08, 0.005)),  # brows
    (slice(27, 36), Kernel(0.12, 0.005)),  # nose
    (slice(36, 48), Kernel(0.08, 0.0025)),  # both eyes, because lids close together
    (slice(48, 68), Kernel(0.06, 0.004)),  # lips
)
"""The reach in values is two to three times the noise of the difference of two frames (root mean square of a group)."""
_MIDDLE = np.array([0.5, 0.5])


def smooth_track(track: Track, frame_rate: Fraction | float, strength: float, *, reuse: bool = False) -> Track:
    """The track with steadier landmarks and boxes; everything else stays.

    Args:
        track: of one shot.
        frame_rate: frames per second, to turn frame indices into time.
        strength: 0 leaves the track as it is, 1 is the steadiest.
        reuse: write over the landmarks of `track`, which must not be used any more: that takes half the memory.
    Raises:
        ValueError: a strength outside 0..1.
    """
    _check(strength)
    if strength == 0 or len(track.faces) < 2:
        return track
    faces = track.faces
    landmarks = faces.landmarks_px if reuse else np.empty_like(faces.landmarks_px)
    boxes = np.empty_like(faces.box_px)
    times_s = np.array(track.frame_indices) / float(frame_rate)
    for part, before, after in _smoothed(faces.landmarks_px, times_s, strength):
        landmarks[part] = after
        for place, old, new in zip(range(part.start, part.stop), before, after, strict=True):
            boxes[place] = _moved(faces.box_px[place], old, new)
    return replace(track, faces=replace(faces, landmarks_px=landmarks, box_px=boxes))


def _smoothed(landmarks_px: Array, times_s: Array, strength: float) -> Iterator[tuple[slice, Array, Array]]:
    """Part by part, where it is, and the landmarks float64 (N, 68, 2) as they were and smoothed.

    A part may be overwritten as soon as it has been given out.
    """
    count = len(landmarks_px)
    frame_from_mean = np.empty((count, 3, 3))
    for place, points in enumerate(landmarks_px):
        frame_from_mean[place] = fit_similarity(MEAN_SHAPE, points.astype(np.float64), STEADY_WEIGHTS)
    head = _Similarities(count)
    head.add(frame_from_mean)
    head.smooth(times_s, _HEAD, strength)
    reaches = [_reach(times_s, 3 * kernel.time_s * strength) for _, kernel in _GROUPS]
    margin = max(reaches)
    earlier = landmarks_px[:0]
    for part in in_parts(count):
        around = slice(part.start - len(earlier), min(part.stop + margin, count))
        inside = slice(part.start - around.start, part.stop - around.start)
        known = np.concatenate([earlier, landmarks_px[part.start : around.stop]])
        earlier = known[max(0, inside.stop - margin) : inside.stop]
        known = known.astype(np.float64)
        own = _own_motion(known, frame_from_mean[around], times_s[around], reaches, strength)[inside]
        steady = head.matrices(part)
        points = np.stack([transform_points(matrix, face) for matrix, face in zip(steady, own, strict=True)])
        yield part, known[inside], points


def _own_motion(
    landmarks_px: Array, frame_from_mean: Array, times_s: Array, reaches: Sequence[int], strength: float
) -> Array:
    """What the face does besides the head, filtered: float64 (N, 68, 2) in the units of the mean face."""
    inverse = np.linalg.inv(frame_from_mean)
    own = np.stack([transform_points(matrix, points) for matrix, points in zip(inverse, landmarks_px, strict=True)])
    for (group, kernel), reach in zip(_GROUPS, reaches, strict=True):
        part = own[:, group]
        own[:, group] = _filter(part.reshape(len(part), -1), times_s, kernel, strength, reach).reshape(part.shape)
    return own


def steady_alignments(
    track: Track,
    template: TemplateName,
    size_px: int,
    frame_rate: Fraction | float,
    strength: float,
    sample_aspect_ratio: float = 1.0,
) -> Array:
    """crop_from_frame of every face of a track, float64 (T, 3, 3), smoothed more strongly than the landmarks are.

    A crop may lag a little in size or turn, because everything in it moves along; but it must never tremble, because
    then everything does. Arguments as for `crop_from_frame` and `smooth_track`.
    """
    _check(strength)
    square_from_frame = np.diag([float(sample_aspect_ratio), 1.0, 1.0])
    to_unit = np.diag([size_px, size_px, 1.0])
    count = len(track.faces)
    result = np.empty((count, 3, 3))
    for place, points in enumerate(track.faces.landmarks_px):
        result[place] = crop_from_frame(points, template, size_px, sample_aspect_ratio)
    if strength == 0 or count < 2:
        return result
    crops = _Similarities(count)
    for part in in_parts(count):
        crops.add(np.linalg.inv(result[part] @ np.linalg.inv(square_from_frame)) @ to_unit)
    crops.smooth(np.array(track.frame_indices) / float(frame_rate), _ALIGNMENT, strength)
    for part in in_parts(count):
        result[part] = to_unit @ np.linalg.inv(crops.matrices(part)) @ square_from_frame
    return result


class _Similarities:
    """Similarities from unit coordinates over time, as the middle, size and turn of the unit square."""

    def __init__(self, count: int) -> None:
        self._middles, self._factors, self._known = np.empty((count, 2)), np.empty(count, complex), 0
        self._parameters, self._typical = np.empty((0, 4)), 1.0

    def add(self, matrices: Array) -> None:
        """The next ones, (N, 3, 3)."""
        part = slice(self._known, self._known + len(matrices))
        self._factors[part] = matrices[:, 0, 0] + 1j * matrices[:, 1, 0]
        self._middles[part] = matrices[:, :2, :2] @ _MIDDLE + matrices[:, :2, 2]
        self._known = part.stop

    def smooth(self, times_s: Array, kernel: Kernel, strength: float) -> None:
        """When all are known."""
        sizes = np.abs(self._factors)
        self._typical = float(np.median(sizes))
        parameters = np.empty((self._known, 4))
        parameters[:, :2] = self._middles / self._typical
        parameters[:, 2] = np.log(sizes / self._typical)
        parameters[:, 3] = np.unwrap(np.angle(self._factors))
        reach = _reach(times_s, 3 * kernel.time_s * strength)
        self._parameters = np.empty_like(parameters)
        for part in in_parts(self._known):
            around = slice(max(0, part.start - reach), part.stop + reach)
            filtered = _filter(parameters[around], times_s[around], kernel, strength, reach)
            self._parameters[part] = filtered[part.start - around.start :][: part.stop - part.start]

    def matrices(self, part: slice) -> Array:
        """Some of them, smoothed: float64 (N, 3, 3)."""
        parameters = self._parameters[part]
        turned = self._typical * np.exp(parameters[:, 2] + 1j * parameters[:, 3])
        result = np.tile(np.eye(3), (len(parameters), 1, 1))
        result[:, 0, 0], result[:, 0, 1] = turned.real, -turned.imag
        result[:, 1, 0], result[:, 1, 1] = turned.imag, turned.real
        result[:, :2, 2] = parameters[:, :2] * self._typical - result[:, :2, :2] @ _MIDDLE
        return result


def _filter(values: Array, times_s: Array, kernel: Kernel, strength: float, reach: int) -> Array:
    """Bilateral local linear regression of (T, D) at its own points, over `reach` neighbours on both sides.

    The difference of two frames is the root mean square over D; it is measured against the straight line through the
    frame's neighbours only by its size, so that every value of a group is weighted alike.
    """
    time_sigma = kernel.time_s * strength
    moments = [np.ones(len(values)), np.zeros(len(values)), np.zeros(len(values))]
    sums = [values.copy(), np.zeros_like(values)]
    for shift in range(1, reach + 1):
        for here, there in ((slice(None, -shift), slice(shift, None)), (slice(shift, None), slice(None, -shift))):
            lag = times_s[there] - times_s[here]
            difference = np.sqrt(np.mean((values[there] - values[here]) ** 2, axis=1))
            weight = np.exp(-0.5 * (lag / time_sigma) ** 2 - 0.5 * (difference / kernel.value) ** 2)
            for power in range(3):
                moments[power][here] += weight * lag**power
            sums[0][here] += weight[:, None] * values[there]
            sums[1][here] += (weight * lag)[:, None] * values[there]
    return _intercept(moments, sums, time_sigma)


def _intercept(moments: list[Array], sums: list[Array], time_sigma: float) -> Array:
    """Value at lag 0 of each weighted line; a ridge keeps windows with hardly any neighbours at their mean."""
    zeroth, first, second = (moment[:, None] for moment in moments)
    second = second + 0.05 * time_sigma**2
    result: Array = (second * sums[0] - first * sums[1]) / (second * zeroth - first**2)
    return result


def _reach(times_s: Array, window_s: float) -> int:
    step = float(np.min(np.diff(times_s)))
    return min(len(times_s) - 1, int(window_s / step)) if step > 0 else 0


def _moved(box_px: Array, old: Array, new: Array) -> Array:
    return np.asarray(box_px + face_box(new) - face_box(old))


def _check(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be in 0..1, got {strength}")

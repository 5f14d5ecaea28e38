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

if TYPE_CHECKING:
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


def smooth_track(track: Track, frame_rate: Fraction | float, strength: float) -> Track:
    """The track with steadier landmarks and boxes; everything else stays.

    Args:
        track: of one shot.
        frame_rate: frames per second, to turn frame indices into time.
        strength: 0 leaves the track as it is, 1 is the steadiest.
    Raises:
        ValueError: a strength outside 0..1.
    """
    _check(strength)
    if strength == 0 or len(track.faces) < 2:
        return track
    landmarks = np.stack([face.landmarks_px for face in track.faces]).astype(np.float64)
    smoothed = smooth_landmarks(landmarks, np.array(track.frame_indices) / float(frame_rate), strength)
    faces = tuple(
        replace(face, landmarks_px=points.astype(np.float32), box_px=_moved(face.box_px, old, points))
        for face, old, points in zip(track.faces, landmarks, smoothed, strict=True)
    )
    return replace(track, faces=faces)


def smooth_landmarks(landmarks_px: Array, times_s: Array, strength: float) -> Array:
    """float64 (T, 68, 2) from (T, 68, 2) at ascending `times_s` (T,)."""
    frame_from_mean = np.stack([fit_similarity(MEAN_SHAPE, points, STEADY_WEIGHTS) for points in landmarks_px])
    inverse = np.linalg.inv(frame_from_mean)
    own = np.stack([transform_points(matrix, points) for matrix, points in zip(inverse, landmarks_px, strict=True)])
    for group, kernel in _GROUPS:
        part = own[:, group]
        own[:, group] = _filter(part.reshape(len(part), -1), times_s, kernel, strength).reshape(part.shape)
    steady = _smooth_similarities(frame_from_mean, times_s, _HEAD, strength)
    return np.stack([transform_points(matrix, points) for matrix, points in zip(steady, own, strict=True)])


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
    crops = np.stack(
        [crop_from_frame(face.landmarks_px, template, size_px, sample_aspect_ratio) for face in track.faces]
    )
    if strength == 0 or len(crops) < 2:
        return crops
    square_from_crop = np.linalg.inv(crops @ np.linalg.inv(square_from_frame))
    to_unit = np.diag([size_px, size_px, 1.0])
    times_s = np.array(track.frame_indices) / float(frame_rate)
    steady = _smooth_similarities(square_from_crop @ to_unit, times_s, _ALIGNMENT, strength)
    result: Array = to_unit @ np.linalg.inv(steady) @ square_from_frame
    return result


def _smooth_similarities(matrices: Array, times_s: Array, kernel: Kernel, strength: float) -> Array:
    """Filter similarities (T, 3, 3) from unit coordinates, by the middle, size and turn of the unit square."""
    factor = matrices[:, 0, 0] + 1j * matrices[:, 1, 0]
    size = np.abs(factor)
    middle = transform_points_each(matrices, np.array([0.5, 0.5]))
    typical = float(np.median(size))
    parameters = np.column_stack([middle / typical, np.log(size / typical), np.unwrap(np.angle(factor))])
    parameters = _filter(parameters, times_s, kernel, strength)
    turned = typical * np.exp(parameters[:, 2] + 1j * parameters[:, 3])
    result = np.tile(np.eye(3), (len(matrices), 1, 1))
    result[:, 0, 0], result[:, 0, 1] = turned.real, -turned.imag
    result[:, 1, 0], result[:, 1, 1] = turned.imag, turned.real
    result[:, :2, 2] = parameters[:, :2] * typical - result[:, :2, :2] @ np.array([0.5, 0.5])
    return result


def transform_points_each(matrices: Array, point: Array) -> Array:
    """One point (2,) through each of (T, 3, 3); float64 (T, 2)."""
    result: Array = matrices[:, :2, :2] @ point + matrices[:, :2, 2]
    return result


def _filter(values: Array, times_s: Array, kernel: Kernel, strength: float) -> Array:
    """Bilateral local linear regression of (T, D) at its own points.

    The difference of two frames is the root mean square over D; it is measured against the straight line through the
    frame's neighbours only by its size, so that every value of a group is weighted alike.
    """
    time_sigma = kernel.time_s * strength
    reach = _reach(times_s, 3 * time_sigma)
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


def _moved(box: tuple[float, float, float, float], old: Array, new: Array) -> tuple[float, float, float, float]:
    a, b = face_box(old), face_box(new)
    x0, y0, x1, y1 = (value + after - before for value, before, after in zip(box, a, b, strict=True))
    return (x0, y0, x1, y1)


def _check(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be in 0..1, got {strength}")

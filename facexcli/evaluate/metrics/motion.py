"""Pose and expression of the result beside those of the reference, by the 68-point fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facexcli.evaluate.measures import expression_errors, eye_opening, landmark_error, mouth_opening, rotation_angle_deg
from facexcli.geometry.model3d import fit_poses, unpose

if TYPE_CHECKING:
    from collections.abc import Callable

    from facexcli.types import Array

ANGLES = ("yaw_deg", "pitch_deg", "roll_deg")
INNER_POINTS = slice(17, 68)
"""Brows, nose, eyes and lips. The outline is the source's or the canvas's own, whatever the expression."""
LEAST_FRAMES = 10
"""Fewer frames do not tell a resting face from an expression."""


def motion_series(found_px: Array, reference_px: Array) -> dict[str, Array]:
    """Angles, errors of pose and expression, and openings of eyes and mouth: float64 (T,) each; see `PersonSeries`.

    The pose error is the angle between the two rotations; the pose motion error the distance of the three angles after
    each film's own median is taken off, so that it forgives another posture at rest. `expression_size` is the
    expression error that a face would have that does not move at all. Both expressions are left out below
    `LEAST_FRAMES`.

    found_px, reference_px: (T, 68, 2), T > 0, in square pixels, the same frames of both.
    """
    films = {"": np.asarray(found_px, np.float64), "_reference": np.asarray(reference_px, np.float64)}
    poses = {suffix: fit_poses(points) for suffix, points in films.items()}
    series: dict[str, Array] = {}
    for suffix, fitted in poses.items():
        for name, values in zip(ANGLES, np.array([pose.angles_deg for pose in fitted]).T, strict=True):
            series[name + suffix] = values
        series["eye_opening" + suffix] = _each(eye_opening, films[suffix])
        series["mouth_opening" + suffix] = _each(mouth_opening, films[suffix])
    series["pose_error_deg"] = np.array(
        [rotation_angle_deg(a.rotation, b.rotation) for a, b in zip(poses[""], poses["_reference"], strict=True)]
    )
    turns = [np.column_stack([series[name + suffix] for name in ANGLES]) for suffix in films]
    moved = [angles - np.median(angles, axis=0) for angles in turns]
    series["pose_motion_error_deg"] = np.linalg.norm(moved[0] - moved[1], axis=1)
    series["landmark_error"] = np.array([landmark_error(a, b) for a, b in zip(found_px, reference_px, strict=True)])
    if len(films[""]) >= LEAST_FRAMES:
        faces = [
            np.stack([unpose(points, pose)[INNER_POINTS, :2] for points, pose in zip(film, poses[suffix], strict=True)])
            for suffix, film in films.items()
        ]
        series["expression_error"] = expression_errors(*faces)
        series["expression_size"] = expression_errors(np.zeros_like(faces[1]), faces[1])
    return series


def _each(measure: Callable[[Array], float], landmarks_px: Array) -> Array:
    return np.array([measure(points) for points in landmarks_px])

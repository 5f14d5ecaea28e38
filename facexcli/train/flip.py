"""A face as it would be described in a mirror. Coefficients follow the picture, so that nothing is analysed again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facexcli.engines.facex.ford import FaceFacts
from facexcli.engines.facex.motion import EXPRESSIVE
from facexcli.faces.shape import MIRROR

if TYPE_CHECKING:
    from facexcli.types import Array

_PARTNERS: Array = np.array([int(np.flatnonzero(MIRROR[point] == EXPRESSIVE)[0]) for point in EXPRESSIVE])
_ODD_HARMONICS = (3, 4, 7)
"""x, xy and xz of `motion.harmonics` change their sign with x."""
_TEXTURE_GRID = (10, 8)


def mirrored(face: FaceFacts) -> FaceFacts:
    """Flipped left to right: pixels, masks, expression, pose, gaze, texture and light. Who it is stays.

    For coefficients of the stand-ins (`LandmarkMotion`, `IrisGaze`); the paper's face model has no such symmetry.
    """
    motion = face.motion
    return FaceFacts(
        np.ascontiguousarray(face.rgb[:, ::-1]),
        np.ascontiguousarray(face.masks[:, :, ::-1]),
        face.identity,
        {
            "expression": _expression(motion["expression"]),
            "pose": _pose(motion["pose"], face.rgb.shape[0]),
            "gaze": motion["gaze"][[2, 3, 0, 1]] * np.array([-1, 1, -1, 1], np.float32),
            "texture": motion["texture"].reshape(_TEXTURE_GRID)[:, ::-1].ravel(),
            "light": _light(motion["light"]),
        },
        None if face.landmarks_px is None else mirrored_points(face.landmarks_px, face.rgb.shape[0]),
    )


def mirrored_points(landmarks_px: Array, size_px: int) -> Array:
    """Landmarks (68, 2) of the flipped picture, in the usual order."""
    flipped = np.asarray(landmarks_px)[MIRROR].copy()
    flipped[:, 0] = size_px - 1 - flipped[:, 0]
    return flipped


def _expression(values: Array) -> Array:
    moved = values.reshape(-1, 2)[_PARTNERS] * np.array([-1, 1], np.float32)
    return np.asarray(moved.ravel())


def _pose(values: Array, size_px: int) -> Array:
    """Yaw, pitch, roll, x, y and log size; pixel centres lie at integers, so that x = -1/2 becomes 1/2 - 1/size."""
    yaw, pitch, roll, x, y, size = values
    return np.array([-yaw, pitch, -roll, -x - 1 / size_px, y, size], np.float32)


def _light(values: Array) -> Array:
    light = values.reshape(9, 3).copy()
    light[list(_ODD_HARMONICS)] *= -1
    return np.asarray(light.ravel())

"""How far a swapped face may keep the source's own proportions: brows, nose and lips lean toward where they were.

A face is known by where its features sit, not only by their texture. The lean is measured once between two faces at
rest and then moves with the canvas, so that raised brows and spoken words stay the canvas's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facexcli.fusion.mask import face_unit_px
from facexcli.geometry.warp import similarity, transform
from facexcli.types import LANDMARK_COUNT, Array

if TYPE_CHECKING:
    from facexcli.recipes import Attribute, Recipe

BROW_LEAN, NOSE_LEAN, LIP_LEAN = 0.27, 0.6, 0.8
"""Shares of the source's proportions, chosen so that features stay within 2 per cent of the interocular distance of the
canvas's on average; noses and lips buy more likeness for it than brows."""

_STEADY = (36, 39, 42, 45, 27, 28, 29, 30, 33, 48, 54, 8)
_BROW_AND_EYE = ((slice(17, 22), slice(36, 42)), (slice(22, 27), slice(42, 48)))
_NOSE = slice(27, 36)
_INNER_LIP_OF = {48: 60, 49: 61, 50: 61, 51: 62, 52: 63, 53: 63, 54: 64, 55: 65, 56: 65, 57: 66, 58: 67, 59: 67}
_YAW_TOLERANCE = 0.1
"""In `pose_signs`; about 17 degrees."""


def face_axes(landmarks_px: Array) -> Array:
    """The face's own frame: columns are its right and its down, as long as `face_unit_px`; float64 (2, 2)."""
    across = np.asarray(landmarks_px[45] - landmarks_px[36], np.float64)
    across *= face_unit_px(landmarks_px) / np.linalg.norm(across)
    return np.stack((across, (-across[1], across[0])), axis=1)


def pose_signs(landmarks_px: Array) -> Array:
    """Two numbers that go with yaw and pitch: where the nose tip lies from the middle of the eyes, float64 (2,)."""
    points = np.asarray(landmarks_px, np.float64)
    tip = points[30] - (points[[36, 39]].mean(axis=0) + points[[42, 45]].mean(axis=0)) / 2
    return np.asarray(np.linalg.solve(face_axes(landmarks_px), tip))


def neutral_of(motion_px: Array, pose: Array) -> Array:
    """The canvas face at rest, seen from about `pose`: the median of the frames nearest to it, aligned.

    motion_px: (T, 68, 2). Returns float64 (68, 2), in the pixels of the nearest frame.
    """
    distance = np.array([abs(pose_signs(frame)[0] - pose[0]) for frame in motion_px])
    nearest = np.argsort(distance, kind="stable")[: max(1, min(100, len(motion_px) // 2))]
    reference = motion_px[nearest[0]]
    steady = list(_STEADY)
    aligned = [transform(motion_px[i], similarity(motion_px[i][steady], reference[steady])) for i in nearest]
    return np.asarray(np.median(aligned, axis=0))


def lean(source_px: Array, canvas_px: Array) -> Array:
    """Where the source's proportions would move the landmarks of a canvas face at rest, in its own axes.

    Returns float64 (68, 2), in face units; 0 for landmarks that stay the canvas's.
    """
    source, canvas = np.asarray(source_px, np.float64), np.asarray(canvas_px, np.float64)
    steady = list(_STEADY)
    wanted = transform(source, similarity(source[steady], canvas[steady]))
    moved = np.zeros((LANDMARK_COUNT, 2))
    for brow, eye in _BROW_AND_EYE:
        moved[brow] = (wanted[brow] - wanted[eye].mean(axis=0)) - (canvas[brow] - canvas[eye].mean(axis=0))
    moved[_NOSE] = wanted[_NOSE] - canvas[_NOSE]
    for outer, inner in _INNER_LIP_OF.items():
        moved[outer] = (wanted[outer] - wanted[inner]) - (canvas[outer] - canvas[inner])
    in_axes = moved @ np.linalg.inv(face_axes(canvas)).T
    # Asymmetry is mostly pose that the two faces do not share.
    for part in (slice(17, 27), _NOSE):
        in_axes[part, 0] -= in_axes[part, 0].mean()
    return in_axes


def leaned(landmarks_px: Array, leaning: Array, source_pose: Array, recipe: Recipe) -> Array:
    """The canvas's landmarks, moved toward the source's proportions: float64 (68, 2), pixels.

    The lean fades as the canvas turns away from the pose in which it was measured, and only regions that the recipe
    takes from the source lean.
    """
    turned = (pose_signs(landmarks_px)[0] - source_pose[0]) / _YAW_TOLERANCE
    share = np.zeros((LANDMARK_COUNT, 1))
    parts: tuple[tuple[Attribute, slice, float], ...] = (
        ("eyebrows", slice(17, 27), BROW_LEAN),
        ("nose", _NOSE, NOSE_LEAN),
        ("lips", slice(48, 60), LIP_LEAN),
    )
    for region, part, amount in parts:
        if recipe[region] != "canvas":
            share[part] = amount
    share *= np.exp(-turned * turned)
    return np.asarray(landmarks_px + (share * leaning) @ face_axes(landmarks_px).T)

"""The motion of lips as a few numbers that fit any mouth: where the corners went, how far the lips are apart, how
thick they are.

Twenty landmarks jump by a pixel each; lips do not. What is read off one mouth is put on another in proportion to its
width, with one smooth profile along each lip, so that a thin lip stays a thin lip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from facexcli.types import Array

_UPPER_INNER, _LOWER_INNER = [61, 62, 63], [67, 66, 65]
_UPPER_EDGE, _LOWER_EDGE = [68, 61, 62, 63, 69], [71, 67, 66, 65, 70]
_UPPER_OUTER, _LOWER_OUTER = [49, 50, 51, 52, 53], [59, 58, 57, 56, 55]
_UPPER_MIDDLE, _LOWER_MIDDLE = [50, 51, 52], [58, 57, 56]
_LEFT, _RIGHT = [48, 60], [54, 64]
_ROUNDNESS = 0.65
"""Exponent of the opening's profile (1 - t^2) along the mouth: below 1, fuller than a parabola; 0.5 is an ellipse."""

LIP_LINE = [60, 68, 61, 62, 63, 69, 64, 70, 65, 66, 67, 71]
"""The inner edge of the lips, around the opening, in points that `with_lip_edges` has extended."""


@dataclass(frozen=True, slots=True)
class LipMotion:
    """Lips relative to their rest. Lengths are over the width of the resting mouth.

    left, right: float64 (2,), how far the corners went, x and y. gap: how much further the lips are apart, over the
    inner mouth's width. lift: how far the upper lip's edge rose over the corners. upper, lower: thickness over that at
    rest.
    """

    left: Array
    right: Array
    gap: float
    lift: float
    upper: float
    lower: float


RESTING_LIPS = LipMotion(np.zeros(2), np.zeros(2), 0.0, 0.0, 1.0, 1.0)


def mouth_width(points: Array) -> float:
    """Distance of the outer mouth corners in x and y, from points (68, 2 or 3)."""
    return float(np.linalg.norm(points[48, :2] - points[54, :2]))


def mouth_gap(points: Array) -> float:
    """Mean distance of the inner lips over the inner mouth's width, in x and y, from points (68, 2 or 3)."""
    planar = np.asarray(points, np.float64)[:, :2]
    gaps = np.linalg.norm(planar[_UPPER_INNER] - planar[_LOWER_INNER], axis=1)
    return float(gaps.mean() / max(float(np.linalg.norm(planar[60] - planar[64])), 1e-6))


def with_lip_edges(points: Array) -> Array:
    """Landmarks (68, D) and four more (72, D): midway from each inner corner to its neighbours, where an opening is
    round."""
    pairs = ((60, 61), (63, 64), (64, 65), (67, 60))
    return np.concatenate([points, [(points[a] + points[b]) / 2 for a, b in pairs]])


def measure_lips(points: Array) -> Array:
    """float64 (8,): corners left x, y, right x, y, gap, height of the upper edge over the corners, thicknesses.

    points: (68, 2 or 3) in face space. Lengths in face units, the gap as `mouth_gap`.
    """
    left, right = points[_LEFT, :2].mean(axis=0), points[_RIGHT, :2].mean(axis=0)
    height = np.mean([left[1], right[1]]) - points[_UPPER_INNER, 1].mean()
    upper = points[_UPPER_INNER, 1].mean() - points[_UPPER_MIDDLE, 1].mean()
    lower = points[_LOWER_MIDDLE, 1].mean() - points[_LOWER_INNER, 1].mean()
    return np.array([*left, *right, mouth_gap(points), height, upper, lower])


def lip_motion(measures: Array, rest: Array, width: float) -> LipMotion:
    """What `measures` mean relative to `rest`, both (8,) of `measure_lips`, for a mouth `width` wide at rest."""
    change = measures - rest
    left, right = change[:2] / width, change[2:4] / width
    # A mouth that slides or sinks as a whole is mostly an error of the pose; corners that rise together are a smile.
    both = (left + right) / 2
    excess = both - (0.3 * both[0], np.clip(both[1], -0.12, 0.03))
    opened = max(float(change[4]), 0.0)
    return LipMotion(
        left=np.clip(left - excess, -0.25, 0.25),
        right=np.clip(right - excess, -0.25, 0.25),
        gap=float(change[4]),
        # Most of an opening is the jaw's; landmarks of a wide mouth put too much of it on the upper lip.
        lift=float(np.clip(change[5] / width, -0.08, 0.02 + 0.35 * opened)),
        upper=float(np.clip(measures[6] / max(rest[6], 1e-3), 0.75, 1.3)),
        lower=float(np.clip(measures[7] / max(rest[7], 1e-3), 0.75, 1.3)),
    )


def move_lips(shape: Array, motion: LipMotion) -> tuple[Array, float]:
    """Points (72, 3) of `with_lip_edges` with the lips moved, and how far the middle of the lower lip dropped, in face
    units."""
    moved = np.array(shape, np.float64)
    width = mouth_width(shape)
    rest_gaps = shape[_LOWER_INNER, 1] - shape[_UPPER_INNER, 1]
    across = np.clip((shape[48:, 0] - shape[48, 0]) / (shape[54, 0] - shape[48, 0]), 0, 1)[:, None]
    moved[48:, :2] += width * (motion.left + across * (motion.right - motion.left))

    inner_width = float(np.linalg.norm(moved[60, :2] - moved[64, :2]))
    middle = _profile(shape, _UPPER_INNER, 60, 64).mean()
    # The lips never cross: at least half of the portrait's own gap stays.
    wanted = max(mouth_gap(shape) + motion.gap, 0.5 * mouth_gap(shape)) * inner_width
    opened = (wanted - rest_gaps.mean()) / middle
    lift = width * motion.lift
    drop = opened - lift
    moved[_UPPER_EDGE, 1] -= lift * _profile(shape, _UPPER_EDGE, 60, 64)
    moved[_LOWER_EDGE, 1] += drop * _profile(shape, _LOWER_EDGE, 60, 64)
    for points, edge, sign, travel, ratio in (
        (_UPPER_OUTER, _UPPER_INNER, -1.0, lift, motion.upper),
        (_LOWER_OUTER, _LOWER_INNER, 1.0, drop, motion.lower),
    ):
        profile = _profile(shape, points, 48, 54)
        thickness = abs(shape[points[1:4], 1].mean() - shape[edge, 1].mean())
        moved[points, 1] += sign * profile * (travel + (ratio - 1) * thickness)
    return moved, drop


def _profile(shape: Array, points: list[int], left: int, right: int) -> Array:
    """How much of an opening each point takes part in: 1 amid the lips, 0 at the corners."""
    along = 2 * (shape[points, 0] - shape[left, 0]) / (shape[right, 0] - shape[left, 0]) - 1
    return np.asarray((1 - np.clip(along, -1, 1) ** 2) ** _ROUNDNESS)

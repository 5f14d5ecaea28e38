"""Where a frame of a face shows what is not that face, from how far each pixel is from what was expected of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.fusion.mask import face_outline, face_unit_px, fill
from facexcli.types import Array

if TYPE_CHECKING:
    from facexcli.fusion.expectation import Comparison

_NEUTRAL, _RANGE = 1.5, 1.5
"""Standard deviations at which there is evidence neither for nor against an occluder, and beyond which more tells no
more."""
_FILTER_RADIUS_PX = 4
_FILTER_EPSILON = 0.002
_LEAST_AREA, _LEAST_OUTSIDE = 0.02, 0.004
"""Square face units: what is smaller, or does not come from beyond the face's outline, is the face itself, moving."""
_SURE_AREA, _SURE_DEVIATION = 0.03, 5.0
"""What is as large and as strange as this need not come from beyond the outline, unless it is an eye or a mouth."""
_MOVING_SHARE = 0.4
_UNKNOWN, _UNKNOWN_RANGE = 0.7, 0.2
"""Share of the face that may be strange before it is the expectation that must be wrong."""


def trust(comparison: Comparison) -> float:
    """0..1: how far the expectation can be relied on; a pose or a light that is new deviates all over."""
    strange = np.mean(comparison.deviation[comparison.inside > 0.5] > _NEUTRAL)
    return float(np.clip((_UNKNOWN + _UNKNOWN_RANGE - strange) / _UNKNOWN_RANGE, 0, 1))


def novelty(view: Array, deviation: Array, landmarks_px: Array) -> Array:
    """Where something that does not belong to the face reaches into it: float32 (N, N) in 0..1.

    The evidence of each pixel is gathered along the edges of the picture (the guided filter of K. He, J. Sun and
    X. Tang, "Guided image filtering", ECCV 2010); then only what hangs together and comes from outside is kept.

    Args:
        view: what `expectation.soft_ycrcb` made of the crop.
        deviation: float32 (N, N), in standard deviations.
        landmarks_px: (68, 2), pixels of the view.
    """
    evidence = np.clip((deviation - _NEUTRAL) / _RANGE, -1, 1)
    soft = np.clip(_guided(view[..., 0] / np.float32(255), evidence) * 2 + 0.5, 0, 1)
    inside = fill(face_outline(landmarks_px), view.shape[0]) > 127
    if not np.any(inside & (soft > 0.5)):
        return np.zeros_like(soft)
    _, labels, stats, _ = cv2.connectedComponentsWithStats((soft > 0.5).astype(np.uint8), connectivity=4)
    count, flat = len(stats), labels.ravel()
    area = stats[:, cv2.CC_STAT_AREA] / face_unit_px(landmarks_px) ** 2
    pixels = np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
    outside = 1 - np.bincount(flat, inside.ravel(), count) / pixels
    moving = np.bincount(flat, _moving_parts(landmarks_px, view.shape[0]).ravel(), count) / pixels
    strangeness = np.bincount(flat, deviation.ravel(), count) / pixels
    comes_in = (area > _LEAST_AREA) & (area * outside > _LEAST_OUTSIDE)
    lies_on = (area > _SURE_AREA) & (strangeness > _SURE_DEVIATION) & (moving < _MOVING_SHARE)
    kept = comes_in | lies_on
    kept[0] = False
    return np.asarray(soft * cv2.dilate(kept[labels].astype(np.float32), np.ones((3, 3), np.uint8)), np.float32)


def _moving_parts(landmarks_px: Array, side: int) -> Array:
    """Eyes and mouth with what moves around them: uint8 (side, side), 0 or 1."""
    mask, unit = np.zeros((side, side), np.uint8), face_unit_px(landmarks_px)
    fixed = np.round(np.asarray(landmarks_px, np.float64) * 16).astype(np.int32).reshape(-1, 1, 2)
    for part in (slice(36, 42), slice(42, 48), slice(48, 60)):
        cv2.fillPoly(mask, [fixed[part]], 1, cv2.LINE_8, 4)
        cv2.polylines(mask, [fixed[part]], True, 1, max(1, round(0.2 * unit)), cv2.LINE_8, 4)
    return mask


def _guided(guide: Array, values: Array) -> Array:
    """`values` smoothed within areas of like `guide` (both float32 (N, N), the guide 0..1)."""
    size = (2 * _FILTER_RADIUS_PX + 1, 2 * _FILTER_RADIUS_PX + 1)

    def mean(field: Array) -> Array:
        return np.asarray(cv2.boxFilter(field, -1, size))

    guide_mean, value_mean = mean(guide), mean(values)
    covariance = mean(guide * values) - guide_mean * value_mean
    slope = covariance / (mean(guide * guide) - guide_mean * guide_mean + np.float32(_FILTER_EPSILON))
    return mean(slope) * guide + mean(value_mean - slope * guide_mean)

"""Scalar measures read off 68 landmarks (iBUG order). All are ratios, so they need no scale."""

from __future__ import annotations

import numpy as np

from facexcli.types import Array

_EYES = (slice(36, 42), slice(42, 48))


def eye_opening(landmarks_px: Array) -> float:
    """Mean eye aspect ratio (Soukupova and Cech 2016): lid distance over eye width. landmarks_px (68, 2)."""
    ratios = []
    for eye in _EYES:
        outer, upper_a, upper_b, inner, lower_b, lower_a = np.asarray(landmarks_px, np.float64)[eye]
        lids = np.linalg.norm(upper_a - lower_a) + np.linalg.norm(upper_b - lower_b)
        ratios.append(lids / (2 * np.linalg.norm(outer - inner)))
    return float(np.mean(ratios))


def mouth_opening(landmarks_px: Array) -> float:
    """Mean distance of the inner lips over the inner mouth's width. landmarks_px (68, 2)."""
    points = np.asarray(landmarks_px, np.float64)
    gaps = np.linalg.norm(points[61:64] - points[67:64:-1], axis=1)
    return float(gaps.mean() / np.linalg.norm(points[60] - points[64]))


def interocular_px(landmarks_px: Array) -> float:
    """Distance of the outer eye corners, in pixels. landmarks_px (68, 2)."""
    return float(np.linalg.norm(landmarks_px[36] - landmarks_px[45]))


def landmark_error(landmarks_px: Array, reference_px: Array) -> float:
    """Mean distance of two landmark sets (68, 2) over the reference's interocular distance."""
    distances = np.linalg.norm(np.asarray(landmarks_px, np.float64) - reference_px, axis=1)
    return float(distances.mean() / interocular_px(reference_px))

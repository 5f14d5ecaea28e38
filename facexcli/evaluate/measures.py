"""Measures that are arithmetic alone: on 68 landmarks (iBUG order; ratios, so they need no scale) and on series."""

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


def pearson(a: Array, b: Array) -> float:
    """Correlation of two series (N,); NaN where one of them does not change."""
    if len(a) < 2 or np.std(a) < 1e-9 or np.std(b) < 1e-9:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def rotation_angle_deg(rotation: Array, reference: Array) -> float:
    """The angle of the turn that takes one rotation (3, 3) to another, 0..180."""
    cosine = (np.trace(np.asarray(rotation, np.float64) @ np.asarray(reference, np.float64).T) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def expression_errors(faces: Array, reference: Array) -> Array:
    """How far two people's expressions are apart, frame by frame: float64 (T,), in units of the points.

    faces, reference: (T, K, 2), points of the same frames with the pose taken out. Each person's own mean over these
    frames is taken off first, so that the difference of two people's features does not count. What is left is the mean
    distance of the K offsets. An expression that is held through all frames is invisible to it.
    """
    offsets = np.asarray(faces, np.float64) - np.mean(faces, axis=0, dtype=np.float64)
    expected = np.asarray(reference, np.float64) - np.mean(reference, axis=0, dtype=np.float64)
    return np.asarray(np.linalg.norm(offsets - expected, axis=2).mean(axis=1))


def psnr_db(mean_squared_error: float, peak: float = 255.0) -> float:
    """Peak signal to noise ratio; infinite for equal pictures."""
    return float(10 * np.log10(peak**2 / mean_squared_error)) if mean_squared_error > 0 else float("inf")


def cosine_similarity(a: Array, b: Array) -> float:
    """-1..1 of two vectors (D,)."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

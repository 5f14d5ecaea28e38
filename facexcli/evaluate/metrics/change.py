"""Where and how much a face was changed, read off the result and its canvas alone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from facexcli.evaluate.metrics.view import beside_face, coarse, inside_face
from facexcli.types import Array

NOISE_FACTOR = 4.0
"""What differs by more than so many times the noise beside it is another face. In clips that were only encoded again
(H.264, crf 18 to 42) a face differs by 0.9 to 3.4 times the noise, because it has more detail than a wall."""
_RIM_PX, _NEAR_PX, _FAR_PX = 1.5, 4.0, 9.0
_CODING_SLOPE = 1.0
"""What coding noise alone makes of a flat wall, in code values a pixel: less is not looked at."""
_EDGE_SHARE = 0.25
_LEAST_CODES = 4.0
_LEAST_PIXELS = 200


@dataclass(frozen=True, slots=True)
class Change:
    """Absolute difference of result and canvas at `view.COARSE_PX`, in 8-bit code values.

    face: the mean inside the face's outline. noise: the median beside the face, where only the encoder was at work,
    unless somebody else who was changed stands there; NaN where the view has no such place.
    """

    face: float
    noise: float


def change_of(result: Array, canvas: Array, landmarks_px: Array) -> Change:
    """Compare two views, uint8 (VIEW_PX, VIEW_PX, 3), of the face with these landmarks."""
    difference = np.abs(coarse(result) - coarse(canvas)).mean(axis=2)
    inside = coarse(inside_face(landmarks_px).astype(np.uint8)) > 0.99
    beside = coarse(beside_face(landmarks_px).astype(np.uint8)) > 0.99
    return Change(
        float(difference[inside].mean()) if inside.any() else float("nan"),
        float(np.median(difference[beside])) if beside.any() else float("nan"),
    )


def seam_of(result: Array, canvas: Array, landmarks_px: Array) -> float:
    """How much steeper the result is across the rim of the changed area than beside it, over the same for the canvas.

    About 1 without a seam: the chin's own edge is in both. Gradients are taken across the rim, on luma, and compared
    with those a little inside and outside of it. NaN where the change has no rim that could be measured.
    """
    changed = _changed_area(result, canvas, landmarks_px)
    if changed is None:
        return float("nan")
    depth = _signed_depth(changed)
    across = np.stack(_gradients(cv2.GaussianBlur(depth, (0, 0), 2.0)))
    across /= np.maximum(np.linalg.norm(across, axis=0), 1e-6)
    rim = np.abs(depth) <= _RIM_PX
    sides = [(side * depth > _NEAR_PX) & (side * depth <= _FAR_PX) for side in (1, -1)]
    if not all(area.any() for area in sides):
        return float("nan")
    jumps = []
    for view in (result, canvas):
        luma = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY).astype(np.float32)
        slope = np.abs((np.stack(_gradients(luma)) * across).sum(axis=0))
        beside = np.mean([slope[area].mean() for area in sides])
        jumps.append(float((slope[rim].mean() + _CODING_SLOPE) / (beside + _CODING_SLOPE)))
    return jumps[0] / jumps[1]


def _changed_area(result: Array, canvas: Array, landmarks_px: Array) -> Array | None:
    """uint8 (VIEW_PX, VIEW_PX), 1 inside the largest area that differs; None where hardly anything does."""
    difference = np.abs(result.astype(np.float32) - canvas).max(axis=2)
    difference = cv2.GaussianBlur(difference, (0, 0), 1.0)
    typical = float(np.percentile(difference[inside_face(landmarks_px)], 75))
    beside = beside_face(landmarks_px)
    noise = float(np.median(difference[beside])) if beside.any() else 0.0
    threshold = max(_EDGE_SHARE * typical, NOISE_FACTOR * noise, _LEAST_CODES)
    mask = (difference > threshold).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(outlines, key=cv2.contourArea, default=None)
    if largest is None or cv2.contourArea(largest) < _LEAST_PIXELS:
        return None
    area = np.zeros_like(mask)
    cv2.drawContours(area, [largest], -1, 1, cv2.FILLED)
    return area


def _signed_depth(area: Array) -> Array:
    """float32: distance to the rim, positive inside."""
    inner = cv2.distanceTransform(area, cv2.DIST_L2, 5)
    outer = cv2.distanceTransform(1 - area, cv2.DIST_L2, 5)
    return np.asarray(np.where(area > 0, inner - 0.5, 0.5 - outer), np.float32)


def _gradients(picture: Array) -> tuple[Array, Array]:
    """Along x and y, in units a pixel."""
    return cv2.Scharr(picture, cv2.CV_32F, 1, 0) / 32, cv2.Scharr(picture, cv2.CV_32F, 0, 1) / 32

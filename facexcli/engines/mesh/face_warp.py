"""The warp of a face onto another, which may have its mouth more closed than the first."""

from __future__ import annotations

import cv2
import numpy as np

from facexcli.fusion.mask import face_unit_px
from facexcli.geometry.warp import displacement_map
from facexcli.types import Array

_UPPER_INNER = (61, 62, 63)
_LOWER_INNER = (67, 66, 65)
_CORNERS = (60, 64)
_CHIN = 8
_SHUT_UNITS = 0.05
"""Lips nearer than this are shut; the landmarks of shut lips are never quite on each other."""
_RIM_UNITS = 0.02
"""How far teeth may show beyond the landmarks of the lips."""
_CLOSING_UNITS = 0.015
"""From this much of closing on, in face units, the two lips are warped apart."""


def face_map(source_px: Array, destination_px: Array, size_px: int) -> Array:
    """For each destination pixel the source position: float32 (S, S, 2). The points are (N, 2), landmarks first.

    Where the destination's lips are nearer to each other than the source's, one spline through both would have to fold
    up the teeth between them, and overshoots around them. Then each lip has a spline of its own that does not know of
    the other's inner rim, and they meet at the seam of the destination's mouth; what was between them is left out.
    """
    unit_px = face_unit_px(destination_px[:68])
    if _gap_px(source_px) * unit_px / face_unit_px(source_px[:68]) - _gap_px(destination_px) < _CLOSING_UNITS * unit_px:
        return displacement_map(source_px, destination_px, size_px, _grid_px(size_px))
    if _gap_px(destination_px) < _SHUT_UNITS * unit_px:
        destination_px = _shut(destination_px)
    upper = _without(_LOWER_INNER, source_px, destination_px, size_px)
    lower = _without(_UPPER_INNER, source_px, destination_px, size_px)
    share = _below_seam(destination_px, size_px, unit_px)[..., None]
    return np.asarray(upper + (lower - upper) * share, np.float32)


def without_teeth(rgb: Array, landmarks_px: Array) -> Array:
    """A source's texture, uint8 (S, S, 3), with its open mouth grown over by its lips; as it is where it is shut.

    The inside of the mouth is the canvas's in every result, so nothing is lost; and where the landmarks of the lips are
    a pixel off, lip shows and not teeth. Source: A. Telea, "An image inpainting technique based on the fast marching
    method", 2004.
    """
    unit_px = face_unit_px(landmarks_px)
    if _gap_px(landmarks_px) < _SHUT_UNITS * unit_px:
        return rgb
    mask = np.zeros(rgb.shape[:2], np.uint8)
    rim_px = max(1, round(2 * _RIM_UNITS * unit_px))
    outline = [np.round(np.asarray(landmarks_px[60:68], np.float64) * 16).astype(np.int32)]
    cv2.fillPoly(mask, outline, 255, cv2.LINE_AA, 4)
    cv2.polylines(mask, outline, True, 255, rim_px, cv2.LINE_AA, 4)
    return np.asarray(cv2.inpaint(rgb, mask, 3, cv2.INPAINT_TELEA))


def _shut(points: Array) -> Array:
    """The same face with the inner rims of its lips on each other."""
    points = np.array(points)
    upper, lower = list(_UPPER_INNER), list(_LOWER_INNER)
    points[upper] = points[lower] = (points[upper] + points[lower]) / 2
    return points


def _gap_px(points: Array) -> float:
    return float(np.linalg.norm(points[list(_UPPER_INNER)] - points[list(_LOWER_INNER)], axis=1).mean())


def _without(left_out: tuple[int, ...], source_px: Array, destination_px: Array, size_px: int) -> Array:
    kept = np.setdiff1d(np.arange(len(source_px)), left_out)
    return displacement_map(source_px[kept], destination_px[kept], size_px, _grid_px(size_px))


def _grid_px(size_px: int) -> int:
    """A grid as fine as the face needs, whatever the size of the crop."""
    return max(8, size_px // 32)


def _below_seam(points: Array, size_px: int, unit_px: float) -> Array:
    """float32 (S, S): 1 below the line on which the lips meet, as far as the mouth is wide and the chin is low."""
    left, right = points[list(_CORNERS)]
    middle = (points[list(_UPPER_INNER)] + points[list(_LOWER_INNER)]) / 2
    outline = np.vstack([left, middle, right, points[_CHIN] + (right - left) / 4, points[_CHIN] - (right - left) / 4])
    mask = np.zeros((size_px, size_px), np.uint8)
    cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    # The lips part within a pixel; towards the cheeks and the chin both splines agree, and are mixed softly.
    soft = cv2.GaussianBlur(mask, (0, 0), 0.05 * unit_px)
    near = cv2.dilate(_stroke(np.vstack([left, middle, right]), size_px), np.ones((3, 3), np.uint8))
    near = cv2.GaussianBlur(near, (0, 0), 0.04 * unit_px)
    weight = near.astype(np.float32) / max(1, int(near.max()))
    return np.asarray((mask * weight + soft * (1 - weight)) / 255, np.float32)


def _stroke(points: Array, size_px: int) -> Array:
    mask = np.zeros((size_px, size_px), np.uint8)
    cv2.polylines(mask, [np.round(points * 16).astype(np.int32)], False, 255, 2, cv2.LINE_AA, 4)
    return mask

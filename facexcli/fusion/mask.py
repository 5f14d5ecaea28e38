"""Soft masks drawn from 68 landmarks (iBUG order): the face with its forehead, its features, its openings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.recipes import FACE_REGIONS
from facexcli.types import Array

if TYPE_CHECKING:
    from facexcli.recipes import Recipe

FEATURES = ("eyebrows", "eyes", "nose", "lips")
_EYES = (range(36, 42), range(42, 48))
_BROWS = (range(17, 22), range(22, 27))
_OUTER_LIPS, _INNER_LIPS = range(48, 60), range(60, 68)
_NOSE = (27, 31, 32, 33, 34, 35)
_JAW = range(17)
_FRACTION_BITS = 4
_RIM = 0.06
"""Of a crop's side: how far a patch that reaches beyond the face fades into the picture around it."""
_HEAD_GROWTH = 1.15
"""From the outline of a face to that of its head without the hair on top: ears and cheeks."""


def face_unit_px(landmarks_px: Array) -> float:
    """A length that goes with the face and bears yaw: the geometric mean of its width and its brow-to-chin height,
    scaled to the outer interocular distance of an average frontal face. In pixels."""
    width = np.linalg.norm(landmarks_px[45] - landmarks_px[36])
    height = np.linalg.norm(landmarks_px[8] - landmarks_px[27])
    return float(max(width, 0.75 * height))


def forehead_points(landmarks_px: Array, count: int = 9) -> Array:
    """Where the hairline of an average face with these landmarks would be, from the left temple to the right.

    The face's thirds are taken as equal (hairline to brow, brow to nose base, nose base to chin; Farkas, "Anthropometry
    of the Head and Face", 1994) and the forehead as a half superellipse above the ears. float64 (count, 2), pixels.
    """
    points = np.asarray(landmarks_px, np.float64)
    up = points[27] - points[8]
    up /= np.linalg.norm(up)
    left, right = points[0], points[16]
    centre, half_width = (left + right) / 2, (right - left) / 2
    brow = points[17:27].mean(axis=0)
    third = float((brow - points[33]) @ up)
    height = float((brow - centre) @ up) + 0.92 * third
    # Under yaw the crown goes with the brows, not with the middle of the visible outline.
    lean = (points[[21, 22]].mean(axis=0) - centre) - ((points[[21, 22]].mean(axis=0) - centre) @ up) * up
    angle = np.linspace(np.pi, 0, count + 2)[1:-1]
    across = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.8
    along = np.sin(angle) ** 0.8
    return np.asarray(centre + across[:, None] * half_width + along[:, None] * (height * up + lean))


Size = int | tuple[int, int]
"""Side of a square, or (width, height), in pixels."""


def _width_height(size_px: Size) -> tuple[int, int]:
    return (size_px, size_px) if isinstance(size_px, int) else size_px


def fill(points_px: Array, size_px: Size) -> Array:
    """A filled polygon with an anti-aliased edge: uint8 (height, width), 255 inside. points_px (N, 2), crop pixels."""
    canvas = np.zeros(_width_height(size_px)[::-1], np.uint8)
    fixed = np.round(np.asarray(points_px, np.float64) * (1 << _FRACTION_BITS)).astype(np.int32)
    cv2.fillPoly(canvas, [fixed.reshape(-1, 1, 2)], 255, cv2.LINE_AA, _FRACTION_BITS)
    return canvas


def face_outline(landmarks_px: Array, forehead: bool = True) -> Array:
    """The closed outline of the face: jaw, then hairline or brows, float64 (N, 2)."""
    points = np.asarray(landmarks_px, np.float64)
    top = forehead_points(points)[::-1] if forehead else points[26:16:-1]
    return np.vstack([points[_JAW], top])


def head_mask(landmarks_px: Array, size_px: Size) -> Array:
    """The face and about as much of the head as shows around it, soft: float32 (height, width) in 0..1."""
    outline = face_outline(landmarks_px)
    middle = outline.mean(axis=0)
    mask = fill(middle + _HEAD_GROWTH * (outline - middle), size_px)
    return cv2.GaussianBlur(mask, (0, 0), 0.03 * face_unit_px(landmarks_px)).astype(np.float32) / 255


def rim_alpha(size_px: int) -> Array:
    """1 inside, softly 0 along a crop's rim: float32 (size_px, size_px), for patches that go beyond the face."""
    place = np.arange(size_px, dtype=np.float32)
    ramp = np.clip(np.minimum(place, place[::-1]) / np.float32(_RIM * size_px), 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return np.minimum(ramp[:, None], ramp[None])


def region_masks(landmarks_px: Array, size_px: Size) -> dict[str, Array]:
    """Soft masks of FACE_REGIONS that add up to 1 everywhere: float32 (height, width) in 0..1. `skin` is the rest."""
    points, unit = np.asarray(landmarks_px, np.float64), face_unit_px(landmarks_px)
    scale = 0.5
    size = _width_height(size_px)
    half = (round(size[0] * scale), round(size[1] * scale))
    masks: dict[str, Array] = {}
    for name, parts, grow in (
        ("eyebrows", [points[list(brow)] for brow in _BROWS], 0.11),
        ("eyes", [points[list(eye)] for eye in _EYES], 0.12),
        ("nose", [points[list(_NOSE)]], 0.09),
        ("lips", [points[list(_OUTER_LIPS)]], 0.06),
    ):
        mask = np.zeros(half[::-1], np.uint8)
        for part in parts:
            fixed = np.round(part * scale * 16).astype(np.int32).reshape(-1, 1, 2)
            closed = name != "eyebrows"
            if closed:
                cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, _FRACTION_BITS)
            cv2.polylines(mask, [fixed], closed, 255, max(1, round(2 * grow * unit * scale)), cv2.LINE_AA, 4)
        masks[name] = cv2.GaussianBlur(mask, (0, 0), 0.05 * unit * scale).astype(np.float32) / 255
    # Neighbours share the ground between them, so that choosing both leaves no gap.
    total = np.maximum(sum(masks.values()), 1.0)
    masks = {name: mask / total for name, mask in masks.items()}
    masks["skin"] = np.clip(1.0 - sum(masks.values()), 0.0, 1.0)
    return {name: cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR) for name, mask in masks.items()}


def face_alpha(
    landmarks_px: Array, size_px: Size, recipe: Recipe, feather: float = 0.5, forehead: bool = True
) -> Array:
    """Where the source may show: the face inside its outline, or the regions that the recipe takes from the source.

    Args:
        landmarks_px: (68, 2), crop pixels.
        recipe: rows of `FACE_REGIONS` that are not `canvas` open the mask.
        feather: 0..1, the width of the soft edge, which lies inside the outline.
        forehead: up to the hairline, else up to the brows.

    Returns:
        float32 (height, width) in 0..1, exactly 0 from six pixels outside the outline on, and along the crop's rim.
    """
    unit = face_unit_px(landmarks_px)
    size = _width_height(size_px)
    inside = fill(face_outline(landmarks_px, forehead) / 2 - 0.25, (round(size[0] / 2), round(size[1] / 2)))
    inside[[0, -1]] = 0
    inside[:, [0, -1]] = 0
    depth = cv2.distanceTransform((inside > 127).astype(np.uint8), cv2.DIST_L2, 3)
    width = max(0.75, (0.02 + 0.3 * feather) * unit / 2)
    ramp = cv2.GaussianBlur(np.clip((depth - 0.5) / width, 0, 1), (0, 0), 1.0)
    ramp = np.clip((ramp - 0.02) / 0.98, 0, 1)
    alpha: Array = cv2.resize(ramp * ramp * (3 - 2 * ramp), size, interpolation=cv2.INTER_LINEAR)
    taken = [region for region in FACE_REGIONS if recipe[region] != "canvas"]
    if len(taken) < len(FACE_REGIONS):
        masks = region_masks(landmarks_px, size_px)
        alpha *= sum((masks[region] for region in taken), np.float32(0))
    alpha[[0, -1]] = 0
    alpha[:, [0, -1]] = 0
    return alpha

"""Swap: the source's texture in the canvas face's geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.fusion.mask import face_outline, face_unit_px, fill, forehead_points
from facexcli.fusion.occlusion import bare_mask
from facexcli.fusion.skin import fit_skin
from facexcli.geometry.warp import displacement_map, warp_image
from facexcli.types import Array, Crop, EditRequest, Patch

if TYPE_CHECKING:
    from collections.abc import Sequence

_EYES = (slice(36, 42), slice(42, 48))
_INNER_LIPS = slice(60, 68)


@dataclass(frozen=True, slots=True)
class Still:
    """One prepared still: rgb uint8 (S, S, 3) with hair and background painted out; control points (N, 2)."""

    rgb: Array
    points_px: Array


@dataclass(frozen=True, slots=True)
class SwapState:
    """What `prepare` keeps of a person's stills."""

    stills: tuple[Still, ...]


def control_points(landmarks_px: Array) -> Array:
    return np.vstack([np.asarray(landmarks_px, np.float64), forehead_points(landmarks_px)])


def prepare_still(crop: Crop) -> Still:
    side = 96
    model = fit_skin(crop.rgb, crop.landmarks_px)
    bare = bare_mask(crop.rgb, crop.landmarks_px, model, side)
    inside = cv2.resize(fill(face_outline(crop.landmarks_px), crop.size_px), (side, side), interpolation=cv2.INTER_AREA)
    keep = cv2.erode(bare * inside / np.float32(255), np.ones((3, 3), np.uint8))
    return Still(_filled(crop.rgb, keep), control_points(crop.landmarks_px))


def _filled(rgb: Array, keep: Array) -> Array:
    """Replace what is not kept by the colours around it, from near to far (normalised blurs)."""
    side, size = keep.shape[0], rgb.shape[0]
    small = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    filled = np.zeros_like(small)
    filled[:] = (small * keep[..., None]).sum(axis=(0, 1)) / keep.sum()
    for sigma in (24, 12, 6, 3, 1.5):
        mass = cv2.GaussianBlur(keep, (0, 0), sigma)[..., None]
        near = cv2.GaussianBlur(small * keep[..., None], (0, 0), sigma)
        filled = (near + 0.02 * filled) / (mass + 0.02)
    wide = cv2.resize(filled, (size, size), interpolation=cv2.INTER_CUBIC)
    mask = cv2.resize(keep, (size, size), interpolation=cv2.INTER_LINEAR)[..., None]
    return np.clip(rgb * mask + wide * (1 - mask) + 0.5, 0, 255).astype(np.uint8)


def prepare_swap(sources: Sequence[Crop]) -> SwapState:
    return SwapState(tuple(prepare_still(crop) for crop in sources))


def render_swap(state: SwapState, request: EditRequest) -> Patch:
    canvas = request.canvas
    still = state.stills[0]
    points = control_points(canvas.landmarks_px)
    source_map = displacement_map(still.points_px, points, canvas.size_px)
    warped = warp_image(still.rgb, source_map)
    rgb = np.multiply(warped, np.float32(1 / 255), dtype=np.float32)
    return Patch(rgb, 1 - openings(canvas.landmarks_px, canvas.size_px))


def openings(landmarks_px: Array, size_px: int) -> Array:
    """Eyeballs and inner mouth, which stay the canvas's: float32 (size, size) in 0..1."""
    unit = face_unit_px(landmarks_px)
    mask = np.zeros((size_px, size_px), np.uint8)
    for part in (*_EYES, _INNER_LIPS):
        mask = np.maximum(mask, fill(landmarks_px[part], size_px))
    return cv2.GaussianBlur(mask, (0, 0), 0.012 * unit).astype(np.float32) / 255

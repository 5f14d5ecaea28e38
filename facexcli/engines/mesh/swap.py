"""Swap: the source's texture in the canvas face's geometry, with the canvas's gaze, lids and inner mouth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.engines.mesh.eyes import (
    EYES,
    Eye,
    gaze_shift,
    lay_eyeball,
    lids_mask,
    measure_eye,
    openness,
    usual_opening,
)
from facexcli.engines.mesh.face_warp import face_map, without_teeth
from facexcli.engines.mesh.proportions import lean, leaned, neutral_of, pose_signs
from facexcli.fusion.mask import face_outline, face_unit_px, fill, forehead_points
from facexcli.fusion.occlusion import bare_mask
from facexcli.fusion.skin import fit_skin, skin_distance
from facexcli.geometry.warp import warp_image
from facexcli.types import Array, Crop, EditRequest, Motion, Patch

if TYPE_CHECKING:
    from collections.abc import Sequence

_INNER_LIPS = slice(60, 68)
_LOWER_LENIENCY = 5.0
"""A portrait that is given as a source hardly ever has its chin covered, and its beard has to come along."""
_PLAIN_SKIN = 3.0
"""Standard deviations from the expected skin within which a colour may be used to paint skin."""
_PITCH_WEIGHT = 0.3
"""The nose's height says less of pitch than its sideways place says of yaw: noses differ in length."""


@dataclass(frozen=True, slots=True)
class Still:
    """One prepared still of the source.

    rgb: uint8 (S, S, 3), hair and background painted over with skin. points_px: float64 (N, 2), landmarks and forehead.
    pose: see `pose_signs`. eyes: left and right of the picture. leaning: see `lean`, or None where each canvas frame
    has to be its own neutral.
    """

    rgb: Array
    points_px: Array
    pose: Array
    eyes: tuple[Eye, Eye]
    leaning: Array | None


@dataclass(frozen=True, slots=True)
class SwapState:
    """What `prepare_swap` keeps: the stills, and how open the canvas's eyes usually are."""

    stills: tuple[Still, ...]
    usual_opening: float


def prepare_swap(sources: Sequence[Crop], motion: Motion | None = None) -> SwapState:
    """Digest the stills of one person for a canvas face that moves as `motion` says."""
    motion_px = None if motion is None or len(motion.landmarks_px) == 0 else motion.landmarks_px
    return SwapState(tuple(_still(crop, motion_px) for crop in sources), usual_opening(motion_px))


def render_swap(state: SwapState, request: EditRequest) -> Patch:
    """One frame's patch, in canvas crop pixels; alpha is 0 where the canvas's own inner mouth and shut eyes belong."""
    canvas, size = request.canvas, request.canvas.size_px
    landmarks = canvas.landmarks_px
    still = _nearest(state.stills, pose_signs(landmarks))
    leaning = lean(still.points_px[:68], landmarks) if still.leaning is None else still.leaning
    shaped = leaned(landmarks, leaning, still.pose, request.recipe)
    points = np.vstack([shaped, forehead_points(landmarks)])
    warped = warp_image(still.rgb, face_map(still.points_px, points, size))
    rgb = np.multiply(warped, np.float32(1 / 255), dtype=np.float32)
    alpha = 1 - _inner_mouth(landmarks, size)
    if request.recipe["eyes"] != "canvas":
        eyes = (measure_eye(canvas.rgb, landmarks, EYES[0]), measure_eye(canvas.rgb, landmarks, EYES[1]))
        shift = gaze_shift(still.eyes, eyes)
        for source, target, eye in zip(still.eyes, eyes, EYES, strict=True):
            lay_eyeball(rgb, still.rgb, source, target, np.asarray(landmarks[eye], np.float64), shift)
        closed = 1 - openness(landmarks, state.usual_opening)
        if closed > 0:
            alpha *= 1 - lids_mask(landmarks, size, closed)
    return Patch(rgb, alpha)


def _still(crop: Crop, motion_px: Array | None) -> Still:
    landmarks = crop.landmarks_px
    pose = pose_signs(landmarks)
    leaning = None if motion_px is None else lean(landmarks, neutral_of(motion_px, pose))
    eyes = (measure_eye(crop.rgb, landmarks, EYES[0]), measure_eye(crop.rgb, landmarks, EYES[1]))
    points = np.vstack([np.asarray(landmarks, np.float64), forehead_points(landmarks)])
    return Still(without_teeth(_face_only(crop), landmarks), points, pose, eyes, leaning)


def _nearest(stills: Sequence[Still], pose: Array) -> Still:
    weight = np.array((1.0, _PITCH_WEIGHT))
    return min(stills, key=lambda still: float(np.linalg.norm((still.pose - pose) * weight)))


def _inner_mouth(landmarks_px: Array, size_px: int) -> Array:
    """float32 (size, size) in 0..1: 1 between the lips."""
    mask = fill(landmarks_px[_INNER_LIPS], size_px)
    return cv2.GaussianBlur(mask, (0, 0), 0.012 * face_unit_px(landmarks_px)).astype(np.float32) / 255


def _face_only(crop: Crop) -> Array:
    """The crop with all that is not bare face replaced by the skin's colours around it: uint8 (S, S, 3)."""
    size, side = crop.size_px, 128
    model = fit_skin(crop.rgb, crop.landmarks_px)
    outline = cv2.resize(fill(face_outline(crop.landmarks_px), size), (side, side), interpolation=cv2.INTER_AREA)
    bare = bare_mask(crop.rgb, crop.landmarks_px, model, side, _LOWER_LENIENCY) > 0.98
    keep = cv2.erode(np.where(bare, outline, 0).astype(np.float32) / 255, np.ones((3, 3), np.uint8))
    # Brows and lips stay where they are, but what is painted is made of skin alone.
    skin = keep * (skin_distance(crop.rgb, model, side) < _PLAIN_SKIN)
    small = cv2.resize(crop.rgb, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) * skin[..., None]
    painted: Array = np.broadcast_to(small.sum(axis=(0, 1)) / max(float(skin.sum()), 1e-3), small.shape)
    # From far to near: each narrower blur takes over where it has something to go by.
    for sigma in (24.0, 12.0, 6.0, 3.0, 1.5):
        near = cv2.GaussianBlur(small, (0, 0), sigma)
        painted = (near + 0.02 * painted) / (cv2.GaussianBlur(skin, (0, 0), sigma)[..., None] + 0.02)
    painted = cv2.resize(painted.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    share = cv2.resize(cv2.GaussianBlur(keep, (0, 0), 0.7), (size, size), interpolation=cv2.INTER_LINEAR)[..., None]
    return np.asarray(np.clip(crop.rgb * share + painted * (1 - share) + 0.5, 0, 255), np.uint8)

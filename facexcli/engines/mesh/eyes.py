"""The source's eyes under the canvas's lids: they look where the canvas looks, and close when it closes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from facexcli.fusion.mask import face_unit_px
from facexcli.types import Array

EYES = (slice(36, 42), slice(42, 48))
_COLUMNS, _ROWS = 48, 24
_IRIS_RADIUS = 0.2
"""Of the eye's width: a visible iris of 11.7 mm in an opening of about 30 mm."""
_IRIS_NOISE = 0.02
"""Of the eye's width: how far the measured iris moves in a video of a steady gaze."""
_FULLY_OPEN, _FULLY_CLOSED = 0.95, 0.75
"""Shares of the usual opening: above the one the eye is the source's, below the other the canvas's, lids and all.
Landmarks follow a drooping lid less than it droops, so the source's eye must begin to give way early."""
_USUAL_OPENING = 0.28


@dataclass(frozen=True, slots=True)
class Eye:
    """One eye, measured. Lengths are in eye widths, from the middle between the corners, along the line through them.

    to_picture: float64 (2, 3), picture pixels from (u, v, 1). iris: u of its centre. middle, opening: the lids' mean v
    and their distance. width_px: distance of the corners.
    """

    to_picture: Array
    iris: float
    middle: float
    opening: float
    width_px: float


def lid_opening(landmarks_px: Array, eye: slice) -> float:
    """Distance of the lids over the width of one eye."""
    outer, upper_a, upper_b, inner, lower_b, lower_a = np.asarray(landmarks_px[eye], np.float64)
    lids = np.linalg.norm(upper_a - lower_a) + np.linalg.norm(upper_b - lower_b)
    return float(lids / (2 * np.linalg.norm(outer - inner)))


def usual_opening(motion_px: Array | None) -> float:
    """How open this face's eyes usually are; motion_px (T, 68, 2) or None. A face that sleeps throughout is closed."""
    if motion_px is None:
        return _USUAL_OPENING
    openings = [np.mean([lid_opening(frame, eye) for eye in EYES]) for frame in motion_px]
    return float(np.clip(np.quantile(openings, 0.75), 0.2, 0.36))


def openness(landmarks_px: Array, usual: float) -> float:
    """0 for closed eyes, 1 for eyes as open as usual, smooth between. Lids move together, so both eyes are averaged."""
    opening = float(np.mean([lid_opening(landmarks_px, eye) for eye in EYES]))
    share = float(np.clip((opening / usual - _FULLY_CLOSED) / (_FULLY_OPEN - _FULLY_CLOSED), 0, 1))
    return share * share * (3 - 2 * share)


def measure_eye(rgb: Array, landmarks_px: Array, eye: slice) -> Eye:
    """Find the iris between the lids. rgb uint8 (S, S, 3); landmarks_px (68, 2), crop pixels."""
    lids = np.asarray(landmarks_px[eye], np.float64)
    across = lids[3] - lids[0]
    width = float(np.linalg.norm(across))
    centre = (lids[0] + lids[3]) / 2
    to_picture = np.stack((across, (-across[1], across[0]), centre), axis=1)
    inverse = np.linalg.inv(to_picture[:, :2])
    uv = (lids - centre) @ inverse.T
    iris = _iris(rgb, to_picture, uv)
    middle = float((uv[1, 1] + uv[2, 1] + uv[4, 1] + uv[5, 1]) / 4)
    return Eye(to_picture, iris, middle, lid_opening(landmarks_px, eye), width)


def _iris(rgb: Array, to_picture: Array, lids_uv: Array) -> float:
    """The iris's centre along the eye: the darkest stretch of its width in red, where irises of any colour are dark."""
    picture_from_cell = to_picture @ np.array(
        ((1 / _COLUMNS, 0, 0.5 / _COLUMNS - 0.5), (0, 1 / _COLUMNS, (0.5 - _ROWS / 2) / _COLUMNS), (0, 0, 1))
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    red = cv2.warpAffine(rgb, picture_from_cell, (_COLUMNS, _ROWS), flags=flags)[..., 0].astype(np.float32)
    cells = lids_uv * _COLUMNS + np.array((_COLUMNS - 1, _ROWS - 1)) / 2
    inside = np.zeros((_ROWS, _COLUMNS), np.uint8)
    cv2.fillPoly(inside, [np.round(cells * 16).astype(np.int32).reshape(-1, 1, 2)], 255, cv2.LINE_AA, 4)
    weight = inside.astype(np.float32) / 255
    if weight.sum() < _COLUMNS:
        return 0.0
    low, high = np.percentile(red[weight > 0.5], (5, 90))
    dark = np.clip((high - red) / (high - low + 1e-3), 0, 1) * weight
    profile = dark.sum(axis=0) / (weight.sum(axis=0) + 2)
    reach = 2 * round(_IRIS_RADIUS * _COLUMNS) + 1
    stretch = cv2.blur(profile[None], (reach, 1), borderType=cv2.BORDER_CONSTANT)[0]
    peak = np.clip(stretch - 0.8 * stretch.max(), 0, None)
    column = float((peak * np.arange(_COLUMNS)).sum() / (peak.sum() + 1e-6))
    return float(np.clip((column + 0.5) / _COLUMNS - 0.5, -0.25, 0.25))


def gaze_shift(source: tuple[Eye, Eye], canvas: tuple[Eye, Eye]) -> float:
    """How far the source's irises must go along the eyes to look where the canvas looks, in eye widths.

    Both eyes turn together, so their mean is taken: it halves the noise and keeps the distance of the source's pupils.
    Shifts as small as the noise of the measure are damped, so that a steady gaze is steady.
    """
    shift = float(np.mean([eye.iris for eye in canvas]) - np.mean([eye.iris for eye in source]))
    return shift * abs(shift) / (abs(shift) + _IRIS_NOISE)


def lay_eyeball(picture: Array, source_rgb: Array, source: Eye, canvas: Eye, lids_px: Array, shift: float) -> None:
    """Draw the source's eyeball between the canvas's lids, in place.

    Along the eye the corners stay in the corners and the iris goes to its place without being stretched; across the eye
    nothing is squeezed where the canvas's eye is narrower than the source's: the lids cover, as lids do.

    Args:
        picture: float32 (S, S, 3) in 0..1, changed between the lids.
        source_rgb: uint8 (S, S, 3).
        lids_px: float (6, 2), the canvas's lids, picture pixels.
    """
    size = picture.shape[0]
    soft = 0.03 * canvas.width_px
    margin = 2 + int(3 * soft)
    low = np.clip(np.floor(lids_px.min(axis=0)).astype(int) - margin, 0, size)
    high = np.clip(np.ceil(lids_px.max(axis=0)).astype(int) + margin, 0, size)
    if (high - low).min() < 3:
        return
    x, y = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
    inverse = np.linalg.inv(canvas.to_picture[:, :2])
    offsets = np.stack((x, y), axis=-1) - canvas.to_picture[:, 2]
    uv = offsets @ inverse.T
    target = float(np.clip(source.iris + shift, -0.28, 0.28))
    knots = np.array((-0.5, target - _IRIS_RADIUS, target + _IRIS_RADIUS, 0.5))
    partners = np.array((-0.5, source.iris - _IRIS_RADIUS, source.iris + _IRIS_RADIUS, 0.5))
    u = np.interp(uv[..., 0], knots, partners)
    v = (uv[..., 1] - canvas.middle) * min(1.0, source.opening / max(canvas.opening, 0.05)) + source.middle
    here = np.stack((u, v), axis=-1) @ source.to_picture[:, :2].T + source.to_picture[:, 2]
    eyeball = cv2.remap(source_rgb, here.astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    mask = np.zeros(x.shape, np.uint8)
    inner = lids_px.mean(axis=0) + (lids_px - lids_px.mean(axis=0)) * 0.94
    cv2.fillPoly(mask, [np.round((inner - low) * 16).astype(np.int32).reshape(-1, 1, 2)], 255, cv2.LINE_AA, 4)
    share = (cv2.GaussianBlur(mask, (0, 0), max(0.5, soft)).astype(np.float32) / 255)[..., None]
    region = picture[low[1] : high[1], low[0] : high[0]]
    region += (eyeball.astype(np.float32) / 255 - region) * share


def lids_mask(landmarks_px: Array, size_px: int, amount: float) -> Array:
    """`amount` (0..1) on both eyes and their lids, softly 0 elsewhere: float32 (size, size)."""
    mask = np.zeros((size_px, size_px), np.uint8)
    unit = face_unit_px(landmarks_px)
    for eye in EYES:
        fixed = np.round(np.asarray(landmarks_px[eye]) * 16).astype(np.int32).reshape(-1, 1, 2)
        cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, 4)
        cv2.polylines(mask, [fixed], True, 255, max(1, round(0.1 * unit)), cv2.LINE_AA, 4)
    return cv2.GaussianBlur(mask, (0, 0), 0.025 * unit).astype(np.float32) * np.float32(amount / 255)

"""What is bare skin in a face crop: a colour model of this person's skin, learnt from cheeks, nose and chin.

The model is a plane over the crop for each channel (lightness falls off across a face lit from the side) and a robust
spread around it. One person's skin is far narrower in colour than all people's, which is why no general model is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from facexcli.fusion.mask import face_unit_px
from facexcli.types import Array

_SAMPLE_GRID = 64
_MIN_SPREAD = np.array((9.0, 3.0, 3.0))
_MAX_SPREAD = np.array((30.0, 9.0, 9.0))


@dataclass(frozen=True, slots=True)
class SkinModel:
    """Expected 8-bit YCrCb of skin at crop pixel (x, y): plane (3, 3) times (x, y, 1) in crop widths; spread (3,)."""

    plane: Array
    spread: Array


def _ycrcb(rgb: Array, side: int) -> Array:
    small = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb).astype(np.float32)


def sample_mask(landmarks_px: Array, size_px: int, side: int) -> Array:
    """Places that are skin on nearly every face (cheeks, nose, between the brows, chin), uint8 (side, side)."""
    p, unit = np.asarray(landmarks_px, np.float64), face_unit_px(landmarks_px)
    down = (p[8] - p[27]) / np.linalg.norm(p[8] - p[27])
    spots = [
        (p[36:42].mean(0) * 0.45 + p[48] * 0.3 + p[3] * 0.25, 0.13),
        (p[42:48].mean(0) * 0.45 + p[54] * 0.3 + p[13] * 0.25, 0.13),
        (p[40] + 0.17 * unit * down, 0.06),
        (p[47] + 0.17 * unit * down, 0.06),
        (p[28] * 0.4 + p[29] * 0.6, 0.07),
        (p[21] * 0.5 + p[22] * 0.5 - 0.08 * unit * down, 0.07),
        (p[57] * 0.45 + p[8] * 0.55, 0.06),
    ]
    mask = np.zeros((side, side), np.uint8)
    scale = side / size_px
    for centre, radius in spots:
        xy = np.round(centre * scale * 16).astype(int)
        cv2.circle(mask, (int(xy[0]), int(xy[1])), max(16, int(radius * unit * scale * 16)), 255, -1, cv2.LINE_8, 4)
    return mask


def fit_skin(rgb: Array, landmarks_px: Array) -> SkinModel:
    """Learn the skin of one crop. rgb uint8 (S, S, 3); landmarks_px (68, 2), crop pixels."""
    size = rgb.shape[0]
    colours = _ycrcb(rgb, _SAMPLE_GRID)
    y, x = np.nonzero(sample_mask(landmarks_px, size, _SAMPLE_GRID))
    values = colours[y, x].astype(np.float64)
    basis = np.stack(((x + 0.5) / _SAMPLE_GRID, (y + 0.5) / _SAMPLE_GRID, np.ones(len(x))), axis=1)
    # Slopes are shrunk: the samples span only part of the face, and must not make skin of the hair beyond it.
    ridge = np.diag((0.02, 0.02, 0.0)) * len(x)
    weight = np.ones(len(x))
    plane = np.zeros((3, 3))
    spread = _MAX_SPREAD
    for _ in range(4):
        weighted = basis * weight[:, None]
        plane = np.linalg.solve(weighted.T @ basis + ridge, weighted.T @ values).T
        residual = values - basis @ plane.T
        spread = np.clip(1.4826 * np.median(np.abs(residual), axis=0), _MIN_SPREAD, _MAX_SPREAD)
        weight = 1.0 / (1.0 + ((residual / spread) ** 2).sum(axis=1) / 4)
    return SkinModel(plane, spread)


def skin_distance(rgb: Array, model: SkinModel, side: int) -> Array:
    """How far each pixel is from the expected skin, in robust standard deviations: float32 (side, side).

    A pixel brighter than expected is judged leniently: highlights are skin; hair and frames are mostly darker.
    """
    values = _ycrcb(rgb, side)
    ramp = ((np.arange(side) + 0.5) / side).astype(np.float32)
    plane = model.plane.astype(np.float32)
    distance = np.zeros((side, side), np.float32)
    for channel in range(3):
        expected = plane[channel, 0] * ramp[None, :] + plane[channel, 1] * ramp[:, None] + plane[channel, 2]
        off = (values[..., channel] - expected) / np.float32(model.spread[channel])
        if channel == 0:
            off = np.where(off > 0, off * np.float32(0.6), off)
        distance += off * off
    return np.asarray(np.sqrt(distance, out=distance))


def skin_mask(rgb: Array, model: SkinModel, side: int) -> Array:
    """How likely each pixel is skin: float32 (side, side) in 0..1, over the whole crop. rgb uint8 (S, S, 3)."""
    return np.asarray(np.clip(2 - skin_distance(rgb, model, side) / 3, 0, 1), np.float32)

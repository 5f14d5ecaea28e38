"""Where the canvas's face is covered: hair, a fringe, a hat, hands, glasses. What covers stays in front."""

from __future__ import annotations

import cv2
import numpy as np

from facexcli.fusion.mask import face_unit_px
from facexcli.fusion.skin import SkinModel, skin_mask
from facexcli.types import Array

_BROWS = (range(17, 22), range(22, 27))
_EYES = (range(36, 42), range(42, 48))


def _feature_zone(landmarks_px: Array, size_px: int, side: int) -> Array:
    """Brows, eyes, nostrils and mouth: they are not skin-coloured and cover nothing. uint8 (side, side)."""
    scale = side / size_px
    unit = face_unit_px(landmarks_px) * scale
    p = np.asarray(landmarks_px, np.float64) * scale
    zone = np.zeros((side, side), np.uint8)

    def stroke(points: Array, width: float, closed: bool) -> None:
        fixed = np.round(points * 16).astype(np.int32).reshape(-1, 1, 2)
        if closed:
            cv2.fillPoly(zone, [fixed], 255, cv2.LINE_8, 4)
        cv2.polylines(zone, [fixed], closed, 255, max(1, round(width * unit)), cv2.LINE_8, 4)

    for brow in _BROWS:
        stroke(p[list(brow)], 0.17, False)
    for eye in _EYES:
        stroke(p[list(eye)], 0.16, True)
    stroke(p[31:36], 0.16, False)
    stroke(p[48:60], 0.34, True)
    return zone


def bare_mask(rgb: Array, landmarks_px: Array, model: SkinModel, side: int = 96) -> Array:
    """Where the face may be painted over: float32 (side, side) in 0..1.

    Args:
        rgb: uint8 (S, S, 3), the canvas's crop. landmarks_px: (68, 2), crop pixels. model: the canvas's skin.
    """
    size = rgb.shape[0]
    skin = skin_mask(rgb, model, side)
    zone = cv2.GaussianBlur(_feature_zone(landmarks_px, size, side), (0, 0), 0.02 * side).astype(np.float32) / 255
    unit = face_unit_px(landmarks_px) * side / size
    # Small holes are moles, spots and wrinkles; small islands are gaps between strands.
    closed = cv2.morphologyEx(skin, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
    bare = np.maximum(closed, zone)
    bare = cv2.erode(bare, np.ones((3, 3), np.uint8))
    return np.asarray(cv2.GaussianBlur(bare, (0, 0), max(0.8, 0.025 * unit)), np.float32)

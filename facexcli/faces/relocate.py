"""Finding a face again that moved farther between two frames than the predictor can reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.affine import resample
from facexcli.faces.tracklet import face_box

if TYPE_CHECKING:
    from facexcli.types import Array

_FACE_PX = 24
_REACH_PX = 18
_MIN_CORRELATION = 0.4


def moved_landmarks(before_rgb: Array, after_rgb: Array, landmarks_px: Array) -> Array | None:
    """`landmarks_px` (68, 2) of the frame before, shifted to where the same picture is in the frame after.

    Normalised cross-correlation on a face of 24 pixels, up to three quarters of its width away. None where nothing
    resembles it. The predictor itself reaches about an eighth of the face's width.
    """
    x0, y0, x1, _ = face_box(landmarks_px)
    scale = _FACE_PX / (x1 - x0)
    side = _FACE_PX + 2 * _REACH_PX
    window = _gray_window(after_rgb, scale, (x0, y0), _REACH_PX, side)
    face = _gray_window(before_rgb, scale, (x0, y0), 0, _FACE_PX)
    correlation = cv2.matchTemplate(window, face, cv2.TM_CCOEFF_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(correlation)
    if best < _MIN_CORRELATION:
        return None
    shift = (np.array([x, y], np.float32) - _REACH_PX) / np.float32(scale)
    result: Array = np.asarray(landmarks_px, np.float32) + shift
    return result


def _gray_window(rgb: Array, scale: float, corner: tuple[float, float], border_px: int, side_px: int) -> Array:
    matrix = np.array([[scale, 0, border_px - scale * corner[0]], [0, scale, border_px - scale * corner[1]], [0, 0, 1]])
    return cv2.cvtColor(resample(rgb, matrix, (side_px, side_px)), cv2.COLOR_RGB2GRAY)

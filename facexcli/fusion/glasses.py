"""Frames of glasses: thin dark lines over the bridge of the nose, around the eyes and along the temples.

Frames are too thin for a colour model, and wrinkles are thin and dark too. What tells them apart is that a frame has a
bridge: an unbroken line from one eye to the other, which stands out from the texture of this very skin.
"""

from __future__ import annotations

import cv2
import numpy as np

from facexcli.fusion.mask import face_unit_px
from facexcli.types import Array

_WIDTH, _HEIGHT, _EYE_ROW = 128, 80, 28
_CELL = 1.6 / _WIDTH
"""Face units per cell of the band around the eyes that is looked at, upright."""
_THICKNESS_CELLS = 9
_WANDER_CELLS = 7
"""How far a line may leave its row and still be one line."""
_SURE, _UNSURE = 0.55, 0.4
"""Evidence (see `_evidence`, over the skin's own texture) above which there surely is a frame and below which there is
none. Measured: 0.46 to 1.9 over a video of thin metal frames, 0.7 to 4 for bolder ones, 0 in videos of bare faces, and
below 0.43 for 40 bare faces in sharp stills; frames on much wrinkled skin drown in it and are missed."""
_MIN_EYE_RATIO = 0.5
"""Of the farther eye's width to the nearer one's; beyond it a face is in profile and shows no bridge."""
_LUMA_NOISE = 2.0


def glasses_mask(rgb: Array, landmarks_px: Array) -> Array | None:
    """Where the frame of a pair of glasses is, or None without glasses.

    Args:
        rgb: uint8 (S, S, 3), a face crop. landmarks_px: (68, 2), crop pixels.

    Returns:
        float32 (S, S) in 0..1.
    """
    picture_from_cell = _band(landmarks_px)
    flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
    softened = cv2.blur(rgb, (3, 3)) if rgb.shape[0] > 300 else rgb
    luma = cv2.cvtColor(cv2.warpAffine(softened, picture_from_cell, (_WIDTH, _HEIGHT), flags=flags), cv2.COLOR_RGB2GRAY)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_THICKNESS_CELLS, _THICKNESS_CELLS))
    lines = cv2.morphologyEx(luma, cv2.MORPH_BLACKHAT, kernel).astype(np.float32)
    cells = (np.asarray(landmarks_px, np.float64) - picture_from_cell[:, 2]) @ np.linalg.inv(picture_from_cell[:, :2]).T
    texture = float(np.percentile(lines[44:, 30:98], 75)) + _LUMA_NOISE
    sure = float(np.clip((_evidence(lines, cells) / texture - _UNSURE) / (_SURE - _UNSURE), 0, 1))
    if sure == 0:
        return None
    frame = np.clip((lines - 1.0 * texture) / (1.5 * texture), 0, 1)
    frame[_features(cells) > 0] = 0
    frame[int(_EYE_ROW + 0.4 / _CELL) :] = 0
    frame = cv2.GaussianBlur(cv2.dilate(_held(frame, cells), np.ones((3, 3), np.uint8)), (0, 0), 0.6) * np.float32(sure)
    size = rgb.shape[0]
    mask: Array = cv2.warpAffine(frame, picture_from_cell, (size, size), flags=cv2.INTER_LINEAR)
    return mask


def _band(landmarks_px: Array) -> Array:
    """float64 (2, 3): picture pixels from cells of an upright band around the eyes."""
    points = np.asarray(landmarks_px, np.float64)
    across = (points[45] - points[36]) / np.linalg.norm(points[45] - points[36])
    step = across * face_unit_px(points) * _CELL
    down = np.array((-step[1], step[0]))
    centre = points[[36, 39, 42, 45]].mean(axis=0)
    return np.stack((step, down, centre - step * (_WIDTH - 1) / 2 - down * _EYE_ROW), axis=1)


def _evidence(lines: Array, cells: Array) -> float:
    """Strength of the line between the eyes, supported by that of the temples."""
    near = cv2.dilate(lines, np.ones((_WANDER_CELLS, 1), np.uint8))

    widths = np.linalg.norm(cells[[39, 45]] - cells[[36, 42]], axis=1)
    if widths.min() < _MIN_EYE_RATIO * widths.max():
        return 0.0
    plain = float(np.median(near[44:, 30:98]))

    def line(left: float, right: float) -> float:
        strip = near[top:bottom, max(0, int(left)) : max(0, int(right))]
        return max(0.0, float(np.percentile(strip, 15, axis=1).max()) - plain) if min(strip.shape) > 3 else 0.0

    top = max(3, int(cells[[21, 22], 1].mean() - 0.06 / _CELL))
    bottom = min(_HEIGHT - 3, int(_EYE_ROW + 0.2 / _CELL))
    bridge = line(cells[39, 0] + 0.07 / _CELL, cells[42, 0] - 0.07 / _CELL)
    if bridge == 0:
        return 0.0
    bottom = int(_EYE_ROW + 0.15 / _CELL)
    left = line(cells[36, 0] - 0.22 / _CELL, cells[36, 0] - 0.06 / _CELL)
    right = line(cells[45, 0] + 0.06 / _CELL, cells[45, 0] + 0.22 / _CELL)
    # Both factors are lines' strengths; divided by the texture once, the product has to be of first degree.
    return float(np.sqrt(bridge * np.sqrt(bridge * max(left, right))))


def _features(cells: Array) -> Array:
    """Brows, eyes and nostrils, which are dark lines of their own: uint8 (_HEIGHT, _WIDTH)."""
    mask = np.zeros((_HEIGHT, _WIDTH), np.uint8)
    fixed = np.round(cells * 16).astype(np.int32).reshape(-1, 1, 2)
    for brow in (slice(17, 22), slice(22, 27)):
        cv2.polylines(mask, [fixed[brow]], False, 255, round(0.2 / _CELL), cv2.LINE_8, 4)
    for eye in (slice(36, 42), slice(42, 48)):
        cv2.fillPoly(mask, [fixed[eye]], 255, cv2.LINE_8, 4)
        cv2.polylines(mask, [fixed[eye]], True, 255, round(0.09 / _CELL), cv2.LINE_8, 4)
    cv2.polylines(mask, [fixed[31:36]], False, 255, round(0.2 / _CELL), cv2.LINE_8, 4)
    return mask


def _held(frame: Array, cells: Array) -> Array:
    """Only what hangs on the bridge or the temples: folds beside the nose and under the eyes do not."""
    _, labels = cv2.connectedComponents(cv2.dilate((frame > 0.3).astype(np.uint8), np.ones((5, 5), np.uint8)))
    holders = np.zeros(frame.shape, bool)
    rows = slice(max(0, int(cells[[21, 22], 1].mean() - 0.06 / _CELL)), int(_EYE_ROW + 0.12 / _CELL))
    holders[rows, int(cells[39, 0] + 0.05 / _CELL) : int(cells[42, 0] - 0.05 / _CELL)] = True
    holders[rows, : max(0, int(cells[36, 0] - 0.08 / _CELL))] = True
    holders[rows, int(cells[45, 0] + 0.08 / _CELL) :] = True
    kept = np.zeros(int(labels.max()) + 1, np.float32)
    kept[np.unique(labels[holders & (frame > 0.3)])] = 1
    kept[0] = 0
    return np.asarray(frame * kept[labels], np.float32)

"""Where the canvas's face is covered: hair, a fringe, a hat, hands, glasses. What covers stays in front."""

from __future__ import annotations

import cv2
import numpy as np

from facexcli.fusion.mask import face_outline, face_unit_px, fill
from facexcli.fusion.skin import SkinModel, skin_distance
from facexcli.types import Array

_BROWS = (range(17, 22), range(22, 27))
_EYES = (range(36, 42), range(42, 48))
_DARK_LENS = 3.8
"""Mean distance from skin, in standard deviations, close under an eye that is behind a dark lens; on wrinkled and on
shaded faces it stays below 3."""
_NO_SKIN = 10.0
"""Standard deviations beyond which a colour is not that of skin in any light, nor of a beard (measured: up to 10)."""
_NECK, _HALF_NECK, _HIGHEST, _LEAST_UPWARD = (0.05, 0.3), 0.65, 0.9, 0.03
"""Face units from the chin: where the neck is seen, to its sides, how far up a microphone may reach; and an area."""
_COVERED = 0.5
"""Above this share of `covering`, a pixel can pass the covering on to its neighbours."""


def _stroke(mask: Array, points_px: Array, width_px: float, closed: bool) -> None:
    fixed = np.round(points_px * 16).astype(np.int32).reshape(-1, 1, 2)
    if closed:
        cv2.fillPoly(mask, [fixed], 255, cv2.LINE_8, 4)
    cv2.polylines(mask, [fixed], closed, 255, max(1, round(width_px)), cv2.LINE_8, 4)


def _features(points_px: Array, unit_px: float, side: int) -> Array:
    """Brows, eye sockets, nose and mouth: not skin-coloured, or in shadow, yet covering nothing. uint8 (side, side)."""
    zone = np.zeros((side, side), np.uint8)
    for brow, eye in zip(_BROWS, _EYES, strict=True):
        _stroke(zone, points_px[list(brow)], 0.15 * unit_px, False)
        _stroke(zone, points_px[list(eye)], 0.24 * unit_px, True)
    _stroke(zone, points_px[[27, 31, 33, 35]], 0.2 * unit_px, True)
    _stroke(zone, points_px[48:60], 0.42 * unit_px, True)
    return zone


def _dark_lenses(distance: Array, points_px: Array, unit_px: float) -> Array | None:
    """Where dark glasses hide both eyes: float32 like `distance`, 0..1, or None where the cheeks' upper ends look like
    skin."""
    side = distance.shape[0]
    down = (points_px[8] - points_px[27]) / np.linalg.norm(points_px[8] - points_px[27])
    lenses = np.zeros((side, side), np.uint8)
    for eye in _EYES:
        cheek = np.zeros((side, side), np.uint8)
        _stroke(cheek, points_px[[eye[5], eye[4]]] + 0.14 * unit_px * down, 0.08 * unit_px, False)
        if float(distance[cheek > 0].mean()) < _DARK_LENS:
            return None
        _stroke(lenses, points_px[list(eye)] + 0.04 * unit_px * down, 0.42 * unit_px, True)
    covering = cv2.morphologyEx(np.clip(distance - 2.0, 0, 1), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return np.where(lenses > 0, covering, np.float32(0))


def bare_mask(rgb: Array, landmarks_px: Array, model: SkinModel, side: int = 128, lower_leniency: float = 0.8) -> Array:
    """Where the face may be painted over.

    What covers a face reaches into it from outside: a pixel counts as covered when it does not look like skin and hangs
    together with pixels beyond the outline that do not either. Shadows, spots, beards and the features themselves do
    not hang together with the outside, or lie deep enough in the face to be judged leniently.

    Args:
        rgb: uint8 (S, S, 3), a face crop.
        landmarks_px: (68, 2), crop pixels.
        model: the skin of this face.
        side: size of the answer.
        lower_leniency: how much more of a difference is borne below the nose, where beards and the jaw's own shadow
            reach in far more often than hair.

    Returns:
        float32 (side, side): 1 where the face is bare, 0 where it is covered.
    """
    scale = side / rgb.shape[0]
    points = (np.asarray(landmarks_px, np.float64) + 0.5) * scale - 0.5
    unit = face_unit_px(points)
    inside = fill(face_outline(points), side)
    depth = cv2.distanceTransform((inside > 127).astype(np.uint8), cv2.DIST_L2, 3) / np.float32(unit)
    tolerance = 3.5 + 5.0 * np.clip((depth - 0.08) / 0.5, 0, 1)
    below = np.clip((np.arange(side) - points[29, 1]) / (0.4 * unit), 0, 1).astype(np.float32)
    tolerance *= 1 + np.float32(lower_leniency) * below[:, None]
    distance = skin_distance(rgb, model, side)
    covering = np.clip((distance / tolerance - 0.75) * 2, 0, 1)
    covering[(_features(points, unit, side) > 0) & (depth > 0.05)] = 0
    reach = _connected(covering, inside)
    soft = covering * cv2.dilate(reach, np.ones((3, 3), np.uint8))
    lenses = _dark_lenses(distance, points, unit)
    if lenses is not None:
        soft = np.maximum(soft, lenses)
    soft = np.maximum(soft, _from_below(distance, points, unit))
    return np.asarray(1 - np.clip(cv2.GaussianBlur(soft, (0, 0), max(0.7, 0.02 * unit)), 0, 1), np.float32)


def _from_below(distance: Array, points_px: Array, unit_px: float) -> Array:
    """A microphone before the chin: float32 like `distance`, 0..1.

    It is as unlike skin as a beard is, which is why the lower face is judged leniently; but it goes on below the chin,
    with the neck on both sides of it.
    """
    down = (points_px[8] - points_px[27]) / np.linalg.norm(points_px[8] - points_px[27])
    x, y = (
        axis - centre for axis, centre in zip(np.meshgrid(*2 * [np.arange(len(distance))]), points_px[8], strict=True)
    )
    along, across = (x * down[0] + y * down[1]) / unit_px, (x * down[1] - y * down[0]) / unit_px
    strange = (distance > _NO_SKIN) & (along > -_HIGHEST) & (along < _NECK[1])
    if not np.any(strange & (along > _NECK[0]) & (np.abs(across) < _HALF_NECK)):
        return np.zeros_like(distance)
    thick = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, 2 * (2 * round(0.07 * unit_px) + 1,))  # a mouth is thin
    strange = cv2.morphologyEx(strange.astype(np.uint8), cv2.MORPH_OPEN, thick) > 0
    _, labels = cv2.connectedComponents(strange.astype(np.uint8), connectivity=4)
    on_neck = (along > _NECK[0]) & strange
    found = np.zeros(distance.shape, np.uint8)
    for label in np.unique(labels[on_neck & (np.abs(across) < _HALF_NECK)]):
        part = labels == label
        sides = across[part & on_neck]
        reaches_up = np.count_nonzero(part & (along < 0)) > _LEAST_UPWARD * unit_px**2
        if reaches_up and np.abs(sides).max() < _HALF_NECK and np.ptp(sides) < _HALF_NECK:
            found[part] = 1
    return np.asarray(np.clip(distance - _NO_SKIN + 1, 0, 1) * cv2.dilate(found, np.ones((3, 3), np.uint8)), np.float32)


def _connected(covering: Array, inside: Array) -> Array:
    """The covered pixels that hang together with covered pixels outside: float32, 0 or 1."""
    _, labels = cv2.connectedComponents((covering > _COVERED).astype(np.uint8), connectivity=4)
    from_outside = np.zeros(int(labels.max()) + 1, np.float32)
    from_outside[np.unique(labels[inside < 128])] = 1
    from_outside[0] = 0
    return np.asarray(from_outside[labels], np.float32)

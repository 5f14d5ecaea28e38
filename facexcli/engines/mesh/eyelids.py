"""Eyelids that slide over a still eyeball, instead of squeezing it.

An eye has its own frame: u along the corners (-1 outer left to 1 right in the picture), v downwards across it, both
over half the eye's width. Its lids are curves v(u). A pixel of the moved lid comes from the source's lid: the skin
between brow and lashes stretches. A pixel between the moved lids shows what was there before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.geometry.face_shape import EYES
from facexcli.geometry.warp import warp_image

if TYPE_CHECKING:
    from facexcli.types import Array

_TABLE = 65
_REACH = 1.25
_MEETING = 0.85
"""Where the lids meet, from the upper (0) to the lower (1) lid: the upper one does the way."""
_MARGIN = 0.06
"""The landmarks lie on the lids' edges; the moved skin takes this much of the eye along, so that no white line is
left."""
_LASHES = 0.3
"""Height of the upper lashes over the lid's edge. They point at the camera when the lid comes down, and look
shorter."""
_SHUT_LASHES = 0.3
"""What is left of that height when the eye is shut."""


@dataclass(frozen=True, slots=True)
class Eye:
    """One open eye of a portrait.

    eye_from_picture: float64 (3, 3), crop pixels to (u, v). upper, lower: float32 (65,), lid curves for u in
    -1.25..1.25. above, below: how far the moved skin reaches above and below the lids, in v. opening: lid distance
    over eye width.
    """

    eye_from_picture: Array
    half_width_px: float
    upper: Array
    lower: Array
    above: float
    below: float


def find_eyes(landmarks_px: Array) -> tuple[Eye, Eye]:
    """Both eyes of a portrait, the picture's left one first. landmarks_px (68, 2)."""
    left, right = (_find_eye(landmarks_px[eye], landmarks_px[brow]) for eye, brow in zip(EYES, _BROWS, strict=True))
    return left, right


_BROWS = (slice(17, 22), slice(22, 27))


def _find_eye(points: Array, brow: Array) -> Eye:
    left, right = points[0], points[3]
    centre, half = (left + right) / 2, (right - left) / 2
    width = float(np.linalg.norm(half))
    turn = np.array([[half[0], half[1]], [-half[1], half[0]]]) / width**2
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = turn, -turn @ centre
    local = (points - centre) @ turn.T
    upper = _lid(local[[0, 1, 2, 3]])
    lower = _lid(local[[0, 5, 4, 3]])
    gap = float(np.median(local[[1, 2], 1]) - np.median(((brow - centre) @ turn.T)[:, 1]))
    return Eye(matrix, width, upper, np.maximum(lower, upper), max(0.65 * gap, _LASHES + 0.15), _LASHES + 0.25)


def _lid(points: Array) -> Array:
    """A smooth curve through both corners and two lid points (4, 2), as a table over u; level beyond the corners."""
    u = np.linspace(-_REACH, _REACH, _TABLE)
    inside = 1 - np.clip(u, -1, 1) ** 2
    # v = (1 - u^2)(a + b u) passes both corners; two lid points give a and b.
    design = (1 - points[1:3, :1] ** 2) * np.stack([np.ones(2), points[1:3, 0]], axis=1)
    a, b = np.linalg.lstsq(design, points[1:3, 1], rcond=None)[0]
    return np.asarray(inside * (a + np.clip(b, -0.5, 0.5) * np.clip(u, -1, 1)), np.float32)


def without_eyes(rgb: Array, eyes: tuple[Eye, Eye]) -> Array:
    """The portrait, uint8 (S, S, 3), with eyes and lashes replaced by the skin around them: what a shut lid looks
    like."""
    result = rgb.copy()
    for eye in eyes:
        centre = np.linalg.inv(eye.eye_from_picture)[:2, 2]
        reach = 1.8 * eye.half_width_px
        x0, y0 = np.clip(np.floor(centre - reach), 0, rgb.shape[0] - 1).astype(int)
        x1, y1 = np.clip(np.ceil(centre + reach), 1, rgb.shape[0]).astype(int)
        u, v, upper, lower = _eye_places(eye, *np.meshgrid(np.arange(x0, x1), np.arange(y0, y1)))
        sideways = np.clip((1.6 - np.abs(u)) / 0.25, 0, 1)
        # Outer lashes are the longest.
        tall = _LASHES * (1.6 + 1.0 * np.clip(2 * np.abs(u) - 1, 0, 1))
        hole = np.clip((v - upper + tall) / 0.1, 0, 1) * np.clip((lower + 0.15 - v) / 0.1, 0, 1) * sideways
        skin = (hole == 0) & (v > upper - max(eye.above, 2.8 * _LASHES)) & (v < lower + 0.8)
        part = rgb[y0:y1, x0:x1].astype(np.float32)
        filled = _filled(part, skin.astype(np.float32), eye.half_width_px)
        result[y0:y1, x0:x1] = (part + hole[..., None] * (filled - part)).astype(np.uint8)
    return result


def _filled(part: Array, known: Array, half_width_px: float) -> Array:
    """Blurs of the known pixels, near ones where there are some, farther ones elsewhere."""
    filled = np.zeros_like(part)
    for spread in (1.2, 0.5, 0.25, 0.12):
        mass = cv2.GaussianBlur(known, (0, 0), spread * half_width_px)[..., None]
        near = cv2.GaussianBlur(part * known[..., None], (0, 0), spread * half_width_px)
        filled = (near + 0.02 * filled) / (mass + 0.02)
    return filled


def _eye_places(eye: Eye, x: Array, y: Array) -> tuple[Array, Array, Array, Array]:
    """Eye coordinates u, v of pixels, and the lids' v at their u, all float32 of the shape of x."""
    matrix = eye.eye_from_picture.astype(np.float32)
    u = x * matrix[0, 0] + y * matrix[0, 1] + matrix[0, 2]
    v = x * matrix[1, 0] + y * matrix[1, 1] + matrix[1, 2]
    index = np.clip((u + _REACH) * ((_TABLE - 1) / (2 * _REACH)), 0, _TABLE - 1)
    margin = _MARGIN * (1 - _at_corners())
    upper, lower = _look_up(eye.upper + margin, index), _look_up(eye.lower + margin, index)
    return u, v, upper, np.maximum(lower, upper)


def close_eye(
    rgb: Array, lidless: Array, source_map: Array, box: tuple[int, int, int, int], eye: Eye, opening: float
) -> Array:
    """Render one eye with its lids moved.

    Args:
        rgb: the portrait, uint8 (S, S, 3).
        lidless: the same `without_eyes`.
        source_map: float32 (H, W, 2), for each result pixel where it comes from, lids aside.
        box: x0, y0, x1, y1 of the part of the result to render.
        opening: of its open state; 0 shut, up to 1.3.
    Returns:
        (y1 - y0, x1 - x0, 3) in the dtype of rgb.
    """
    x0, y0, x1, y1 = box
    origin = source_map[y0:y1, x0:x1]
    u, v, upper, lower = _eye_places(eye, origin[..., 0], origin[..., 1])
    meeting = upper + _MEETING * (lower - upper)
    moved_upper = meeting + (upper - meeting) * opening
    moved_lower = meeting + (lower - meeting) * opening

    # Beyond the corners the lashes stay as they are.
    folded = (1 - _SHUT_LASHES) * (1 - min(opening, 1.0)) * np.clip((_REACH - np.abs(u)) / (_REACH - 0.95), 0, 1)
    lashes = _LASHES * (1 - folded)
    above = upper - _stretched(moved_upper - v, moved_upper - upper, eye.above, lashes)
    below = lower + _stretched(v - moved_lower, lower - moved_lower, eye.below, np.full_like(v, _LASHES))
    lid = np.where(v < (moved_upper + moved_lower) / 2, above, below)
    # An eye opened further than the portrait's has no more eyeball to show: it stretches.
    span = np.maximum(moved_lower - moved_upper, 1e-3)
    ball = v if opening <= 1 else upper + (v - moved_upper) / span * (lower - upper)
    soft = 0.9 / eye.half_width_px
    shown = np.clip((v - moved_upper) / soft + 0.5, 0, 1) * np.clip((moved_lower - v) / soft + 0.5, 0, 1)
    outside = np.abs(u) > 1
    shown = np.where(outside, 0, shown)[..., None]
    # Folded lashes are squeezed more than twofold: two samples across keep them from breaking into dots.
    spread = np.float32(0.6 * max(0.0, 1 - opening) / eye.half_width_px)
    lid_picture = cv2.addWeighted(
        _sample(rgb, origin, lid - v - spread, eye), 0.5, _sample(rgb, origin, lid - v + spread, eye), 0.5, 0
    ).astype(np.float32)
    # What the eye hides when it is open has no picture: bare skin, behind what is left of the lashes.
    bare = np.clip((moved_upper - v - 0.6 * lashes) / (0.4 * _LASHES), 0, 1) * min(1.0, max(0.0, 1.5 * (1 - opening)))
    lid_picture += bare[..., None] * (_sample(lidless, origin, lid - v, eye) - lid_picture)
    ball_picture = _sample(rgb, origin, ball - v, eye)
    mixed = lid_picture + shown * (ball_picture - lid_picture)
    return np.asarray(mixed.astype(rgb.dtype))


def _at_corners() -> Array:
    u = np.linspace(-_REACH, _REACH, _TABLE, dtype=np.float32)
    return np.clip(np.abs(u), 0, 1) ** 4


def _look_up(table: Array, index: Array) -> Array:
    low = np.minimum(index.astype(np.int32), _TABLE - 2)
    part = index - low
    return np.asarray(table[low] * (1 - part) + table[low + 1] * part)


def _stretched(distance: Array, travel: Array, reach: float, lashes: Array) -> Array:
    """How far from the resting edge the skin lies that is seen at `distance` from the moved edge, both away from the
    eye.

    The edge moved by `travel`; the skin at `reach` from the resting edge stays. Lashes, `_LASHES` high at rest, are now
    `lashes` high; the skin behind them takes up the difference.
    """
    end = np.maximum(reach + travel, lashes + 0.05)
    near = distance * (_LASHES / lashes)
    far = _LASHES + (distance - lashes) * ((reach - _LASHES) / (end - lashes))
    moved = np.where(distance < lashes, near, far)
    return np.asarray(np.where(distance < end, moved, distance - travel), np.float32)


def _sample(rgb: Array, origin: Array, dv: Array, eye: Eye) -> Array:
    down = np.linalg.inv(eye.eye_from_picture)[:2, 1].astype(np.float32)
    places = origin + dv[..., None].astype(np.float32) * down
    return warp_image(rgb, places.astype(np.float32))

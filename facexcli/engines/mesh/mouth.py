"""The inside of a mouth that the portrait does not show: cavity, upper teeth and tongue in the portrait's own light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.geometry.face_shape import EYES, INNER_LIPS, OUTER_LIPS
from facexcli.geometry.warp import warp_image

if TYPE_CHECKING:
    from facexcli.types import Array

_SHIFT_BITS = 4
SHUT = 0.05
"""Lips less apart than this, in face units, are taken for shut."""


@dataclass(frozen=True, slots=True)
class MouthLook:
    """What light and colours the inside of the mouth has. All float32 (3,), 0..1: cavity, tongue, teeth.

    gap_px: how far the portrait's own lips are parted; side_light: brightness of the right cheek over the left one.
    """

    cavity: Array
    tongue: Array
    teeth: Array
    gap_px: float
    side_light: float


def study_mouth(rgb: Array, landmarks_px: Array) -> MouthLook:
    """Read light and colours off a portrait: rgb uint8 (S, S, 3), landmarks_px (68, 2)."""
    lips = _mean(rgb, landmarks_px[OUTER_LIPS])
    cheeks = [_mean(rgb, landmarks_px[list(points)]) for points in ((2, 3, 31, 48), (14, 13, 35, 54))]
    around = (cheeks[0] + cheeks[1]) / 2
    white = _white(rgb, landmarks_px)
    # Teeth are about as white as the eyes, a little warmer, and lie behind the lips, in their shade.
    teeth = 0.85 * white * np.array([1.0, 0.94, 0.85], np.float32)
    tongue = 0.55 * lips
    cavity = 0.16 * lips + 0.02 * around
    gap = float(np.linalg.norm(landmarks_px[[61, 62, 63]] - landmarks_px[[67, 66, 65]], axis=1).mean())
    side = float(np.clip(cheeks[1].mean() / max(cheeks[0].mean(), 1e-3), 0.6, 1.6))
    return MouthLook(cavity.astype(np.float32), tongue.astype(np.float32), teeth.astype(np.float32), gap, side)


def find_seam(rgb: Array, landmarks_px: Array, unit_px: float) -> Array:
    """Landmarks (68, 2) whose inner lips lie on both sides of the dark line between shut lips; open lips stay as they
    are.

    Landmarks of shut lips miss that line by a pixel or two, and a mouth opened beside it would keep it as a stripe on
    a lip.
    """
    result = np.array(landmarks_px, np.float64)
    inner = result[INNER_LIPS]
    if np.linalg.norm(inner[1:4] - inner[7:4:-1], axis=1).mean() > SHUT * unit_px:
        return result
    across = inner[4] - inner[0]
    right = across / np.linalg.norm(across)
    down = np.array([-right[1], right[0]])
    middle = (inner[[1, 2, 3]] + inner[[7, 6, 5]]) / 2
    light = cv2.GaussianBlur(rgb, (0, 0), max(0.012 * unit_px, 0.5)).astype(np.float32).mean(axis=2)
    steps = np.linspace(-0.07, 0.07, 57) * unit_px
    places = middle[:, None] + steps[:, None] * down
    profile = warp_image(light, places.astype(np.float32))
    # A shallow well keeps the choice near the landmarks where lips have no clear line.
    profile = profile + 12.0 * (steps / (0.07 * unit_px)) ** 2
    seam = middle + steps[profile.argmin(axis=1)][:, None] * down
    result[[61, 62, 63]] = seam - 0.008 * unit_px * down
    result[[67, 66, 65]] = seam + 0.008 * unit_px * down
    return result


def _mean(rgb: Array, polygon: Array) -> Array:
    pixels = _pixels(rgb, polygon)
    return np.asarray(np.median(pixels, axis=0), np.float32)


def _pixels(rgb: Array, polygon: Array) -> Array:
    x0, y0 = np.floor(polygon.min(axis=0)).astype(int)
    x1, y1 = np.ceil(polygon.max(axis=0)).astype(int) + 1
    x0, y0 = max(x0, 0), max(y0, 0)
    part = rgb[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    mask = np.zeros(part.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(polygon - (x0, y0)).astype(np.int32)), 255)
    pixels = part[mask > 0] if mask.any() else part.reshape(-1, 3)
    return pixels.astype(np.float32) / np.float32(255)


def _white(rgb: Array, landmarks_px: Array) -> Array:
    """The colour of white things in the light of the portrait, from the whites of its eyes."""
    pixels = np.concatenate([_pixels(rgb, landmarks_px[eye]) for eye in EYES])
    light = pixels.mean(axis=1)
    low, high = np.quantile(light, [0.7, 0.95])
    return np.asarray(np.median(pixels[(light >= low) & (light <= high)], axis=0))


def paint_mouth(picture: Array, landmarks_px: Array, opened_px: float, teeth_edge_px: float, look: MouthLook) -> None:
    """Paint the opening between the inner lips into `picture`, float32 (S, S, 3) in 0..1, in place.

    opened_px: how far the lips went apart since they were shut.
    teeth_edge_px: how far below the middle of the upper inner lip the upper teeth end, in pixels.
    """
    inner = np.asarray(landmarks_px[INNER_LIPS], np.float64)
    across = inner[4] - inner[0]
    width = float(np.linalg.norm(across))
    gap = float(np.linalg.norm(inner[1:4] - inner[7:4:-1], axis=1).max())
    if opened_px < 0.25 or width < 4:
        return
    size = picture.shape[0]
    pad = 4
    x0, y0 = np.maximum(np.floor(inner.min(axis=0)).astype(int) - pad, 0)
    x1, y1 = np.minimum(np.ceil(inner.max(axis=0)).astype(int) + pad + 1, size)
    if x1 <= x0 or y1 <= y0:
        return
    outline = _outline(inner) - (x0, y0)
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillPoly(mask, [np.round(outline * 2**_SHIFT_BITS).astype(np.int32)], 255, cv2.LINE_AA, _SHIFT_BITS)
    alpha = cv2.GaussianBlur(mask, (0, 0), max(0.5, 0.008 * width)).astype(np.float32) / np.float32(255)
    alpha *= np.float32(min(1.0, opened_px / 1.5))

    right = across / width
    down = np.array([-right[1], right[0]])
    x, y = np.meshgrid(np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32))
    u = ((x - inner[0, 0]) * right[0] + (y - inner[0, 1]) * right[1]) / width
    v = (x - inner[0, 0]) * down[0] + (y - inner[0, 1]) * down[1]
    local = (inner - inner[0]) @ np.stack([right, down], axis=1)
    upper = np.interp(u, local[:5, 0] / width, local[:5, 1]).astype(np.float32)
    order = [0, 7, 6, 5, 4]
    lower = np.interp(u, local[order, 0] / width, local[order, 1]).astype(np.float32)
    depth = v - upper
    height = np.maximum(lower - upper, np.float32(0.5))

    colour = np.broadcast_to(look.cavity, (*depth.shape, 3)).astype(np.float32)
    rise = np.clip((depth / height - 0.55) / 0.45, 0, 1) * np.clip(gap / (0.25 * width) - 0.35, 0, 1)
    middle = np.clip(1 - (2.4 * (u - 0.5)) ** 2, 0, 1)
    colour = colour + (rise * middle)[..., None] * (look.tongue - colour)
    # The row of teeth is an arc: seen from the front it ends a little higher, and darker, at the sides.
    edge = teeth_edge_px * (1 - 0.5 * (2 * (u - 0.5)) ** 2)
    soft = max(0.7, 0.012 * width)
    tooth = np.clip((edge - depth) / soft + 0.5, 0, 1) * np.clip(1.25 - (2.1 * (u - 0.5)) ** 2, 0, 1)
    shade = np.clip(0.25 + 0.75 * depth / max(0.09 * width, 1.0), 0, 1) * (1 - 0.55 * (2 * (u - 0.5)) ** 2)
    colour = colour + tooth[..., None] * (look.teeth * shade[..., None] - colour)
    lean = np.float32(np.log(look.side_light) / 2)
    colour = colour * np.exp(lean * (2 * u - 1))[..., None]
    part = picture[y0:y1, x0:x1]
    part += alpha[..., None] * (colour - part)


def _outline(inner: Array) -> Array:
    """A smooth closed outline (N, 2) through the inner lips (8, 2): quadratic between neighbouring midpoints of each
    lip."""
    upper, lower = inner[[0, 1, 2, 3, 4]], inner[[4, 5, 6, 7, 0]]
    return np.concatenate([_smooth_line(upper)[:-1], _smooth_line(lower)[:-1]])


def _smooth_line(points: Array) -> Array:
    """Catmull-Rom through points (N, 2), ends included."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, 6)[:-1, None]
    pieces = []
    for a, b, c, d in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True):
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate([*pieces, points[-1:]])

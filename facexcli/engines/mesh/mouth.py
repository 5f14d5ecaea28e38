"""The inside of a mouth that the portrait does not show: cavity, upper teeth and tongue in the portrait's own light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.engines.mesh.lips import LIP_LINE, with_lip_edges
from facexcli.geometry.face_shape import EYES, INNER_LIPS, OUTER_LIPS
from facexcli.geometry.warp import warp_image

if TYPE_CHECKING:
    from facexcli.types import Array

_SHIFT_BITS = 4
_PAD_PX = 4
_TOOTH_GAPS = np.array([0.0, 0.34, 0.6, 0.82], np.float32)
"""Borders of the upper teeth from the middle of the mouth to its corner (1), for incisors, canine and premolar."""
SHUT = 0.05
"""Lips less apart than this, in face units, are taken for shut."""


@dataclass(frozen=True, slots=True)
class MouthLook:
    """What light and colours the inside of the mouth has. All float32 (3,), 0..1: cavity, tongue, teeth.

    own: uint8 (S, S), 255 where the portrait shows the inside of its mouth itself, or None when its lips are shut.
    side_light: brightness of the right cheek over the left one.
    """

    cavity: Array
    tongue: Array
    teeth: Array
    own: Array | None
    side_light: float


def study_mouth(rgb: Array, landmarks_px: Array, unit_px: float) -> MouthLook:
    """Read light and colours off a portrait: rgb uint8 (S, S, 3), landmarks_px (68, 2), pixels a face unit."""
    lips = _mean(rgb, landmarks_px[OUTER_LIPS])
    cheeks = [_mean(rgb, landmarks_px[list(points)]) for points in ((2, 3, 31, 48), (14, 13, 35, 54))]
    around = (cheeks[0] + cheeks[1]) / 2
    white = _white(rgb, landmarks_px)
    # Teeth are about as white as the eyes, a little warmer, and lie behind the lips, in their shade.
    teeth = 0.85 * white * np.array([1.0, 0.94, 0.85], np.float32)
    tongue = 0.55 * lips
    cavity = 0.16 * lips + 0.02 * around
    own = None if _are_shut(landmarks_px, unit_px) else _own_inside(landmarks_px, rgb.shape[0])
    side = float(np.clip(cheeks[1].mean() / max(cheeks[0].mean(), 1e-3), 0.6, 1.6))
    return MouthLook(cavity.astype(np.float32), tongue.astype(np.float32), teeth.astype(np.float32), own, side)


def _are_shut(landmarks_px: Array, unit_px: float) -> bool:
    gaps = np.linalg.norm(landmarks_px[[61, 62, 63]] - landmarks_px[[67, 66, 65]], axis=1)
    return bool(gaps.mean() < SHUT * unit_px)


def _own_inside(landmarks_px: Array, size_px: int) -> Array:
    """uint8 (S, S): the opening between the lips, without its last pixel, which is half lip."""
    mask = np.zeros((size_px, size_px), np.uint8)
    line = with_lip_edges(np.asarray(landmarks_px, np.float64))[LIP_LINE]
    cv2.fillPoly(mask, [np.round(_outline(line)).astype(np.int32)], 255)
    return np.asarray(cv2.GaussianBlur(cv2.erode(mask, np.ones((3, 3), np.uint8)), (0, 0), 1.0))


def find_seam(rgb: Array, landmarks_px: Array, unit_px: float) -> Array:
    """Landmarks (68, 2) whose inner lips lie on both sides of the dark line between shut lips; open lips stay as they
    are.

    Landmarks of shut lips miss that line by a pixel or two, and a mouth opened beside it would keep it as a stripe on
    a lip.
    """
    result = np.array(landmarks_px, np.float64)
    inner = result[INNER_LIPS]
    if not _are_shut(result, unit_px):
        return result
    across = inner[4] - inner[0]
    right = across / np.linalg.norm(across)
    down = np.array([-right[1], right[0]])
    # The seam runs nearly up to the outer corners; an opening that ended short of them would leave a dark line beside
    # it.
    corners = inner[[0, 4]] + 0.6 * (result[[48, 54]] - inner[[0, 4]])
    middle = np.array([corners[0], *(inner[[1, 2, 3]] + inner[[7, 6, 5]]) / 2, corners[1]])
    light = cv2.GaussianBlur(rgb, (0, 0), max(0.012 * unit_px, 0.5)).astype(np.float32).mean(axis=2)
    steps = np.linspace(-0.07, 0.07, 57) * unit_px
    places = middle[:, None] + steps[:, None] * down
    # A shallow well keeps the choice near the landmarks where lips have no clear line.
    profile = warp_image(light, places.astype(np.float32)) + 12.0 * (steps / (0.07 * unit_px)) ** 2
    shifts = steps[profile.argmin(axis=1)]
    # One line, no zigzag: a parabola through the five findings.
    along = np.linspace(-1, 1, 5)
    shifts = np.polyval(np.polyfit(along, shifts, 2), along)
    seam = middle + shifts[:, None] * down
    result[[60, 64]] = seam[[0, 4]]
    result[[61, 62, 63]] = seam[1:4] - 0.008 * unit_px * down
    result[[67, 66, 65]] = seam[1:4] + 0.008 * unit_px * down
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
    low, high = np.quantile(light, [0.8, 0.97])
    return np.asarray(np.median(pixels[(light >= low) & (light <= high)], axis=0))


def paint_mouth(
    picture: Array,
    lip_line_px: Array,
    opened_px: float,
    teeth_edge_px: float,
    look: MouthLook,
    rgb: Array,
    head_map: Array,
) -> None:
    """Paint the opening between the lips into `picture`, float32 (S, S, 3) in 0..1, in place.

    lip_line_px: (12, 2), the inner edge of the lips from the left corner over the upper to the lower lip.
    opened_px: how much further the lips are apart than in the portrait.
    teeth_edge_px: how far below the middle of the upper inner lip the upper teeth end, unless the portrait shows them.
    rgb: the portrait, uint8 (S, S, 3); head_map: float32 (S, S, 2), where each pixel of `picture` was before the head
        moved. Teeth move with the head, not with the lips in front of them.
    """
    line = np.asarray(lip_line_px, np.float64)
    across = line[6] - line[0]
    width = float(np.linalg.norm(across))
    if width < 4 or (abs(opened_px) if look.own is not None else opened_px) < 0.25:
        return
    x0, y0 = np.maximum(np.floor(line.min(axis=0)).astype(int) - _PAD_PX, 0)
    x1, y1 = np.minimum(np.ceil(line.max(axis=0)).astype(int) + _PAD_PX + 1, picture.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    outline = np.round((_outline(line) - (x0, y0)) * 2**_SHIFT_BITS).astype(np.int32)
    cv2.fillPoly(mask, [outline], 255, cv2.LINE_AA, _SHIFT_BITS)
    alpha = cv2.GaussianBlur(mask, (0, 0), max(0.5, 0.01 * width)).astype(np.float32)
    alpha *= np.float32(min(1.0, abs(opened_px) / 1.5) / 255)

    right = across / width
    frame = np.stack([right, (-right[1], right[0])], axis=1)
    local = (line - line[0]) @ frame
    x, y = np.meshgrid(np.arange(x0, x1) - line[0, 0], np.arange(y0, y1) - line[0, 1])
    u = ((x * frame[0, 0] + y * frame[1, 0]) / width).astype(np.float32)
    v = (x * frame[0, 1] + y * frame[1, 1]).astype(np.float32)
    upper = np.interp(u, local[:7, 0] / width, local[:7, 1]).astype(np.float32)
    lower = np.interp(u, *(local[[0, 11, 10, 9, 8, 7, 6]].T / [[width], [1.0]])).astype(np.float32)
    edge_px = teeth_edge_px if look.own is None else -width
    colour = _inside(u, v - upper, np.maximum(lower - upper, np.float32(0.5)), width, edge_px, look)
    if look.own is not None:
        places = head_map[y0:y1, x0:x1]
        shown = warp_image(look.own, places)[..., None] / np.float32(255)
        colour += shown * (warp_image(rgb, places) / np.float32(255) - colour)
    part = picture[y0:y1, x0:x1]
    part += alpha[..., None] * (colour - part)


def _inside(u: Array, depth: Array, height: Array, width: float, teeth_edge_px: float, look: MouthLook) -> Array:
    """Colours of the inside, float32 (h, w, 3). u: place along the mouth, 0..1; depth below the upper lip, and height,
    in pixels."""
    side = 2 * u - 1
    colour = np.broadcast_to(look.cavity, (*depth.shape, 3))
    rise = np.clip((depth / height - 0.5) / 0.5, 0, 1) * np.clip(height / (0.25 * width) - 0.35, 0, 1)
    tongue = rise * np.clip(1 - (1.2 * side) ** 2, 0, 1)
    colour = colour + tongue[..., None] * (look.tongue - colour)
    # The row of teeth is an arc: seen from the front it ends a little higher, and darker, at the sides.
    gaps = np.exp(-(((np.abs(side[..., None]) - _TOOTH_GAPS) / 0.022) ** 2)).sum(axis=-1)
    edge = teeth_edge_px * (1 - 0.45 * side**2 - 0.07 * gaps)
    tooth = np.clip((edge - depth) / max(1.2, 0.02 * width) + 0.5, 0, 1) * np.clip(1.25 - (1.05 * side) ** 2, 0, 1)
    shade = np.clip(0.4 + 0.6 * depth / max(0.07 * width, 1.0), 0, 1) * (1 - 0.5 * side**2) * (1 - 0.1 * gaps)
    shade = shade * np.clip(0.3 + height / (0.16 * width), 0, 1)  # little light gets between lips that hardly part
    colour = colour + tooth[..., None] * (look.teeth * shade[..., None] - colour)
    lean = np.float32(np.log(look.side_light) / 2)
    return np.asarray(colour * np.exp(lean * side)[..., None], np.float32)


def _outline(line: Array) -> Array:
    """A smooth closed outline (N, 2) through the lip line (12, 2), with a corner at each end of the mouth."""
    return np.concatenate([_smooth_line(line[:7])[:-1], _smooth_line(line[[6, 7, 8, 9, 10, 11, 0]])[:-1]])


def _smooth_line(points: Array) -> Array:
    """Catmull-Rom through points (N, 2), ends included."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, 6)[:-1, None]
    pieces = []
    for a, b, c, d in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True):
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate([*pieces, points[-1:]])

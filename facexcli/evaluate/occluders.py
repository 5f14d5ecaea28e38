"""Made occluders of known mask: a hand in the person's own skin colour, and a dark microphone, moving before a face.

They are rendered as height fields under one light, with soft edges, motion blur and a faint shadow on what they cover,
so that what makes real ones hard (the same colour as the face, rounded shading, blur) is there, and the truth is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

if TYPE_CHECKING:
    from facexcli.types import Array

OccluderName = Literal["hand", "palm", "microphone", "held"]
OCCLUDERS: dict[OccluderName, str] = {
    "hand": "spread fingers that wander all over the face",
    "palm": "a hand that comes to the mouth, rests there and leaves",
    "microphone": "a dark microphone that swings across",
    "held": "a dark microphone at the chin, from the first frame to the last",
}
_LIGHT = np.array((-0.35, -0.55, 0.76))
_BLUR_STEPS = 5
_SHUTTER = 0.5
"""Part of a frame's time during which it is exposed."""
_NOISE_CODES = 1.5
_SHADOW = 0.12


@dataclass(frozen=True, slots=True)
class FacePlace:
    """Where a face is, on average over a clip, and what its skin is like.

    centre_px: (x, y), the tip of the nose. unit_px: `fusion.mask.face_unit_px`. skin_rgb: 0..255, (3,).
    """

    centre_px: tuple[float, float]
    unit_px: float
    skin_rgb: Array


@dataclass(frozen=True, slots=True)
class _Capsule:
    """A rounded bar from `start` to `stop`, in face units, with a radius at each end."""

    start: tuple[float, float]
    stop: tuple[float, float]
    radii: tuple[float, float]
    lift: float = 0.0


# A hand as long as a face is high, seen from its back: forearm, palm, four fingers of two bones, thumb. Face units are
# about 90 mm; the origin is the root of the middle finger and the fingers point up (negative y).
_FINGERS = tuple(
    bone
    for root_x, root_y, lean, length, radius in (
        (-0.33, 0.06, -0.20, 0.72, 0.095),
        (-0.11, 0.0, -0.05, 0.86, 0.1),
        (0.11, 0.0, 0.08, 0.82, 0.1),
        (0.31, 0.08, 0.24, 0.62, 0.085),
    )
    for bone in (
        _Capsule(
            (root_x, root_y), (root_x + lean * length * 0.5, root_y - length * 0.55), (radius * 1.08, radius), 0.03
        ),
        _Capsule(
            (root_x + lean * length * 0.5, root_y - length * 0.55),
            (root_x + lean * length * 1.05, root_y - length),
            (radius, radius * 0.82),
        ),
    )
)
_PALM = (
    *(_Capsule((x, 0.05), (x * 0.75, 0.85), (0.15, 0.17), 0.05) for x in (-0.3, -0.1, 0.1, 0.28)),
    _Capsule((-0.3, 0.75), (-0.62, 0.3), (0.15, 0.11)),
    _Capsule((-0.62, 0.3), (-0.72, -0.02), (0.11, 0.09)),
    _Capsule((0.0, 0.85), (0.05, 4.5), (0.3, 0.42)),
)
_HAND = (*_FINGERS, *_PALM)
_HEAD = (_Capsule((0.0, 0.0), (0.0, 0.05), (0.26, 0.25)),)
_HANDLE = (_Capsule((0.0, 0.28), (0.06, 3.5), (0.13, 0.11)),)
_HEAD_RGB, _HANDLE_RGB = np.array((52.0, 52.0, 56.0)), np.array((30.0, 30.0, 33.0))


def occlude(rgb: Array, occluder: OccluderName, place: FacePlace, progress: float, step: float) -> tuple[Array, Array]:
    """One frame with an occluder in front.

    Args:
        rgb: uint8 (H, W, 3).
        progress: 0..1, the frame's place in the clip.
        step: of `progress` to the next frame.

    Returns:
        the picture uint8 (H, W, 3), and how much of each pixel is occluder: float32 (H, W) in 0..1.
    """
    size = rgb.shape[:2]
    light, share = np.zeros((*size, 3), np.float32), np.zeros(size, np.float32)
    for part in np.linspace(0, _SHUTTER, _BLUR_STEPS):
        colour, alpha = _drawn(size, occluder, place, progress + part * step)
        light += colour * alpha[..., None] / _BLUR_STEPS
        share += alpha / _BLUR_STEPS
    soft = cv2.GaussianBlur(share, (0, 0), 0.7)
    light = cv2.GaussianBlur(light, (0, 0), 0.7)
    reach = 0.08 * place.unit_px
    shadow = 1 - _SHADOW * cv2.GaussianBlur(_shifted(share, reach * 0.6), (0, 0), reach)
    noise = np.random.default_rng(round(progress * 1e6)).normal(0, _NOISE_CODES, (*size, 1)) * soft[..., None]
    mixed = rgb * (shadow * (1 - soft))[..., None] + light + noise
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8), soft


def _pose(occluder: OccluderName, progress: float) -> tuple[float, float, float]:
    """Place of the occluder's origin from the nose's tip, in face units, and its angle in radians."""
    t = 2 * np.pi * progress
    if occluder == "hand":
        return 1.5 * np.sin(2 * t) + 0.1, 0.45 - 0.75 * np.sin(t * 1.5 - 0.6), 0.35 * np.sin(2 * t + 0.5)
    if occluder == "palm":
        near = float(np.clip(np.interp(progress, (0.2, 0.34, 0.66, 0.8), (0, 1, 1, 0)), 0, 1))
        near = near * near * (3 - 2 * near)
        return 0.95 - 0.7 * near + 0.04 * np.sin(3 * t), 3.4 - 2.7 * near + 0.05 * np.sin(2 * t), -0.45
    if occluder == "microphone":
        return 1.3 * np.sin(2 * t), 0.35 - 0.55 * np.cos(t), 0.3 * np.sin(2 * t)
    return 0.12 + 0.05 * np.sin(2 * t), 0.75 + 0.05 * np.cos(3 * t), 0.15 + 0.04 * np.sin(t)


def _drawn(size: tuple[int, int], occluder: OccluderName, place: FacePlace, progress: float) -> tuple[Array, Array]:
    """The occluder alone at one moment: colour float32 (H, W, 3) in 0..255, and alpha (H, W)."""
    x0, y0, angle = _pose(occluder, progress)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    x = (x - place.centre_px[0]) / place.unit_px - x0
    y = (y - place.centre_px[1]) / place.unit_px - y0
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = np.asarray(cosine * x + sine * y, np.float32), np.asarray(cosine * y - sine * x, np.float32)
    pixel = 1 / place.unit_px
    if occluder in ("hand", "palm"):
        height, inside = _relief(_HAND, x, y)
        shade = _shade(height, pixel) * (1 + 0.03 * np.sin(31 * x + 3 * y) * np.sin(9 * y + 1))
        tips = np.clip(-y - 0.35, 0, 0.4)[..., None] * np.array((0.12, -0.1, -0.06), np.float32)
        colour = place.skin_rgb * shade[..., None] * (1 + tips)
    else:
        height, inside = _relief((*_HEAD, *_HANDLE), x, y)
        head = _relief(_HEAD, x, y)[1] > 0
        mesh = 1 + 0.25 * np.sign(np.sin(90 * x) * np.sin(90 * y)) * head
        shade = _shade(height, pixel) ** 2 * mesh
        colour = np.where(head[..., None], _HEAD_RGB, _HANDLE_RGB) * shade[..., None]
    alpha = np.clip(inside / pixel + 0.5, 0, 1)
    return np.asarray(np.clip(colour, 0, 255), np.float32), np.asarray(alpha, np.float32)


def _relief(parts: tuple[_Capsule, ...], x: Array, y: Array) -> tuple[Array, Array]:
    """Height of the parts' surface above the face, and the distance inward from their outline, in face units."""
    height, inside = np.full(x.shape, -1.0, np.float32), np.full(x.shape, -9.0, np.float32)
    for part in parts:
        (ax, ay), (bx, by) = part.start, part.stop
        dx, dy = bx - ax, by - ay
        along = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
        radius = part.radii[0] + (part.radii[1] - part.radii[0]) * along
        depth = radius - np.hypot(x - ax - along * dx, y - ay - along * dy)
        rise = np.sqrt(np.clip(radius * radius - (radius - np.clip(depth, 0, None)) ** 2, 0, None)) + part.lift
        height = np.where(depth > 0, np.maximum(height, rise), height)
        inside = np.maximum(inside, depth)
    return height, inside


def _shade(height: Array, pixel: float) -> Array:
    """Lambert's cosine with a good deal of light from all sides; 1 where the surface faces the viewer."""
    smooth = cv2.GaussianBlur(np.maximum(height, 0), (0, 0), 1.2)
    slope_x, slope_y = np.gradient(smooth, axis=1) / pixel, np.gradient(smooth, axis=0) / pixel
    norm = np.sqrt(1 + slope_x**2 + slope_y**2)
    cosine = np.clip((-slope_x * _LIGHT[0] - slope_y * _LIGHT[1] + _LIGHT[2]) / norm, 0, 1)
    return np.asarray((0.4 + 0.6 * cosine) / (0.4 + 0.6 * _LIGHT[2]), np.float32)


def _shifted(share: Array, by_px: float) -> Array:
    moved: Array = cv2.warpAffine(share, np.array([[1.0, 0, by_px], [0, 1.0, by_px]]), share.shape[::-1])
    return moved

"""A face that is painted, so that what is skin, hair or frame is known exactly."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from facexcli.faces.align import TEMPLATES
from facexcli.fusion.mask import face_outline
from facexcli.types import Crop

SKIN, HAIR, BACKGROUND, LENS = (205, 160, 135), (60, 42, 32), (40, 120, 150), (28, 28, 30)


def paint_face(
    size_px: int = 256,
    skin: tuple[int, int, int] = SKIN,
    fringe: bool = False,
    glasses: bool = False,
    dark_lenses: bool = False,
    neck: bool = False,
) -> Crop:
    """A crop of the mean face: a plain oval of skin with brows, eyes and lips under a cap of hair."""
    landmarks = TEMPLATES["ffhq"].points_px(size_px).astype(np.float32)
    unit = float(landmarks[45, 0] - landmarks[36, 0])
    rgb = np.full((size_px, size_px, 3), BACKGROUND, np.uint8)
    centre = landmarks[:17].mean(axis=0)
    cv2.circle(rgb, tuple(np.round(centre - (0, 0.45 * unit)).astype(int).tolist()), round(1.0 * unit), HAIR, -1)
    outline = np.round(face_outline(landmarks)).astype(np.int32)
    if neck:
        left, right = round(float(landmarks[4, 0])), round(float(landmarks[12, 0]))
        cv2.rectangle(rgb, (left, round(float(landmarks[4, 1]))), (right, size_px), skin, -1)
    cv2.fillPoly(rgb, [outline], skin)

    def stroke(points: np.ndarray, color: tuple[int, int, int], width: float, closed: bool) -> None:
        fixed = np.round(points).astype(np.int32)
        cv2.polylines(rgb, [fixed], closed, color, max(1, round(width * unit)))

    for brow in (slice(17, 22), slice(22, 27)):
        stroke(landmarks[brow], HAIR, 0.05, False)
    for eye in (slice(36, 42), slice(42, 48)):
        cv2.fillPoly(rgb, [np.round(landmarks[eye]).astype(np.int32)], (235, 235, 235))
        middle = tuple(np.round(landmarks[eye].mean(axis=0)).astype(int).tolist())
        cv2.circle(rgb, middle, round(0.05 * unit), (50, 40, 30), -1)
    cv2.fillPoly(rgb, [np.round(landmarks[48:60]).astype(np.int32)], (170, 80, 85))
    if fringe:
        top = outline[:, 1].min() - 4
        bottom = round(float(landmarks[17:27, 1].min() - 0.12 * unit))
        left, right = round(float(landmarks[17, 0])), round(float(landmarks[26, 0]))
        cv2.rectangle(rgb, (left, int(top)), (right, bottom), HAIR, -1)
    if glasses or dark_lenses:
        rims = []
        for eye in (slice(36, 42), slice(42, 48)):
            middle = landmarks[eye].mean(axis=0) + np.array((0, 0.05 * unit))
            rims.append(middle)
            spot = tuple(np.round(middle).astype(int).tolist())
            axes = (round(0.24 * unit), round(0.2 * unit))
            cv2.ellipse(rgb, spot, axes, 0, 0, 360, LENS, -1 if dark_lenses else max(2, round(0.025 * unit)))
        width = max(2, round(0.025 * unit))
        for start, stop in (
            (rims[0] + (0.22 * unit, -0.04 * unit), rims[1] - (0.22 * unit, 0.04 * unit)),
            (landmarks[0], rims[0] - (0.24 * unit, 0)),
            (rims[1] + (0.24 * unit, 0), landmarks[16]),
        ):
            cv2.line(rgb, np.round(start).astype(int).tolist(), np.round(stop).astype(int).tolist(), LENS, width)
    noise = np.random.default_rng(0).normal(0, 2, rgb.shape)
    rgb = np.clip(cv2.GaussianBlur(rgb, (0, 0), 0.8) + noise, 0, 255).astype(np.uint8)
    return Crop(rgb, np.eye(3), landmarks, "ffhq")


@pytest.fixture(scope="session")
def painted() -> Callable[..., Crop]:
    return paint_face

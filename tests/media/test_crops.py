"""Affine crops straight out of the planes and back into them, beside the whole picture converted first."""

from __future__ import annotations

import numpy as np
import pytest

from facexcli.affine import resample
from facexcli.media.color import rgb_roi
from facexcli.media.crops import put_crop, rgb_crop
from facexcli.media.pixels import LAYOUTS, plane_views
from facexcli.media.signal import components
from facexcli.types import Array, Frame
from tests.media.test_color import ORIENTATIONS, RGB, YUV, make_frame


def turned(scale: float, angle: float, center: tuple[float, float], side: int) -> Array:
    """crop_from_frame: `center` of the frame in the middle of the crop."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    matrix = np.array([[c, -s, 0.0], [s, c, 0.0], [0, 0, 1]])
    matrix[:2, 2] = (side - 1) / 2 - matrix[:2, :2] @ np.array(center)
    return matrix


def smooth_frame(pix_fmt: str) -> Frame:
    """Waves that are the same at every resolution: where and how often they are sampled should not matter."""
    frame = make_frame(pix_fmt, chroma_location=1, matrix=1)
    layout = LAYOUTS[pix_fmt]
    for part in components(frame, plane_views(frame.native, pix_fmt, writable=True)):
        y, x = np.indices(part.plane.shape)
        x, y = x * part.step[0] + part.first[0], y * part.step[1] + part.first[1]
        wave = 128 + 24 * np.sin(x / 9) * np.cos(y / 7)
        part.plane[...] = np.round(wave * (1 << (layout.bits - 8))).astype(int) << layout.shift
    return frame


def disc(side: int) -> Array:
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.clip(0.4 * side - np.hypot(x, y), 0, 1).astype(np.float32)


@pytest.mark.parametrize("scale", [0.4, 0.7, 1.0, 1.6])
@pytest.mark.parametrize("pix_fmt", YUV + RGB)
def test_a_crop_is_what_the_converted_picture_would_give(pix_fmt: str, scale: float) -> None:
    frame = smooth_frame(pix_fmt)
    matrix = turned(scale, 0.2, (33, 25), 20)
    whole = rgb_roi(frame, (0, 0, 70, 52)).astype(np.float32)
    expected = resample(whole, matrix, (20, 20), smooth=scale > 1)
    difference = np.abs(rgb_crop(frame, matrix, 20) - expected)
    assert difference.max() <= 4
    assert difference.mean() < 1


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "nv12", "yuv444p12le", "rgb24", "gbrp", "gray"])
def test_a_crop_is_cut_out_of_the_upright_picture(pix_fmt: str, orientation: tuple[int, bool]) -> None:
    turn, mirrored = orientation
    frame = make_frame(pix_fmt, turn=turn, mirrored=int(mirrored), chroma_location=2)
    matrix = np.array([[1.0, 0, -9], [0, 1.0, -7], [0, 0, 1]])
    expected = rgb_roi(frame, (9, 7, 41, 39)).astype(int)
    assert np.abs(rgb_crop(frame, matrix, 32) - expected).max() <= 2


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("pix_fmt", YUV + RGB)
def test_only_what_alpha_reaches_is_touched(pix_fmt: str, orientation: tuple[int, bool]) -> None:
    turn, mirrored = orientation
    frame = make_frame(pix_fmt, turn=turn, mirrored=int(mirrored))
    center, side, scale = (30.0, 26.0), 24, 0.8
    edited = put_crop(frame, turned(scale, 0.3, center, side), np.ones((side, side, 3), np.float32), disc(side))
    x0, y0, x1, y1 = (round(c + d) for d in (-17, 17) for c in center)
    changed = rgb_roi(frame, (0, 0, *_shown(frame.rotation_deg))).astype(int) != rgb_roi(
        edited, (0, 0, *_shown(frame.rotation_deg))
    )
    assert changed[round(center[1]), round(center[0])].all()
    changed[y0:y1, x0:x1] = False
    assert not changed.any()


def _shown(turn: int) -> tuple[int, int]:
    return (52, 70) if turn % 180 else (70, 52)


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.0, 3.0])
@pytest.mark.parametrize("pix_fmt", YUV + RGB)
def test_an_opaque_colour_comes_back(pix_fmt: str, scale: float) -> None:
    frame = make_frame(pix_fmt, matrix=1, chroma_location=1)
    colour = np.array([0.5, 0.5, 0.5] if pix_fmt == "gray" else [0.6, 0.35, 0.25], np.float32)
    side = int(40 * scale)
    edited = put_crop(frame, turned(scale, 0.1, (34, 25), side), np.tile(colour, (side, side, 1)), disc(side))
    inner = rgb_roi(edited, (30, 21, 38, 29)).astype(float)
    np.testing.assert_allclose(inner, np.broadcast_to(colour * 255, inner.shape), atol=1.6)


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv420p10le", "rgb24"])
def test_an_unmoved_crop_keeps_the_luma_that_it_was_cut_with(pix_fmt: str) -> None:
    frame = make_frame(pix_fmt, matrix=1, chroma_location=2)
    box, matrix = (8, 4, 48, 44), np.array([[1.0, 0, -8], [0, 1.0, -4], [0, 0, 1]])
    alpha = np.zeros((40, 40), np.float32)
    alpha[1:-1, 1:-1] = 1
    edited = put_crop(frame, matrix, rgb_roi(frame, box, np.float32), alpha)
    assert np.abs(frame.planes[0].astype(int) - edited.planes[0]).max() <= 1


def test_what_nothing_is_laid_over_stays_the_same_frame() -> None:
    frame = make_frame("yuv420p")
    assert put_crop(frame, np.eye(3), np.ones((8, 8, 3), np.float32), np.zeros((8, 8), np.float32)) is frame


def test_a_crop_beside_the_frame_changes_nothing() -> None:
    frame = make_frame("yuv420p")
    edited = put_crop(frame, turned(1.0, 0.0, (500, 500), 24), np.ones((24, 24, 3), np.float32), disc(24))
    assert all(np.array_equal(a, b) for a, b in zip(frame.planes, edited.planes, strict=True))


def test_many_small_pixels_are_averaged_and_not_picked() -> None:
    """A crop far finer than the frame: its stripes become even grey."""
    frame = make_frame("yuv420p", matrix=1)
    rgb = np.zeros((160, 160, 3), np.float32)
    rgb[:, ::2] = 1
    edited = put_crop(frame, turned(4.0, 0.0, (32, 24), 160), rgb, disc(160))
    inner = edited.planes[0][20:28, 28:36].astype(float)
    assert inner.std() < 3
    assert abs(inner.mean() - (16 + 219 / 2)) < 3

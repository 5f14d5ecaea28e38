"""Regions of frames as RGB and back, against float references written from the standards."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facexcli.media.color import put_roi, rgb_roi
from facexcli.media.frames import frame_from_native, frame_from_rgb
from facexcli.media.pixels import LAYOUTS, plane_views
from facexcli.types import ColorDescription, Frame, MediaInfo

WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
ORIENTATIONS = [(turn, mirrored) for turn in (0, 90, 180, 270) for mirrored in (False, True)]
YUV = (
    "yuv420p",
    "yuvj420p",
    "yuv422p",
    "yuv444p",
    "nv12",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p12le",
    "p010le",
    "gray",
)
RGB = ("rgb24", "bgr0", "bgra", "gbrp", "gbrp10le", "rgb48le")


def make_frame(pix_fmt: str, *, size: tuple[int, int] = (70, 52), seed: int = 0, **color: int) -> Frame:
    turn, mirrored = color.pop("turn", 0), bool(color.pop("mirrored", 0))
    native = av.VideoFrame(*size, pix_fmt)
    rng = np.random.default_rng(seed)
    layout = LAYOUTS[pix_fmt]
    for plane in plane_views(native, pix_fmt, writable=True):
        # Muted chroma and middling luma, so that no reference value is clipped.
        values = rng.integers(110 << (layout.bits - 8), 146 << (layout.bits - 8), plane.shape)
        plane[...] = values << layout.shift
    info = MediaInfo(Path("made"), "video", *size, rotation_deg=turn, mirrored=mirrored)
    return frame_from_native(native, 0, 0, Fraction(1, 25), 1, info, ColorDescription(**color))


def reference_rgb(frame: Frame) -> np.ndarray[Any, Any]:
    """Whole-frame float64 RGB in the decoder's orientation, from H.273 and bilinear chroma at the left location."""
    layout = LAYOUTS[frame.pix_fmt]
    planes = [(np.asarray(plane) >> layout.shift).astype(np.float64) for plane in frame.planes]
    if layout.family == "semiplanar":
        planes = [planes[0], planes[1][..., 0], planes[1][..., 1]]
    unit, full = 1 << (layout.bits - 8), layout.full_range or frame.color.range == 2
    peak = (1 << layout.bits) - 1
    luma = planes[0] / peak if full else (planes[0] - 16 * unit) / (219 * unit)
    if layout.family == "gray":
        return np.repeat(luma[..., None], 3, axis=2) * 255
    height, width = luma.shape
    x, y = np.arange(width), np.arange(height)
    source_x = x / 2 if layout.sub_x == 2 else x.astype(float)
    source_y = (y - 0.5) / 2 if layout.sub_y == 2 else y.astype(float)
    cb, cr = (
        (bilinear(plane, source_x, source_y) - 128 * unit) / (peak if full else 224 * unit) for plane in planes[1:3]
    )
    kr, kb = WEIGHTS[frame.color.matrix if frame.color.matrix in WEIGHTS else 6]
    red, blue = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return 255 * np.stack([red, green, blue], axis=-1)


def bilinear(plane: np.ndarray[Any, Any], x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    def axis(values: np.ndarray[Any, Any], length: int) -> tuple[Any, Any, Any]:
        low = np.floor(values).astype(int)
        return np.clip(low, 0, length - 1), np.clip(low + 1, 0, length - 1), values - low

    x0, x1, fx = axis(x, plane.shape[1])
    y0, y1, fy = axis(y, plane.shape[0])
    rows = plane[y0] * (1 - fy)[:, None] + plane[y1] * fy[:, None]
    return np.asarray(rows[:, x0] * (1 - fx) + rows[:, x1] * fx)


@pytest.mark.parametrize("matrix", [1, 6, 9, 2])
@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("pix_fmt", YUV)
def test_a_region_agrees_with_the_float_reference(pix_fmt: str, matrix: int, color_range: int) -> None:
    frame = make_frame(pix_fmt, matrix=matrix, range=color_range, chroma_location=1)
    expected = reference_rgb(frame)
    for x0, y0, x1, y1 in ((0, 0, 70, 52), (13, 7, 41, 38), (69, 51, 70, 52)):
        got = rgb_roi(frame, (x0, y0, x1, y1)).astype(float)
        assert np.abs(got - np.clip(expected[y0:y1, x0:x1], 0, 255)).max() <= 0.51  # rounding to 8 bits


@pytest.mark.parametrize("pix_fmt", RGB)
def test_rgb_formats_are_only_reordered_and_scaled(pix_fmt: str) -> None:
    frame = make_frame(pix_fmt)
    expected = frame.native.reformat(format="rgb24").to_ndarray().astype(float)
    assert np.abs(rgb_roi(frame, (0, 0, 70, 52)) - expected).max() <= 1


def test_an_unmarked_matrix_follows_the_height() -> None:
    small, large = make_frame("yuv444p", size=(64, 576)), make_frame("yuv444p", size=(64, 720))
    assert np.array_equal(
        rgb_roi(small, (0, 0, 64, 9)), rgb_roi(make_frame("yuv444p", size=(64, 576), matrix=6), (0, 0, 64, 9))
    )
    assert np.array_equal(
        rgb_roi(large, (0, 0, 64, 9)), rgb_roi(make_frame("yuv444p", size=(64, 720), matrix=1), (0, 0, 64, 9))
    )


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "rgb24"])
def test_a_region_is_cut_out_of_the_upright_picture(pix_fmt: str, orientation: tuple[int, bool]) -> None:
    turn, mirrored = orientation
    upright = np.rot90(rgb_roi(make_frame(pix_fmt), (0, 0, 70, 52)), -(turn // 90))
    upright = upright[:, ::-1] if mirrored else upright
    frame = make_frame(pix_fmt, turn=turn, mirrored=mirrored)
    assert np.array_equal(rgb_roi(frame, (5, 9, 43, 36)), upright[9:36, 5:43])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("pix_fmt", [*YUV, *RGB])
def test_nothing_changes_where_alpha_is_zero(pix_fmt: str, orientation: tuple[int, bool]) -> None:
    frame = make_frame(pix_fmt, turn=orientation[0], mirrored=orientation[1])
    before = [plane.copy() for plane in frame.planes]
    rng = np.random.default_rng(1)
    alpha = np.zeros((30, 40), np.float32)
    alpha[9:20, 11:27] = 0.7
    edited = put_roi(frame, (5, 6, 45, 36), rng.random((30, 40, 3), np.float32), alpha)
    shown = np.zeros((70, 52) if orientation[0] % 180 else (52, 70), bool)
    shown[6:36, 5:45] = alpha > 0
    native = np.rot90(shown[:, ::-1] if orientation[1] else shown, orientation[0] // 90)
    layout = LAYOUTS[pix_fmt]
    for number, (old, new, untouched) in enumerate(zip(before, edited.planes, frame.planes, strict=True)):
        assert np.array_equal(old, untouched), "the decoder's own planes were written to"
        outside = ~native
        if old.shape[:2] != native.shape:  # chroma: its footprint is a sample and half of its neighbours
            grown = np.pad(native, 1)
            grown = grown[1:-1, :-2] | grown[1:-1, 1:-1] | grown[1:-1, 2:]
            outside = ~grown.reshape(52 // layout.sub_y, layout.sub_y, 70 // layout.sub_x, layout.sub_x).any((1, 3))
        assert np.array_equal(old[outside], new[outside]), f"plane {number}"
        if number == 0:
            assert not np.array_equal(old, new)


@pytest.mark.parametrize("pix_fmt", [name for name in (*YUV, *RGB) if name != "gray"])
def test_opaque_colour_comes_back(pix_fmt: str) -> None:
    frame = make_frame(pix_fmt, matrix=1, range=1)
    rgb = np.broadcast_to(np.float32([0.62, 0.41, 0.33]), (30, 40, 3))
    edited = put_roi(frame, (8, 6, 48, 36), rgb, np.ones((30, 40), np.float32))
    inner = rgb_roi(edited, (12, 10, 44, 32)).astype(float)
    # Half a code value of Y, Cb and Cr, as large in RGB as the matrix makes it, and rounding.
    assert np.abs(inner - rgb[0, 0] * 255).max() <= 2.2


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv444p12le", "rgb24", "gbrp"])
def test_an_unchanged_region_stays_within_one_code_value(pix_fmt: str) -> None:
    frame = make_frame(pix_fmt, matrix=1)
    box = (3, 5, 60, 49)
    edited = put_roi(frame, box, rgb_roi(frame, box), np.ones((44, 57), np.float32))
    # 8-bit RGB holds 12-bit samples only to its own step: 16 of them, times what the matrix makes of half of it.
    tolerance = 1 if LAYOUTS[pix_fmt].bits == 8 else 12
    for old, new in zip(frame.planes, edited.planes, strict=True):
        assert np.abs(old.astype(int) - new.astype(int)).max() <= tolerance


def test_half_alpha_is_the_mean_of_old_and_new_luma() -> None:
    frame = make_frame("yuv420p", matrix=1, range=1)
    edited = put_roi(frame, (0, 0, 70, 52), np.ones((52, 70, 3), np.float32), np.full((52, 70), 0.5, np.float32))
    assert np.abs(edited.planes[0] - (frame.planes[0].astype(float) + 235) / 2).max() <= 0.5


def test_the_edited_frame_keeps_its_time_and_description() -> None:
    frame = make_frame("yuv420p", primaries=1, transfer=1, matrix=1, range=1)
    frame.native.colorspace, frame.native.color_range = 1, 1
    edited = put_roi(frame, (0, 0, 8, 8), np.zeros((8, 8, 3), np.float32), np.ones((8, 8), np.float32))
    assert (edited.index, edited.pts, edited.time_base, edited.color) == (0, 0, Fraction(1, 25), frame.color)
    assert (edited.native.colorspace, edited.native.color_range) == (1, 1)


def test_planes_of_a_frame_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        make_frame("yuv420p").planes[0][0, 0] = 1


@settings(max_examples=60, deadline=None)
@given(
    x0=st.integers(0, 68), y0=st.integers(0, 50), width=st.integers(1, 70), height=st.integers(1, 52),
    pix_fmt=st.sampled_from(["yuv420p", "yuv422p10le", "nv12"]), location=st.sampled_from([1, 2, 3, 4, 5, 6]),
)  # fmt: skip
def test_any_box_can_be_cut_and_put_back(
    x0: int, y0: int, width: int, height: int, pix_fmt: str, location: int
) -> None:
    box = (x0, y0, min(70, x0 + width), min(52, y0 + height))
    shape = (box[3] - box[1], box[2] - box[0])
    frame = make_frame(pix_fmt, chroma_location=location)
    rgb = rgb_roi(frame, box)
    assert rgb.shape == (*shape, 3)
    assert np.array_equal(rgb, rgb_roi(frame, (0, 0, 70, 52))[box[1] : box[3], box[0] : box[2]])
    unchanged = put_roi(frame, box, rgb, np.zeros(shape, np.float32))
    assert all(np.array_equal(old, new) for old, new in zip(frame.planes, unchanged.planes, strict=True))
    put_roi(frame, box, rgb, np.ones(shape, np.float32))


def test_a_made_frame_is_what_was_given() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)
    assert np.array_equal(rgb_roi(frame_from_rgb(rgb, 3, 7, Fraction(1, 30), 1), (0, 0, 47, 33)), rgb)

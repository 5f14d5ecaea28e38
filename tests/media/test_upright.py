"""Frames as pictures: upright, with depth and alpha; and what becomes of alpha where it cannot stay."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from facexcli.media.encoders import EncodeOptions, VideoFormat
from facexcli.media.frames import frame_from_rgb
from facexcli.media.image import read_picture, write_image
from facexcli.media.orient import oriented
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.upright import upright_pixels
from facexcli.media.writer import VideoWriter
from facexcli.types import Array, Frame
from tests.media.conftest import ClipMaker

TICK = Fraction(1, 25)


def pixels(channels: int = 3, dtype: type = np.uint8) -> Array:
    top = np.iinfo(dtype).max
    return np.random.default_rng(3).integers(0, top + 1, (24, 32, channels)).astype(dtype)


def framed(rgb: Array) -> Frame:
    return frame_from_rgb(rgb, 0, 0, TICK, 1)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("turn_deg", "mirrored"), [(0, False), (90, False), (180, True), (270, True)])
def test_packed_pixels_keep_their_very_values(channels: int, dtype: type, turn_deg: int, mirrored: bool) -> None:
    rgb = pixels(channels, dtype)
    found = upright_pixels(replace(framed(rgb), rotation_deg=turn_deg, mirrored=mirrored))
    assert found.dtype == dtype
    assert np.array_equal(found, oriented(rgb, turn_deg, mirrored))


@pytest.mark.parametrize(
    ("pix_fmt", "shape", "dtype"),
    [
        ("yuv420p", (48, 64, 3), np.uint8), ("yuv422p10le", (48, 64, 3), np.uint16), ("gray", (48, 64, 3), np.uint8),
        ("yuva444p10le", (48, 64, 4), np.uint16), ("yuva420p", (48, 64, 4), np.uint8), ("bgra", (48, 64, 4), np.uint8),
        ("bgr0", (48, 64, 3), np.uint8), ("gbrp10le", (48, 64, 3), np.uint16), ("gbrap12le", (48, 64, 4), np.uint16),
    ],
)  # fmt: skip
def test_depth_and_alpha_are_those_of_the_format(
    make_clip: ClipMaker, pix_fmt: str, shape: tuple[int, ...], dtype: type
) -> None:
    path = make_clip("a.mkv", pix_fmt=pix_fmt, pts=[0])
    with FrameReader(path, probe(path)) as reader:
        (frame,) = reader
    found = upright_pixels(frame)
    assert (found.shape, found.dtype) == (shape, dtype)
    if shape[2] == 4 and frame.pix_fmt != "bgra":
        bits = 8 if dtype == np.uint8 else int(pix_fmt[-4:-2])
        expected = frame.planes[3].astype(float) / ((1 << bits) - 1)
        assert np.abs(found[..., 3] / np.iinfo(dtype).max - expected).max() < 1e-4  # half a step of 16 bits


@pytest.mark.parametrize(
    ("suffix", "channels", "dtype"), [(".png", 4, np.uint16), (".png", 3, np.uint16), (".webp", 4, np.uint8)]
)
def test_pictures_keep_what_their_kind_can_hold(tmp_path: Path, suffix: str, channels: int, dtype: type) -> None:
    rgb = pixels(channels, dtype)
    write_image(tmp_path / f"a{suffix}", rgb, quality=100)
    found = read_picture(tmp_path / f"a{suffix}")
    assert (found.shape, found.dtype) == (rgb.shape, rgb.dtype)
    if suffix == ".png":
        assert np.array_equal(found, rgb)
    else:
        assert np.array_equal(found[..., 3], rgb[..., 3])


def test_jpeg_lays_clear_parts_on_white(tmp_path: Path) -> None:
    clear = np.zeros((16, 16, 4), np.uint16)
    write_image(tmp_path / "a.jpg", clear)
    assert read_picture(tmp_path / "a.jpg").min() > 250


def written(path: Path, rgb: Array, codec: str) -> tuple[Frame, list[str]]:
    frame = framed(rgb)
    with VideoWriter(path, VideoFormat(32, 24, frame.pix_fmt, TICK), EncodeOptions(codec, crf=0)) as writer:
        writer.write(frame)
        writer.write(replace(frame, index=1, pts=1))
    with FrameReader(path, probe(path)) as reader:
        return next(reader), writer.warnings


@pytest.mark.parametrize(
    ("name", "codec", "dtype", "exact"),
    [("a.mkv", "ffv1", np.uint8, True), ("a.mkv", "ffv1", np.uint16, True), ("a.mov", "prores", np.uint8, False),
     ("a.gif", "auto", np.uint8, False)],
)  # fmt: skip
def test_transparency_stays_where_the_codec_has_it(
    tmp_path: Path, name: str, codec: str, dtype: type, exact: bool
) -> None:
    rgb = pixels(4, dtype)
    rgb[:, :16, 3] = 0
    rgb[:, 16:, 3] = np.iinfo(dtype).max
    frame, warnings = written(tmp_path / name, rgb, codec)
    found = upright_pixels(frame)
    assert not any("transparency" in warning for warning in warnings)
    assert np.array_equal(found[..., 3] > 0, rgb[..., 3] > 0)
    assert not exact or np.array_equal(found, rgb)


def test_clear_parts_are_laid_on_white_and_told_where_the_codec_has_none(tmp_path: Path) -> None:
    rgb = np.zeros((24, 32, 4), np.uint8)
    rgb[:, 16:, 3] = 255
    frame, warnings = written(tmp_path / "a.mp4", rgb, "h264")
    found = upright_pixels(frame)
    assert found[:, :14].min() > 245
    assert found[:, 18:].max() < 10
    assert any("laid on white" in warning for warning in warnings)


def test_an_opaque_alpha_channel_is_not_worth_a_word(tmp_path: Path) -> None:
    rgb = pixels(4)
    rgb[..., 3] = 255
    _, warnings = written(tmp_path / "a.mp4", rgb, "h264")
    assert warnings == []


def test_pictures_become_lossless_video_without_loss(tmp_path: Path) -> None:
    frame, _ = written(tmp_path / "a.mkv", pixels(), "ffv1")
    assert np.array_equal(upright_pixels(frame), pixels())

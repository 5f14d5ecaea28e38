"""Crops straight out of the planes agree with crops of the converted region, however the picture is turned."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest

from facexcli.media.color import rgb_crop, rgb_roi
from facexcli.media.frames import frame_from_native, frame_from_rgb
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.types import Frame

SIZE_PX = 96
FORMATS = ("yuv420p", "yuv422p", "yuv444p", "nv12", "yuv420p10le", "gray", "rgb24", "gbrp")


@pytest.fixture(scope="module")
def picture(eval_data: Path) -> Frame:
    path = eval_data / "talking" / "grid_brbk7n.mpg"
    info = probe(path)
    with FrameReader(path, info) as reader:
        return next(reader)


def in_format(picture: Frame, pix_fmt: str, rotation_deg: int, mirrored: bool) -> Frame:
    height, width = picture.planes[0].shape
    rgb = frame_from_rgb(rgb_roi(picture, (0, 0, width, height)), 0, 0, Fraction(1, 25), 1)
    if pix_fmt != "rgb24":
        native = rgb.native.reformat(format=pix_fmt)
        info = replace(probe_of(rgb), rotation_deg=rotation_deg, mirrored=mirrored)
        return frame_from_native(native, 0, 0, Fraction(1, 25), 1, info, picture.color)
    return replace(rgb, rotation_deg=rotation_deg, mirrored=mirrored)


def probe_of(frame: Frame):  # type: ignore[no-untyped-def]
    from facexcli.types import MediaInfo

    return MediaInfo(Path("made"), "video", frame.native.width, frame.native.height)


@pytest.mark.parametrize(("pix_fmt", "turn"), [*product(FORMATS, [(0, False)]), *product(["yuv420p"], [
    (90, False), (180, False), (270, False), (0, True), (90, True), (180, True), (270, True)])])  # fmt: skip
def test_a_crop_of_the_planes_is_a_crop_of_the_picture(picture: Frame, pix_fmt: str, turn: tuple[int, bool]) -> None:
    frame = in_format(picture, pix_fmt, *turn)
    height, width = frame.native.height, frame.native.width
    shown = (height, width) if turn[0] % 180 else (width, height)
    angle, scale = np.radians(7), 0.7
    matrix = np.array(
        [
            [scale * np.cos(angle), -scale * np.sin(angle), -60.3],
            [scale * np.sin(angle), scale * np.cos(angle), -70.8],
            [0, 0, 1],
        ]
    )
    whole = rgb_roi(frame, (0, 0, *shown))
    expected = cv2.warpAffine(
        whole, matrix[:2], (SIZE_PX, SIZE_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    difference = np.abs(rgb_crop(frame, matrix, SIZE_PX).astype(int) - expected)
    # Chroma is interpolated once instead of twice, and positions are rounded to 1/32 pixel in another plane.
    assert difference.mean() < 1.0
    assert np.quantile(difference, 0.99) <= 6

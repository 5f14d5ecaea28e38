"""A whole swap, written losslessly: where no alpha reaches, every sample is the decoder's own."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

import facexcli
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.pipeline import painter
from facexcli.types import Array, Frame

FACELESS = 3
FACES = 3
FORMATS = ("yuv420p", "yuv420p10le", "yuv422p", "yuv422p10le", "yuv444p", "yuv444p10le")


def clip(path: Path, origin: Path, pix_fmt: str) -> Path:
    """Grey frames with a ramp, then a face, in the pixel format, lossless."""
    info = probe(origin)
    with av.open(str(path), "w") as container, FrameReader(origin, info, stop=FACES) as reader:
        stream = container.add_stream("ffv1", rate=25)
        width, height = info.width_px // 2, info.height_px // 2
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        ramp = np.tile(np.linspace(40, 200, width, dtype=np.uint8)[None, :, None], (height, 1, 3))
        natives = [av.VideoFrame.from_ndarray(np.ascontiguousarray(ramp), "rgb24") for _ in range(FACELESS)]
        for index, native in enumerate([*natives, *(frame.native for frame in reader)]):
            made = native.reformat(width, height, pix_fmt, interpolation="BICUBIC")
            made.pts, made.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(made))
        container.mux(stream.encode(None))
    return path


def frames_of(path: Path) -> list[Frame]:
    with FrameReader(path, probe(path)) as reader:
        return list(reader)


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_a_swap_changes_nothing_that_no_alpha_reaches(
    pix_fmt: str, eval_data: Path, portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = clip(tmp_path / "in.mkv", eval_data / "talking" / "grid_brbk7n.mpg", pix_fmt)
    laid: dict[int, tuple[Array, Array]] = {}

    def remember(frame: Frame, crop_from_frame: Array, rgb: Array, alpha: Array) -> Frame:
        laid[frame.index] = crop_from_frame, alpha.copy()
        return lay(frame, crop_from_frame, rgb, alpha)

    lay = painter.put_crop
    monkeypatch.setattr(painter, "put_crop", remember)
    settings = facexcli.resolve({"codec": "ffv1", "cache": 0})
    facexcli.swap(portrait, source, tmp_path / "out.mkv", settings=settings)
    assert sorted(laid) == [3, 4, 5]
    for before, after in zip(frames_of(source), frames_of(tmp_path / "out.mkv"), strict=True):
        assert (before.pix_fmt, before.pts) == (after.pix_fmt, after.pts) == (pix_fmt, before.pts)
        for old, new in zip(before.planes, after.planes, strict=True):
            changed = old != new
            if before.index not in laid:
                assert not changed.any(), "a frame without a face is passed on"
                continue
            reached = reach(*laid[before.index], before.planes[0].shape, old.shape)
            assert not (changed & ~reached).any()
            assert changed.mean() > 0.005, "and the face is there"
            assert reached.mean() < 0.4


def reach(crop_from_frame: Array, alpha: Array, size: tuple[int, ...], plane: tuple[int, ...]) -> Any:
    """Samples of a plane that alpha can reach: bool (h, w). A crop pixel is seen up to its neighbours' centres."""
    near = cv2.dilate((alpha > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    height, width = size[:2]
    inverse = np.linalg.inv(crop_from_frame)
    whole = cv2.warpPerspective(near, inverse, (width, height), flags=cv2.INTER_NEAREST)
    whole = cv2.dilate(whole, np.ones((3, 3), np.uint8))
    rows, columns = height // plane[0], width // plane[1]
    return whole.reshape(plane[0], rows, plane[1], columns).max(axis=(1, 3)) > 0


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le"])
def test_a_video_without_a_face_passes_bit_by_bit(
    pix_fmt: str, eval_data: Path, portrait: Path, blind: DlibAnalyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = clip(tmp_path / "in.mkv", eval_data / "talking" / "grid_brbk7n.mpg", pix_fmt)
    monkeypatch.setattr("facexcli.pipeline.models.choose_analyzer", lambda *_: (blind, "for the test"))
    settings = facexcli.resolve({"codec": "ffv1", "no_face": "pass", "cache": 0})
    facexcli.swap(portrait, source, tmp_path / "out.mkv", settings=settings)
    for before, after in zip(frames_of(source), frames_of(tmp_path / "out.mkv"), strict=True):
        assert before.pix_fmt == after.pix_fmt
        assert all(np.array_equal(old, new) for old, new in zip(before.planes, after.planes, strict=True))

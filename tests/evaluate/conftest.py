"""A short clip of a real face, one real swap of it, and spoilt copies of that swap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

import facexcli
from facexcli.evaluate.metrics.identity import IdentityJudge, Portrayal
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.fusion.mask import face_outline
from facexcli.media.frames import frame_from_rgb
from facexcli.media.scan import read_frames_rgb
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.types import Array

FRAMES = 12
RATE = Fraction(25)
WriteClip = Callable[..., Path]


@pytest.fixture(scope="session")
def write_clip(tmp_path_factory: pytest.TempPathFactory) -> WriteClip:
    """Writes pictures without loss; `pts` in 1/1000 s, else at 25 frames a second."""
    folder = tmp_path_factory.mktemp("made")

    def write(name: str, pictures: Sequence[Array], pts: Sequence[int] | None = None) -> Path:
        height, width = pictures[0].shape[:2]
        path = folder / f"{name}.mkv"
        video = VideoFormat(width, height, "rgb24", Fraction(1, 1000), RATE, is_vfr=pts is not None)
        with VideoWriter(path, video, EncodeOptions(codec="ffv1")) as writer:
            for index, rgb in enumerate(pictures):
                at = index * 40 if pts is None else pts[index]
                writer.write(frame_from_rgb(np.ascontiguousarray(rgb), index, at, Fraction(1, 1000), 40))
        return path

    return write


@dataclass(frozen=True)
class Swapped:
    """The same frames before and after a swap, as files and as uint8 (H, W, 3); `inside` (H, W, 1) is the face."""

    canvas: Path
    result: Path
    before: list[Array]
    after: list[Array]
    inside: list[Array]


@pytest.fixture(scope="session")
def swapped(
    eval_data: Path, portrait: Path, write_clip: WriteClip, tmp_path_factory: pytest.TempPathFactory
) -> Swapped:
    """A swap of a short clip, encoded as users do."""
    before = read_frames_rgb(eval_data / "talking" / "grid_brbk7n.mpg", range(20, 20 + FRAMES))
    canvas = write_clip("canvas", before)
    result = tmp_path_factory.mktemp("swap") / "swap.mp4"
    facexcli.swap([portrait], canvas, result, settings=facexcli.resolve({"codec": "h264"}))
    return Swapped(canvas, result, before, read_frames_rgb(result, range(FRAMES)), [_inside(rgb) for rgb in before])


def _inside(rgb: Array) -> Array:
    analyzer = DlibAnalyzer()
    landmarks = analyzer.landmarks(rgb, analyzer.detect(rgb)[0].box_px).landmarks_px
    mask = np.zeros(rgb.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(face_outline(landmarks)).astype(np.int32)], 1)
    return mask[..., None] > 0


@pytest.fixture
def cheap_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the network, which takes a tenth of a second a face: the face's colours, at a low resolution."""

    def portray(self: IdentityJudge, rgb: Array, landmarks_px: Array) -> Portrayal:
        (x0, y0), (x1, y1) = landmarks_px.min(axis=0).astype(int), landmarks_px.max(axis=0).astype(int)
        colours = cv2.resize(rgb[max(y0, 0) : y1, max(x0, 0) : x1], (6, 6), interpolation=cv2.INTER_AREA).ravel() / 16.0
        return Portrayal(colours, colours)

    monkeypatch.setattr(IdentityJudge, "portray", portray)


@dataclass(frozen=True)
class View:
    """A real face in a view. rgb: uint8 (VIEW_PX, VIEW_PX, 3)."""

    rgb: Array
    landmarks_px: Array


@pytest.fixture(scope="session")
def view() -> View:
    """The astronaut who comes with scikit-image."""
    from facexcli.affine import resample
    from facexcli.demo import find_photographs
    from facexcli.evaluate.metrics.view import VIEW_PX, window_of
    from facexcli.media.image import read_image

    rgb, analyzer = read_image(find_photographs().astronaut), DlibAnalyzer()
    window = window_of(analyzer.landmarks(rgb, analyzer.detect(rgb)[0].box_px).landmarks_px, 1.0)
    return View(resample(rgb, window.view_from_frame, (VIEW_PX, VIEW_PX), smooth=False), window.landmarks_px)

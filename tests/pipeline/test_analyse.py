"""What an analysis does with perception that fails, and with pictures that fade."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from facexcli.events import SilentReporter
from facexcli.faces.base import Fit
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.media.frames import frame_from_rgb
from facexcli.media.probe import probe
from facexcli.media.scan import read_frames_rgb
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.pipeline.analyse import analyse_media
from facexcli.pipeline.summary import summary
from facexcli.types import Array, Shot
from tests.heard import Heard

RATE = Fraction(25)


class _Failing(DlibAnalyzer):
    """Sure of itself, and wrong, in one frame."""

    def __init__(self, failure: int) -> None:
        super().__init__()
        self._left = failure

    def follow(self, rgb: Array, landmarks_px: Array) -> Fit:
        fit = super().follow(rgb, landmarks_px)
        self._left -= 1
        if self._left:
            return fit
        middle = fit.landmarks_px.mean(axis=0)
        wrong = middle + (fit.landmarks_px - middle) * np.array([1.3, 0.75], np.float32)
        return Fit(wrong, 0.001)


def test_repairs_are_marked_counted_and_told(talking_clip: Path) -> None:
    heard = Heard()
    info = probe(talking_clip)
    sound = analyse_media(info, DlibAnalyzer(), 0.0, SilentReporter(), "analyse")
    mended = analyse_media(info, _Failing(9), 0.0, heard, "analyse")
    (track,) = mended.tracks
    (wrong,) = (place for place, face in enumerate(track.faces) if face.repaired)
    assert mended.warnings == ("landmarks that could not be true were repaired from their neighbours: 1 of 16 faces",)
    assert heard.warned == [f"{talking_clip}: {mended.warnings[0]}"]
    assert summary(mended)["tracks"][0]["repaired"] == 1
    assert sound.warnings == ()
    expected, found = sound.tracks[0].faces[wrong], track.faces[wrong]
    assert np.abs(found.landmarks_px - expected.landmarks_px).mean() < 1
    assert found.yaw_deg == pytest.approx(expected.yaw_deg, abs=3)


def test_a_crossfade_between_two_people_is_a_change_of_shots(eval_data: Path, tmp_path: Path) -> None:
    clips = [read_frames_rgb(eval_data / "talking" / f"grid_{name}.mpg", range(36)) for name in ("brbk7n", "swiz3n")]
    path = tmp_path / "faded.mkv"
    video = VideoFormat(360, 288, "rgb24", 1 / RATE, RATE)
    with VideoWriter(path, video, EncodeOptions(codec="h264", crf=12)) as writer:
        for index, pair in enumerate(zip(*clips, strict=True)):
            share = float(np.clip((index - 10) / 12, 0, 1))
            mixed = cv2.addWeighted(pair[0], 1 - share, pair[1], share, 0)
            writer.write(frame_from_rgb(mixed, index, index, 1 / RATE, 1))
    analysis = analyse_media(probe(path), DlibAnalyzer(), 0.5, SilentReporter(), "analyse")
    middle = analysis.shots[1].start
    assert analysis.shots == (Shot(0, middle), Shot(middle, 36))
    assert abs(middle - 16) <= 2
    assert [(track.shot, track.frame_indices) for track in analysis.tracks] == [
        (0, range(middle)),
        (1, range(middle, 36)),
    ]

"""What an analysis does with perception that fails, and with pictures that fade."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from facexcli import tracks
from facexcli.events import SilentReporter
from facexcli.faces.base import Fit
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.history import History, Observation
from facexcli.faces.shape import MEAN_SHAPE
from facexcli.faces.tracklet import Tracklet
from facexcli.media.frames import frame_from_rgb
from facexcli.media.probe import probe
from facexcli.media.scan import read_frames_rgb
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.pipeline import packing
from facexcli.pipeline.analyse import _finished, analyse_media
from facexcli.pipeline.analysis_io import load_analysis, save_analysis
from facexcli.pipeline.summary import summary
from facexcli.types import Analysis, Array, Faces, Shot, Track
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


class _Tracker:
    """A tracker that has followed one trembling face."""

    def __init__(self, frames: int) -> None:
        chance = np.random.default_rng(5)
        history = History(
            Observation(index, (MEAN_SHAPE * 120 + chance.normal(90, 0.2, (68, 2))).astype(np.float32), 0.01)
            for index in range(frames)
        )
        self._tracklet: Tracklet | None = Tracklet(0, 0, history[-1].landmarks_px, history)

    def finish(self) -> list[Track]:
        ended, self._tracklet = self._tracklet, None
        assert ended is not None
        return [ended.to_track(0, 10, 1.0)]


def _peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_face_takes_less_than_a_kilobyte(talking_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first look to the finished analysis; a part of a track takes more, but tracks have many."""
    monkeypatch.setattr(tracks, "_AT_ONCE", 16)
    info = probe(talking_clip)

    def peak(frames: int) -> int:
        return _peak_bytes(lambda: _finished(_Tracker(frames), info, 0.5))  # type: ignore[arg-type]

    assert (peak(220) - peak(60)) / 160 < 1000


def test_reading_and_writing_hold_nothing_twice(
    talking_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_BLOCK", 1 << 12)
    info, path = probe(talking_clip), tmp_path / "faces.json"
    peaks = []
    for frames in (500, 2500):
        points = (MEAN_SHAPE * 120 + np.random.default_rng(5).normal(9, 1, (frames, 68, 2))).astype(np.float32)
        faces = Faces.at(np.tile([9.0, 9, 130, 130], (frames, 1)), points)
        known = Analysis(info, frames, (Shot(0, frames),), (Track(0, 0, range(frames), faces),), "dlib")
        written = _peak_bytes(lambda: save_analysis(known, path))  # noqa: B023
        peaks.append((written, _peak_bytes(lambda: load_analysis(path, talking_clip))))
    written, read = np.subtract(peaks[1], peaks[0]) / 2000
    assert written < 60
    assert read < 700, "610 bytes are what stays"

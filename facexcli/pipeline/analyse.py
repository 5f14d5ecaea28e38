"""Analyse once: who is where, frame by frame, with looking ahead. Rendering never looks for a face again."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from facexcli.events import StageAdvanced, StageFinished, StageStarted, Warned
from facexcli.faces.shots import ShotDetector
from facexcli.faces.smooth import smooth_track
from facexcli.faces.source import find_faces
from facexcli.faces.track import FaceTracker
from facexcli.geometry.model3d import fit_poses
from facexcli.media.image import read_image
from facexcli.media.scan import AnalysisReader
from facexcli.types import Analysis, Motion, Shot, Track

if TYPE_CHECKING:
    from fractions import Fraction

    from facexcli.events import Reporter, StageName
    from facexcli.faces.base import Analyzer
    from facexcli.types import MediaInfo

ANALYSIS_SIDE_PX = 640
"""Longer side of the frames in which faces are looked for: enough for a face of a twelfth of the height."""
_REPORT_EVERY_S = 0.2


def analyse_media(info: MediaInfo, analyzer: Analyzer, smooth: float, reporter: Reporter, stage: StageName) -> Analysis:
    """Find every face of an image or a video, track it, smooth it and fit its pose.

    `smooth` in 0..1 is the steadiness asked for. Raises InputError for a file that cannot be decoded.
    """
    if info.kind == "image":
        return _analyse_still(info, analyzer)
    return _analyse_video(info, analyzer, smooth, reporter, stage)


def motion_of(track: Track, sample_aspect_ratio: Fraction) -> Motion:
    """The landmarks of a track in square pixels."""
    landmarks = np.stack([face.landmarks_px for face in track.faces]).astype(np.float32)
    landmarks[..., 0] *= float(sample_aspect_ratio)
    return Motion(np.array(track.frame_indices, np.int64), landmarks)


def with_poses(track: Track, sample_aspect_ratio: Fraction) -> Track:
    """The track with yaw, pitch and roll fitted to each face."""
    poses = fit_poses(motion_of(track, sample_aspect_ratio).landmarks_px)
    faces = tuple(
        replace(face, yaw_deg=pose.yaw_deg, pitch_deg=pose.pitch_deg, roll_deg=pose.roll_deg)
        for face, pose in zip(track.faces, poses, strict=True)
    )
    return replace(track, faces=faces)


def _analyse_still(info: MediaInfo, analyzer: Analyzer) -> Analysis:
    rgb = read_image(info.path)
    tracks = []
    for number, face in enumerate(find_faces(rgb, analyzer)):
        tracks.append(with_poses(Track(number, 0, (0,), (face,), face.embedding), info.sample_aspect_ratio))
    return Analysis(info, 1, (Shot(0, 1),), tuple(tracks), analyzer.name)


def _analyse_video(
    info: MediaInfo, analyzer: Analyzer, smooth: float, reporter: Reporter, stage: StageName
) -> Analysis:
    rate = info.frame_rate or 25
    tracker = FaceTracker(analyzer, frame_rate=rate)
    cuts = ShotDetector(rate)
    progress = StageProgress(reporter, stage, info.frame_count_from_header)
    borders = [0]
    count = 0
    with AnalysisReader(info.path, info, max_side_px=ANALYSIS_SIDE_PX) as reader:
        for index, _pts, rgb, scale in reader:
            is_cut = cuts.feed(index, rgb)
            if is_cut:
                borders.append(index)
            tracker.feed(index, rgb, scale, is_cut)
            count = index + 1
            progress.advance()
        warnings = tuple(reader.warnings)
    for warning in warnings:
        reporter.emit(Warned(f"{info.path}: {warning}"))
    tracks = (smooth_track(track, rate, smooth) for track in tracker.finish())
    result = Analysis(
        media=info,
        frame_count=count,
        shots=tuple(Shot(start, stop) for start, stop in zip(borders, [*borders[1:], count], strict=True)),
        tracks=tuple(with_poses(track, info.sample_aspect_ratio) for track in tracks),
        analyzer=analyzer.name,
        warnings=warnings,
    )
    progress.finish()
    return result


class StageProgress:
    """Counts one stage and tells a reporter, a few times a second."""

    def __init__(self, reporter: Reporter, stage: StageName, total: int | None) -> None:
        self._reporter, self._stage = reporter, stage
        self._start = self._last = time.monotonic()
        self.done = 0
        reporter.emit(StageStarted(stage, total))

    def advance(self) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self._last >= _REPORT_EVERY_S:
            self._last = now
            self._reporter.emit(StageAdvanced(self._stage, self.done, self.done / (now - self._start)))

    def finish(self) -> None:
        self._reporter.emit(StageFinished(self._stage, self.done, time.monotonic() - self._start))

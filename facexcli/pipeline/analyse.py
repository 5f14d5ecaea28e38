"""Analyse once: who is where, frame by frame, with looking ahead. Rendering never looks for a face again."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from facexcli.errors import InputError
from facexcli.events import StageAdvanced, StageFinished, StageStarted, Warned
from facexcli.faces.repair import repair_track
from facexcli.faces.smooth import smooth_track
from facexcli.faces.source import find_faces
from facexcli.geometry.model3d import fit_poses, reprojection_error
from facexcli.media.image import read_image
from facexcli.media.scan import AnalysisReader
from facexcli.tracks import in_parts
from facexcli.types import Analysis, Faces, Motion, Shot, Track

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.events import Reporter, StageName
    from facexcli.faces.base import Analyzer
    from facexcli.faces.track import FaceTracker
    from facexcli.media.reader import Position
    from facexcli.types import Array, MediaInfo

ANALYSIS_SIDE_PX = 640
"""Longer side of the frames in which faces are looked for: enough for a face of a twelfth of the height."""
_REPORT_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class FrameRange:
    """The part of a video that is analysed; positions as `FrameReader` takes them, None for its ends."""

    start: Position | None = None
    stop: Position | None = None


WHOLE = FrameRange()


def analyse_media(
    info: MediaInfo,
    analyzer: Analyzer,
    smooth: float,
    reporter: Reporter,
    stage: StageName,
    part: FrameRange = WHOLE,
) -> Analysis:
    """Find every face of an image or a video, track it, smooth it and fit its pose.

    `smooth` in 0..1 is the steadiness asked for. Frame indices are those of the whole file, whatever the part. Raises
    InputError for a file that cannot be decoded.
    """
    if info.kind == "image":
        return _analyse_still(info, analyzer)
    return _analyse_video(info, analyzer, smooth, reporter, stage, part)


def motion_of(track: Track, info: MediaInfo) -> Motion:
    """The landmarks of a track of this file, in square pixels."""
    return Motion(np.array(track.frame_indices, np.int64), _square_px(track.faces.landmarks_px, info))


def with_poses(track: Track, info: MediaInfo) -> Track:
    """The track with yaw, pitch and roll fitted to each face."""
    faces = track.faces
    angles = np.empty((3, len(faces)))
    for part in in_parts(len(faces)):
        poses = fit_poses(_square_px(faces.landmarks_px[part], info))
        angles[:, part] = [[getattr(pose, name) for pose in poses] for name in ("yaw_deg", "pitch_deg", "roll_deg")]
    yaw, pitch, roll = angles
    return replace(track, faces=replace(faces, yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll))


def _square_px(landmarks_px: Array, info: MediaInfo) -> Array:
    """Landmarks float32 (T, 68, 2) of frame pixels in square ones; the same where the frame's are square."""
    if info.display_aspect_ratio == 1:
        return landmarks_px
    square_px = landmarks_px.copy()
    square_px[..., 0] *= float(info.display_aspect_ratio)
    return square_px


def _analyse_still(info: MediaInfo, analyzer: Analyzer) -> Analysis:
    rgb = read_image(info.path)
    tracks = []
    for number, face in enumerate(find_faces(rgb, analyzer)):
        tracks.append(with_poses(Track(number, 0, (0,), Faces.of([face]), face.embedding), info))
    return Analysis(info, 1, (Shot(0, 1),), tuple(tracks), analyzer.name)


def _analyse_video(
    info: MediaInfo,
    analyzer: Analyzer,
    smooth: float,
    reporter: Reporter,
    stage: StageName,
    part: FrameRange,
) -> Analysis:
    # What only videos need takes as long to import as a still takes to analyse.
    from facexcli.faces.dissolve import DissolveDetector
    from facexcli.faces.shots import ShotDetector
    from facexcli.faces.track import FaceTracker

    rate = info.frame_rate or 25
    tracker = FaceTracker(analyzer, frame_rate=rate)
    cuts, dissolves = ShotDetector(rate), DissolveDetector(rate)
    progress = StageProgress(reporter, stage, frame_total(info, part))
    starts: list[int] = []
    end = 0
    with AnalysisReader(info.path, info, max_side_px=ANALYSIS_SIDE_PX, start=part.start, stop=part.stop) as reader:
        for index, _pts, rgb, scale in reader:
            is_cut = cuts.feed(index, rgb)
            if is_cut or not starts:
                starts.append(index)
            tracker.feed(index, rgb, scale, is_cut)
            crossfade = dissolves.feed(index, rgb, is_cut)
            middle = tracker.dissolved(*crossfade) if crossfade else None
            if middle is not None:
                starts.append(middle)
            end = index + 1
            progress.advance()
        warnings = tuple(reader.warnings)
    for warning in warnings:
        reporter.emit(Warned(f"{info.path}: {warning}"))
    if not starts:
        raise InputError(
            f"{info.path}: there is no frame in the chosen range", "--trim START..END, as `facex swap --help` says"
        )
    tracks = _finished(tracker, info, smooth)
    repairs = _told_repairs(tracks)
    for repair in repairs:
        reporter.emit(Warned(f"{info.path}: {repair}"))
    result = Analysis(
        media=info,
        frame_count=end - starts[0],
        shots=tuple(Shot(start, stop) for start, stop in zip(starts, [*starts[1:], end], strict=True)),
        tracks=tracks,
        analyzer=analyzer.name,
        warnings=warnings + repairs,
    )
    progress.finish()
    return result


def _finished(tracker: FaceTracker, info: MediaInfo, smooth: float) -> tuple[Track, ...]:
    """The tracks repaired, smoothed and with poses. They take over the memory of the tracker, which has to end."""
    rate = info.frame_rate or 25
    tracks = tracker.finish()
    for number, track in enumerate(tracks):
        sound = repair_track(track, rate, lambda faces: _misfits(faces, info), reuse=True)
        tracks[number] = with_poses(smooth_track(sound, rate, smooth, reuse=True), info)
    return tuple(tracks)


def _misfits(landmarks_px: Array, info: MediaInfo) -> Array:
    """How badly landmarks (T, 68, 2) fit a posed mean face: float64 (T,), in outer-eye-corner distances."""
    square_px = landmarks_px * (float(info.display_aspect_ratio), 1.0)
    poses = fit_poses(square_px)
    return np.array([reprojection_error(points, pose) for points, pose in zip(square_px, poses, strict=True)])


def _told_repairs(tracks: Sequence[Track]) -> tuple[str, ...]:
    repaired = sum(int(track.faces.repaired.sum()) for track in tracks)
    total = sum(len(track.faces) for track in tracks)
    if not repaired:
        return ()
    return (f"landmarks that could not be true were repaired from their neighbours: {repaired} of {total} faces",)


def frame_total(info: MediaInfo, part: FrameRange) -> int | None:
    """How many frames a part has, as far as the header tells."""
    total = info.frame_count_from_header
    rate = info.frame_rate or Fraction(25)
    start, stop = (round(place * rate) if isinstance(place, Fraction) else place for place in (part.start, part.stop))
    if stop is not None:
        total = min(stop, total) if total else stop
    return max(0, total - (start or 0)) if total else None


class StageProgress:
    """Counts one stage and tells a reporter, a few times a second."""

    def __init__(self, reporter: Reporter, stage: StageName, total: int | None, unit: str = "frames") -> None:
        self._reporter, self._stage = reporter, stage
        self._start = self._last = time.monotonic()
        self.done = 0
        self._skipped = 0
        reporter.emit(StageStarted(stage, total, unit))

    def advance(self, count: int = 1) -> None:
        """`count` more are done, or fewer where it is negative: their worker died."""
        self.done += count
        now = time.monotonic()
        if now - self._last >= _REPORT_EVERY_S:
            self._tell(now)

    def skip(self, count: int) -> None:
        """`count` were done before: they say nothing of the speed."""
        self.done += count
        self._skipped += count
        self._tell(time.monotonic())

    def _tell(self, now: float) -> None:
        self._last = now
        rate = (self.done - self._skipped) / max(now - self._start, 1e-3)
        self._reporter.emit(StageAdvanced(self._stage, self.done, max(0.0, rate)))

    def finish(self) -> None:
        self._reporter.emit(StageFinished(self._stage, self.done, time.monotonic() - self._start))

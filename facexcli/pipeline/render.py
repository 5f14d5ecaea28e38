"""Render many: frames through the painter into the encoder, with a bounded number of them on the way."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from facexcli.media.frames import frame_from_rgb
from facexcli.media.image import read_image
from facexcli.media.reader import FrameReader
from facexcli.pipeline.painter import CanvasFace, CropShape, Job, Painted, Painter
from facexcli.pipeline.parallel import StageClock, ordered_map

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from facexcli.pipeline.people import Identities
    from facexcli.types import Face, Frame, MediaInfo, Track

WORKERS = 2
"""Threads that paint: enough to hide the Python parts of one behind the OpenCV parts of the other."""
WINDOW = 4
"""Frames between decoder and encoder, whatever the length of the video."""


class FrameSink(Protocol):
    """Takes finished frames in order."""

    def write(self, frame: Frame) -> None: ...


@dataclass(frozen=True, slots=True)
class RenderCounts:
    """frames: written. painted: frames with at least one painted face. per_track: painted frames by track id."""

    frames: int
    painted: int
    per_track: Mapping[int, int]
    doubts: Mapping[str, int]


def swap_jobs(frames: Iterator[Frame], tracks: Sequence[Track], identities: Identities) -> Iterator[Job]:
    """Each frame of the canvas with the faces of `tracks` in it."""
    at = faces_by_frame(tracks)
    for frame in frames:
        faces = at.get(frame.index, ())
        yield Job(frame, [CanvasFace(track.id, face, identities[track.id]) for track, face in faces])


@dataclass(frozen=True, slots=True)
class Driving:
    """The faces that move, and how to cut them out of their video."""

    tracks: Sequence[Track]
    shape: CropShape
    identities: Identities


def reenact_jobs(
    canvas_frames: Iterator[Frame], canvas_tracks: Sequence[Track], driving_frames: Iterator[Frame], driving: Driving
) -> Iterator[Job]:
    """The canvas's picture on the driving video's time, with the driving face as provider of the motion.

    A driving frame without a face leaves the canvas as it is. The result ends with the shorter of the two.
    """
    canvas_at, driving_at = faces_by_frame(canvas_tracks), faces_by_frame(driving.tracks)
    for frame, picture in zip(driving_frames, canvas_frames, strict=False):
        canvas = replace(picture, index=frame.index, pts=frame.pts, time_base=frame.time_base, duration=frame.duration)
        movers = driving_at.get(frame.index, ())[-1:]
        faces = []
        for mover, face in movers:
            crop, _ = driving.shape.cut(frame, face, mover.id)
            providers = dict.fromkeys(("pose", "expression", "gaze"), crop)
            for track, canvas_face in canvas_at.get(picture.index, ()):
                faces.append(CanvasFace(track.id, canvas_face, driving.identities[mover.id], providers))
        yield Job(canvas, faces)


def canvas_stream(info: MediaInfo) -> Generator[Frame]:
    """A still, over and over; or the frames of a video, once."""
    if info.kind == "image":
        still = frame_from_rgb(read_image(info.path), 0, 0, info.time_base, 1)
        while True:
            yield still
    with FrameReader(info.path, info) as reader:
        yield from reader


def faces_by_frame(tracks: Sequence[Track]) -> dict[int, list[tuple[Track, Face]]]:
    """Which faces each frame has, far ones first, so that near ones are painted over them."""
    frames: dict[int, list[tuple[Track, Face]]] = {}
    for track in tracks:
        for index, face in zip(track.frame_indices, track.faces, strict=True):
            frames.setdefault(index, []).append((track, face))
    for faces in frames.values():
        faces.sort(key=lambda item: item[1].box_px[3] - item[1].box_px[1])
    return frames


def render(
    jobs: Iterator[Job], painter: Painter, sink: FrameSink, progress: Progress, clock: StageClock
) -> RenderCounts:
    """Paint and write every job, in order. Errors of any thread come out here."""
    frames = painted = 0
    per_track: Counter[int] = Counter()
    doubts: Counter[str] = Counter()
    with closing(ordered_map(painter.paint, clock.timed("decode", jobs), WORKERS, WINDOW)) as results:
        for result in results:
            _write(result, sink, clock)
            frames += 1
            painted += bool(result.track_ids)
            per_track.update(result.track_ids)
            doubts.update(result.warnings)
            progress.advance()
    progress.finish()
    return RenderCounts(frames, painted, dict(per_track), dict(doubts))


def _write(result: Painted, sink: FrameSink, clock: StageClock) -> None:
    with clock.measure("encode"):
        sink.write(result.frame)


class Progress(Protocol):
    """Counts finished frames."""

    def advance(self) -> None: ...
    def finish(self) -> None: ...

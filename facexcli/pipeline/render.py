"""Render many: frames through the painter into the encoder, with a bounded number of them on the way."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from facexcli.media.frames import frame_from_rgb
from facexcli.media.image import read_image
from facexcli.media.reader import FrameReader
from facexcli.memory import give_back_large_blocks
from facexcli.pipeline.painter import CanvasFace, CropShape, Job, Mover, Painted, Painter
from facexcli.pipeline.parallel import StageClock, ordered_map
from facexcli.pipeline.placing import FacesByFrame, PlacedFace

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from facexcli.pipeline.people import Identities
    from facexcli.types import Crop, Frame, MediaInfo

_AHEAD = 2
"""Batches of frames between decoder and encoder besides those that are being painted, whatever the video's length."""


class FrameSink(Protocol):
    """Takes finished frames in order."""

    def write(self, frame: Frame) -> None: ...


@dataclass(frozen=True, slots=True)
class RenderCounts:
    """frames: written. painted: frames with at least one painted face. per_track: painted frames by track id.

    doubts: how often the engine said what. span: the indices of the frames, from the first to the last.
    """

    frames: int
    painted: int
    per_track: Mapping[int, int]
    doubts: Mapping[str, int]
    span: range = range(0)


@dataclass(frozen=True, slots=True)
class QueryVideo:
    """A video that provides `attributes` of an edit: the nearest face of each of its frames."""

    info: MediaInfo
    faces: FacesByFrame
    shape: CropShape
    attributes: tuple[str, ...]

    def movers(self, first: int = 0, *, loop: bool = False) -> Generator[Mover]:
        """One for each frame from `first` on, the last known face where none is found. Has to be closed.

        With `loop` the video begins again when it has ended.
        """
        known: Mover | None = None
        early = 0
        while True:
            with FrameReader(self.info.path, self.info) as reader:
                for frame in reader:
                    if frame.index < first:
                        continue
                    for placed in self.faces.get(frame.index, ())[-1:]:
                        known = Mover(frame, placed, self.shape, self.attributes)
                    if known is None:
                        early += 1  # its first face stands for the frames before it
                        continue
                    for _ in range(early + 1):
                        yield known
                    early = 0
            if not loop or known is None:
                return


def swap_jobs(
    frames: Iterator[Frame],
    faces: FacesByFrame,
    identities: Identities,
    queries: Mapping[str, Crop],
    videos: Sequence[QueryVideo] = (),
    *,
    loop: bool = False,
) -> Iterator[Job]:
    """Each frame of the canvas with its faces; the frames of `videos` go by with them, from the first one on.

    The result ends with the shortest, or with `loop` with the canvas.
    """
    with ExitStack() as stack:
        streams = [stack.enter_context(closing(video.movers(loop=loop))) for video in videos]
        for frame, *movers in zip(frames, *streams, strict=False):
            here = faces.get(frame.index, ())
            yield Job(
                frame, [CanvasFace(placed, identities[placed.track_id], tuple(movers), queries) for placed in here]
            )


def still_jobs(
    timeline: Iterator[Frame],
    still: MediaInfo,
    faces: Sequence[PlacedFace],
    identities: Identities,
    queries: Mapping[str, Crop],
    videos: Sequence[QueryVideo],
    *,
    loop: bool = False,
) -> Iterator[Job]:
    """A still with its faces, over and over at the times of `timeline`, whose video is the first of `videos`."""
    first = next(timeline, None)
    if first is None:
        return
    starts = [first.index, *[0] * (len(videos) - 1)]
    with ExitStack() as stack:
        pictures = stack.enter_context(closing(canvas_stream(still)))
        streams = [
            stack.enter_context(closing(video.movers(start, loop=loop and place > 0)))
            for place, (video, start) in enumerate(zip(videos, starts, strict=True))
        ]
        for frame, picture, *movers in zip(chain((first,), timeline), pictures, *streams, strict=False):
            canvas = at_time_of(picture, frame)
            yield Job(
                canvas, [CanvasFace(placed, identities[placed.track_id], tuple(movers), queries) for placed in faces]
            )


def at_time_of(picture: Frame, frame: Frame) -> Frame:
    """A picture with the index and the time of another video's frame."""
    return replace(picture, index=frame.index, pts=frame.pts, time_base=frame.time_base, duration=frame.duration)


@dataclass(frozen=True, slots=True)
class Driving:
    """The faces that move, and how to cut them out of their video."""

    faces: FacesByFrame
    shape: CropShape
    identities: Identities
    attributes: tuple[str, ...]


def reenact_jobs(
    canvas_frames: Iterator[Frame], canvas_faces: FacesByFrame, driving_frames: Iterator[Frame], driving: Driving
) -> Iterator[Job]:
    """The canvas's picture on the driving video's time, with the nearest driving face as provider of the motion.

    A driving frame without a face leaves the canvas as it is. The result ends with the shorter of the two.
    """
    for frame, picture in zip(driving_frames, canvas_frames, strict=False):
        canvas = at_time_of(picture, frame)
        faces = [
            CanvasFace(
                placed, driving.identities[mover.track_id], (Mover(frame, mover, driving.shape, driving.attributes),)
            )
            for mover in driving.faces.get(frame.index, ())[-1:]
            for placed in canvas_faces.get(picture.index, ())
        ]
        yield Job(canvas, faces)


def canvas_stream(info: MediaInfo) -> Generator[Frame]:
    """A still, over and over; or the frames of a video, once."""
    if info.kind == "image":
        still = frame_from_rgb(read_image(info.path), 0, 0, info.time_base, 1)
        while True:
            yield still
    with FrameReader(info.path, info) as reader:
        yield from reader


def render(
    jobs: Iterator[Job], painter: Painter, sink: FrameSink, progress: Progress, clock: StageClock
) -> RenderCounts:
    """Paint and write every job, in order. Errors of any thread come out here."""
    give_back_large_blocks()
    frames = painted = 0
    per_track: Counter[int] = Counter()
    doubts: Counter[str] = Counter()
    span = range(0)
    clock.mark(0)
    batches = painter.batches(clock.timed("decode", jobs))
    with closing(ordered_map(painter.paint, batches, painter.workers, painter.workers + _AHEAD)) as results:
        for result in chain.from_iterable(results):
            _write(result, sink, clock)
            index = result.frame.index
            span = range(span.start if frames else index, index + 1)
            frames += 1
            clock.mark(frames)
            painted += bool(result.track_ids)
            per_track.update(result.track_ids)
            doubts.update(result.warnings)
            progress.advance()
    progress.finish()
    return RenderCounts(frames, painted, dict(per_track), dict(doubts), span)


def _write(result: Painted, sink: FrameSink, clock: StageClock) -> None:
    with clock.measure("encode"):
        sink.write(result.frame)


class Progress(Protocol):
    """Counts finished frames."""

    def advance(self) -> None: ...
    def finish(self) -> None: ...

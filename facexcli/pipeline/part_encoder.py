"""Renders parts of a video into files of packets, with one decoder for those that follow each other."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Self

from facexcli.events import Informed
from facexcli.media.reader import SEEK_FROM_FRAME, FrameReader
from facexcli.media.table import frame_table
from facexcli.pipeline.render import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from facexcli.events import Reporter
    from facexcli.media.reader import Position
    from facexcli.media.table import FrameTable
    from facexcli.media.writer import VideoWriter
    from facexcli.pipeline.analyse import StageProgress
    from facexcli.pipeline.painter import Painter
    from facexcli.pipeline.parallel import StageClock
    from facexcli.pipeline.parts import MakeJobs, Segment
    from facexcli.pipeline.render import FrameSink, Progress, RenderCounts
    from facexcli.types import Frame, MediaInfo


class OfAllParts:
    """Progress over all parts: the end of one is not the end of the stage."""

    def __init__(self, progress: StageProgress) -> None:
        self._progress = progress

    def advance(self) -> None:
        """See `render.Progress`."""
        self._progress.advance()

    def finish(self) -> None:
        """Of a part."""


class PartEncoder:
    """A context manager; `encode` renders a segment.

    A segment that follows the last one goes on with its decoder. Any other is sought by the table of the file's frames,
    which is read once; in a file that has none, all before it is decoded anew.

    Args:
        stop: the end of the range that is rendered, as `FrameReader` takes it.
        open_writer: makes the encoder of a file of packets.
        label: puts the visible label before an encoder.
        warn: hears what decoder and encoder say.
    """

    def __init__(
        self,
        timeline: MediaInfo,
        stop: Position | None,
        open_writer: Callable[[Path], VideoWriter],
        label: Callable[[VideoWriter], FrameSink],
        make_jobs: MakeJobs,
        painter: Painter,
        progress: Progress,
        clock: StageClock,
        reporter: Reporter,
        warn: Callable[[list[str]], None],
    ) -> None:
        self._timeline, self._stop = timeline, stop
        self._open_writer, self._label, self._make_jobs = open_writer, label, make_jobs
        self._painter, self._progress, self._clock = painter, progress, clock
        self._reporter, self._warn = reporter, warn
        self._reader: FrameReader | None = None
        self._next: int | None = None
        """Where the decoder stands; None where it has to be opened."""
        self._ahead: Frame | None = None
        """A frame that was decoded, and belongs to the next segment."""
        self._table: FrameTable | None = None
        self._asked_for_table = False

    def encode(self, segment: Segment, path: Path) -> RenderCounts:
        """Render the segment into `path`; there is no file where it has no frame. Raises as decoder and encoder do."""
        with self._open_writer(path) as writer:
            jobs = self._make_jobs(self._frames(segment))
            counts = render(jobs, self._painter, self._label(writer), self._progress, self._clock)
            if counts.frames:
                writer.commit()
            else:  # behind the end of the range
                writer.close()
            self._warn(writer.warnings)
        return counts

    def _frames(self, segment: Segment) -> Iterator[Frame]:
        reader = self._reader_at(segment.start)
        self._next = None  # unknown, until the segment is complete
        frame, self._ahead = self._ahead or next(reader, None), None
        while frame is not None and self._is_in_range(frame):
            if segment.stop is not None and frame.index >= segment.stop:
                self._ahead = frame
                break
            yield frame
            frame = next(reader, None)
        self._next = segment.stop

    def _reader_at(self, start: int) -> FrameReader:
        if self._reader is not None and self._next == start:
            return self._reader
        self.close()
        info = self._timeline
        self._reader = FrameReader(info.path, info, start=start, table=self._table_for(start))
        return self._reader

    def _table_for(self, start: int) -> FrameTable | None:
        info = self._timeline
        if not self._asked_for_table and start and info.kind == "video":
            self._asked_for_table = True
            self._table = frame_table(info.path, info)
            if self._table is None and start > SEEK_FROM_FRAME:
                said = "a frame of this kind of file is found by decoding all before it"
                self._reporter.emit(Informed(f"{info.path.name}: {said}: --workers and going on take longer"))
        return self._table

    def _is_in_range(self, frame: Frame) -> bool:
        if not isinstance(self._stop, Fraction):
            return self._stop is None or frame.index < self._stop
        return frame.time_s - self._timeline.start_pts * self._timeline.time_base < self._stop

    def close(self) -> None:
        """Stop decoding. Calling it twice is allowed."""
        reader, self._reader = self._reader, None
        self._next = self._ahead = None
        if reader is not None:
            reader.close()
            self._warn(reader.warnings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

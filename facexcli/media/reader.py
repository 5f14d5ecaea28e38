"""Frames of a video, in order, as the decoder made them."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from itertools import chain, dropwhile
from math import ceil
from typing import TYPE_CHECKING, Any

import av
from av.codec.context import ThreadType

from facexcli.errors import InputError
from facexcli.media.clock import Clock
from facexcli.media.container import av_reason, limit_pictures, open_input, packets_of
from facexcli.media.frames import frame_color, frame_from_native, frame_from_rgb, frames_ahead
from facexcli.media.image import read_picture
from facexcli.media.pixels import editable_format
from facexcli.media.prefetch import Prefetch
from facexcli.media.sequence import sequence_frames
from facexcli.media.table import FrameTable, frame_table
from facexcli.media.webp import webp_frames
from facexcli.types import Frame

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from facexcli.types import MediaInfo

Position = int | Fraction
"""A place in a video: an int is a frame index, a Fraction seconds after the first frame."""

SEEK_FROM_FRAME = 250
"""Nearer starts are reached by decoding, unless the packets' table is at hand: that is as fast as reading it."""

STILL_DURATION = 40
"""How long a still image lasts as a one-frame stream, in its time base of 1/1000 s."""


class FrameReader(Prefetch[Frame]):
    """Iterates over the `Frame`s of `path` in display order; a context manager. A thread decodes some of them ahead.

    `start` (inclusive) and `stop` (exclusive) cut a range; `Frame.index` counts from the first frame of the file, so
    that it means the same with and without a range. With the file's `table` near starts are sought too. Missing,
    repeated and backward time stamps are put in order. Damaged packets are skipped. Both are told in `warnings`, which
    is complete when the iteration ended, or the reader is closed.

    Raises InputError where nothing can be decoded or where the picture changes its size.
    """

    def __init__(
        self,
        path: Path,
        info: MediaInfo,
        *,
        start: Position | None = None,
        stop: Position | None = None,
        table: FrameTable | None = None,
    ) -> None:
        super().__init__(
            lambda: decoded_frames(path, info, self.warnings, start, stop, table),
            ahead=frames_ahead(info.width_px, info.height_px, info.pix_fmt),
            name="decode",
        )
        self.path = path
        self.info = info
        self.warnings: list[str] = []


def decoded_frames(
    path: Path,
    info: MediaInfo,
    warnings: list[str],
    start: Position | None = None,
    stop: Position | None = None,
    table: FrameTable | None = None,
) -> Iterator[Frame]:
    """The frames of a range, decoded in the caller's thread; what was repaired is appended to `warnings`.

    A start that lies far into the file is sought by its packets' table (`table`, or read here); where that cannot be
    relied on, everything before it is decoded.
    """
    origin_s = info.start_pts * info.time_base
    with closing(_frames_from(path, info, warnings, start, table)) as frames:  # closing makes it tell its warnings
        for frame in frames:
            if stop is not None and _place(frame, stop, origin_s) >= stop:
                return
            if start is None or _place(frame, start, origin_s) >= start:
                yield frame


def _frames_from(
    path: Path, info: MediaInfo, warnings: list[str], start: Position | None, table: FrameTable | None
) -> Generator[Frame]:
    """All frames, or those from somewhere before `start`."""
    frames: Iterator[Frame] | None = None
    if start is not None and info.kind == "video":
        frames = _sought(path, info, warnings, start, table)
    elif start is not None and info.kind == "sequence":
        first = start if isinstance(start, int) else ceil(start / info.time_base)
        frames = sequence_frames(info, warnings, first)
    yield from frames if frames is not None else _all_frames(path, info, warnings)


def _sought(
    path: Path, info: MediaInfo, warnings: list[str], start: Position, table: FrameTable | None
) -> Generator[Frame] | None:
    """Frames from shortly before `start`; None where it is near, or cannot be found for certain."""
    nominal = start if isinstance(start, int) else start * (info.frame_rate or 0)
    if table is None and nominal >= SEEK_FROM_FRAME:
        table = frame_table(path, info)
    if table is None:
        return None
    index = start if isinstance(start, int) else table.index_at(info.start_pts + start / info.time_base)
    keyframe = table.keyframe_before(index)
    if keyframe is None or table.index_at(keyframe) == 0:
        return None
    known = len(warnings)
    frames = _Decoding(path, info, warnings).run_from(table, keyframe)
    first = next(frames, None)
    if first is None or first.index > index:
        frames.close()
        del warnings[known:]  # what was met on this way is met again on the other
        return None
    return _rejoined(first, frames)


def _rejoined(first: Frame, others: Generator[Frame]) -> Generator[Frame]:
    with closing(others):
        yield first
        yield from others


def _all_frames(path: Path, info: MediaInfo, warnings: list[str]) -> Iterator[Frame]:
    if info.kind == "image":
        yield frame_from_rgb(read_picture(path), 0, 0, info.time_base, STILL_DURATION)
    elif info.kind == "sequence":
        yield from sequence_frames(info, warnings)
    elif info.video_codec == "webp":
        yield from webp_frames(info)
    else:
        yield from _Decoding(path, info, warnings).run()


class _Decoding:
    """One pass of the decoder over a file."""

    def __init__(self, path: Path, info: MediaInfo, warnings: list[str]) -> None:
        self._path = path
        self._info = info
        self._warnings = warnings
        self._clock = Clock(_nominal_duration(info), info.start_pts, info.time_base)
        self._damaged = 0
        self._table: FrameTable | None = None
        self._looked_for_table = False
        self._formats: dict[str, str] = {}
        self._color = info.color

    def run(self) -> Iterator[Frame]:
        """Every frame that can be decoded. Its index is its place in the file, also behind damage."""
        count = 0
        try:
            with open_input(self._path) as container:
                for frame in self._frames(self._natives(container), 0):
                    yield frame
                    count += 1
            promised = self._info.frame_count_from_header or 0
            if count + 1 < promised:
                self._warnings.append(f"the header promises {promised} frames, {count} could be decoded")
        finally:
            self._tell()
        if not count:
            raise InputError(f"{self._path}: no frame of its video can be decoded")

    def run_from(self, table: FrameTable, keyframe_pts: int) -> Generator[Frame]:
        """From a key frame on; nothing at all where what is decoded there is not what the table says."""
        self._table = table
        try:
            with open_input(self._path) as container:
                try:
                    container.seek(keyframe_pts, stream=container.streams[self._info.stream_index])
                except av.FFmpegError:
                    return
                # Pictures that lead the key frame lack what they refer to.
                natives = dropwhile(
                    lambda native: native.pts is None or native.pts < keyframe_pts, self._natives(container)
                )
                first = next(natives, None)
                index = None if first is None else table.index_of(first.pts)
                if index is not None:
                    yield from self._frames(chain((first,), natives), index)
        finally:
            self._tell()

    def _frames(self, natives: Iterator[Any], index: int) -> Iterator[Frame]:
        for native, pts, duration in self._clock.timed(natives):
            index = self._place_behind_damage(native.pts, index)
            self._check_size(native, index)
            yield self._frame(self._in_editable_format(native), index, pts, duration)
            index += 1

    def _place_behind_damage(self, pts: int | None, index: int) -> int:
        """The index of the next frame: `index`, or later where the packets tell that frames before it were lost."""
        if not self._damaged:
            return index
        if self._table is None and not self._looked_for_table:
            self._looked_for_table = True
            self._table = frame_table(self._path, self._info)
        place = self._table.index_of(pts) if self._table is not None and pts is not None else None
        return index if place is None else max(index, place)

    def _natives(self, container: Any) -> Iterator[Any]:
        stream = container.streams[self._info.stream_index]
        stream.codec_context.thread_type = ThreadType.AUTO
        limit_pictures(stream)
        packets = packets_of(container, [stream])
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError as error:
                self._warnings.append(f"reading stopped early: {av_reason(error)}")
                packet = None  # what is in the decoder is still good
            try:
                yield from stream.decode(packet)
            except EOFError:
                return
            except av.FFmpegError:
                self._damaged += 1
            if packet is None:
                return

    def _frame(self, native: Any, index: int, pts: int, duration: int) -> Frame:
        native.pts, native.time_base, native.duration = pts, self._info.time_base, duration
        if (native.colorspace, native.color_range) != (self._color.matrix, self._color.range):
            self._color = frame_color(native, self._info.color.chroma_location)
        return frame_from_native(native, index, pts, self._info.time_base, duration, self._info, self._color)

    def _check_size(self, native: Any, index: int) -> None:
        if (native.width, native.height) != (self._info.width_px, self._info.height_px):
            raise InputError(
                f"{self._path}: the picture changes from {self._info.width_px}x{self._info.height_px} to "
                f"{native.width}x{native.height} at frame {index}",
                "cut it there, or scale it to one size first",
            )

    def _in_editable_format(self, native: Any) -> Any:
        name = native.format.name
        if name not in self._formats:
            first = next(iter(self._formats.values()), "")
            self._formats[name] = first or editable_format(name)
            if self._formats[name] != name:
                self._warnings.append(f"{name} pictures are converted to {self._formats[name]}")
        wanted = self._formats[name]
        return native if wanted == name else native.reformat(format=wanted, interpolation="BICUBIC")

    def _tell(self) -> None:
        if self._damaged:
            self._warnings.append(f"{self._damaged} damaged packets were skipped")
        self._warnings.extend(self._clock.warnings)


def _nominal_duration(info: MediaInfo) -> int:
    return max(1, round(1 / (info.frame_rate * info.time_base))) if info.frame_rate else 1


def _place(frame: Frame, like: Position, origin_s: Fraction) -> Position:
    return frame.index if isinstance(like, int) else frame.time_s - origin_s

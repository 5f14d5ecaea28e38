"""Frames of a video, in order, as the decoder made them."""

from __future__ import annotations

from fractions import Fraction
from itertools import chain
from math import ceil
from typing import TYPE_CHECKING, Any

import av
from av.codec.context import ThreadType

from facexcli.errors import InputError
from facexcli.media.container import av_reason, open_input
from facexcli.media.frames import frame_color, frame_from_native, frame_from_rgb
from facexcli.media.image import read_picture
from facexcli.media.pixels import editable_format
from facexcli.media.prefetch import Prefetch
from facexcli.media.sequence import sequence_frames
from facexcli.media.table import FrameTable, frame_table
from facexcli.media.webp import webp_frames
from facexcli.types import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from facexcli.types import MediaInfo

Position = int | Fraction
"""A place in a video: an int is a frame index, a Fraction seconds after the first frame."""

SEEK_FROM_FRAME = 250
"""Nearer starts are reached by decoding: that is as fast as reading the packets' table."""

STILL_DURATION = 40
"""How long a still image lasts as a one-frame stream, in its time base of 1/1000 s."""


class FrameReader(Prefetch[Frame]):
    """Iterates over the `Frame`s of `path` in display order; a context manager. A thread decodes up to `ahead` of them.

    `start` (inclusive) and `stop` (exclusive) cut a range; `Frame.index` counts from the first frame of the file, so
    that it means the same with and without a range. Missing, repeated and backward time stamps are put in order.
    Damaged packets are skipped. Both are told in `warnings`, which is complete when the iteration ended.

    Raises InputError where nothing can be decoded or where the picture changes its size.
    """

    def __init__(
        self,
        path: Path,
        info: MediaInfo,
        *,
        start: Position | None = None,
        stop: Position | None = None,
        ahead: int = 6,
    ) -> None:
        super().__init__(lambda: decoded_frames(path, info, self.warnings, start, stop), ahead=ahead, name="decode")
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
    frames = None
    if start is not None and info.kind == "video":
        frames = _sought(path, info, warnings, start, table)
    elif start is not None and info.kind == "sequence":
        first = start if isinstance(start, int) else ceil(start / info.time_base)
        frames = sequence_frames(info, warnings, first)
    for frame in frames or _all_frames(path, info, warnings):
        if stop is not None and _place(frame, stop, origin_s) >= stop:
            return
        if start is None or _place(frame, start, origin_s) >= start:
            yield frame


def _sought(
    path: Path, info: MediaInfo, warnings: list[str], start: Position, table: FrameTable | None
) -> Iterator[Frame] | None:
    """Frames from shortly before `start`; None where it is near, or cannot be found for certain."""
    nominal = start if isinstance(start, int) else start * (info.frame_rate or 0)
    if nominal < SEEK_FROM_FRAME:
        return None
    table = table or frame_table(path, info)
    if table is None:
        return None
    index = start if isinstance(start, int) else table.index_at(info.start_pts + start / info.time_base)
    keyframe = table.keyframe_before(index)
    if keyframe is None or table.index_at(keyframe) == 0:
        return None
    frames = _Decoding(path, info, warnings).run_from(table, keyframe)
    first = next(frames, None)
    if first is None or first.index > index:
        return None
    return chain((first,), frames)


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
        self._clock = _Clock(_nominal_duration(info))
        self._damaged = 0
        self._formats: dict[str, str] = {}
        self._color = info.color

    def run(self) -> Iterator[Frame]:
        count = 0
        with open_input(self._path) as container:
            for native in self._natives(container):
                self._check_size(native, count)
                yield self._frame(self._in_editable_format(native), count)
                count += 1
        self._tell(count)
        if not count:
            raise InputError(f"{self._path}: no frame of its video can be decoded")

    def run_from(self, table: FrameTable, keyframe_pts: int) -> Iterator[Frame]:
        """From a key frame on; nothing at all where what is decoded there is not what the table says."""
        with open_input(self._path) as container:
            stream = container.streams[self._info.stream_index]
            try:
                container.seek(keyframe_pts, stream=stream)
            except av.FFmpegError:
                return
            index = -1
            for native in self._natives(container):
                if index < 0:
                    if native.pts is None or native.pts < keyframe_pts:
                        continue  # pictures that lead the key frame lack what they refer to
                    index = table.index_at(native.pts)
                    if table.pts[index : index + 1] != (native.pts,):
                        return
                self._check_size(native, index)
                yield self._frame(self._in_editable_format(native), index)
                index += 1
            self._tell(None)

    def _natives(self, container: Any) -> Iterator[Any]:
        stream = container.streams[self._info.stream_index]
        stream.codec_context.thread_type = ThreadType.AUTO
        packets = container.demux(stream)
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

    def _frame(self, native: Any, index: int) -> Frame:
        pts, duration = self._clock.next(native.pts, native.duration)
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

    def _tell(self, count: int | None) -> None:
        if self._damaged:
            self._warnings.append(f"{self._damaged} damaged packets were skipped")
        promised = self._info.frame_count_from_header or 0
        if count is not None and count + 1 < promised:
            self._warnings.append(f"the header promises {promised} frames, {count} could be decoded")
        if self._clock.repaired:
            self._warnings.append(
                f"{self._clock.repaired} time stamps were missing, repeated or out of order; repaired"
            )


class _Clock:
    """Strictly ascending time stamps out of whatever the decoder gives."""

    def __init__(self, nominal: int) -> None:
        self._nominal = nominal
        self._last: int | None = None
        self._last_duration = nominal
        self.repaired = 0

    def next(self, pts: int | None, duration: int) -> tuple[int, int]:
        """The (pts, duration) of the next frame, given what the decoder says of it."""
        duration = duration if duration > 0 else self._nominal
        if pts is None or (self._last is not None and pts <= self._last):
            pts = 0 if self._last is None else self._last + max(1, self._last_duration)
            self.repaired += 1
        self._last, self._last_duration = pts, duration
        return pts, duration


def _nominal_duration(info: MediaInfo) -> int:
    return max(1, round(1 / (info.frame_rate * info.time_base))) if info.frame_rate else 1


def _place(frame: Frame, like: Position, origin_s: Fraction) -> Position:
    return frame.index if isinstance(like, int) else frame.time_s - origin_s

"""Frames into a video file, with everything else of the input beside them."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import threading
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import av
from av.video.frame import PictureType

from facexcli.errors import FacexError, OutputError
from facexcli.media.as_shown import as_shown, aspect_warnings, shown_format
from facexcli.media.atomic import AtomicFile
from facexcli.media.container import av_reason, os_reason
from facexcli.media.convert import EncoderFormat
from facexcli.media.encoders import CONTAINERS, EncodeOptions, VideoFormat, choose_encoder
from facexcli.media.frames import frames_ahead
from facexcli.media.gif import add_comment
from facexcli.media.mp4 import prepare_mp4
from facexcli.media.packets import PacketWriter, read_packets
from facexcli.media.pipe import STANDARD, StandardOutput, container_suffix
from facexcli.media.streams import StreamCopier
from facexcli.media.video_stream import add_video

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import BinaryIO

    from facexcli.media.atomic import Finish
    from facexcli.types import Frame

VIDEO_SUFFIXES = frozenset(CONTAINERS)
_LONGEST_REORDERING_S = 3600


class VideoWriter:
    """Encodes frames into `path`, or to standard output for `pipe.STANDARD`, in a thread of its own; a context manager.

    The file appears under its name at `commit`, or when the block is left without an exception, and not before; on any
    failure nothing is left behind and an older file stays as it was. Frames keep their time stamps, durations, display
    matrix, sample aspect ratio and colour description; those in the encoder's pixel format are passed on untouched.

    Args:
        video: what the frames are; `VideoFormat.from_media(info)` for those of a `FrameReader`.
        audio_from: the file whose other streams, chapters and metadata are copied; None for none.
        start_s: the time, on the clock of the frames and of `audio_from`, that becomes 0; None keeps all time stamps.
        stop_s: where other streams end, on the same clock.
        tags: metadata to write beside that of the input.
        packets_to: where the encoded packets go instead of `path`, for `write_packets` of another writer for `path`.
        finish: gets the finished file before it gets its name; not called for standard output.

    Raises OutputError where the place cannot be written or the container is not known, UsageError for an encoder, a
    preset or a pixel format that is not there: all of them at once, before the first frame.
    """

    def __init__(
        self,
        path: Path,
        video: VideoFormat,
        options: EncodeOptions | None = None,
        *,
        audio_from: Path | None = None,
        start_s: Fraction | None = None,
        stop_s: Fraction | None = None,
        tags: Mapping[str, str] | None = None,
        finish: Finish | None = None,
        packets_to: Path | None = None,
    ) -> None:
        options = options or EncodeOptions()
        suffix = container_suffix(path)
        if suffix not in CONTAINERS:
            raise OutputError(
                f"{path}: {suffix or 'no suffix'} is not a kind of video that can be written",
                f"use one of {', '.join(sorted(VIDEO_SUFFIXES))}",
            )
        video, reasons = shown_format(video, suffix)
        self._as_shown = bool(reasons)
        self.path = path
        self.video = video
        self.choice = choose_encoder(video, options, suffix)
        self.warnings = [*reasons, *self.choice.warnings, *aspect_warnings(video, self.choice.codec, suffix)]
        self._shift = round(start_s / video.time_base) if start_s else 0
        self._tags = dict(tags or {})
        self._finish_file = finish
        self._copier: StreamCopier | None = None
        self._convert = EncoderFormat(self.choice)
        self._constant_rate = suffix == ".avi"
        self._tick_s = 1 / video.frame_rate if self._constant_rate else video.time_base
        self._last_tick = -1
        self._last_pts = 0
        self._queue: queue.Queue[Frame | Path | None] = queue.Queue(
            frames_ahead(video.width_px, video.height_px, video.pix_fmt)
        )
        self._cancelled = threading.Event()
        self._error: BaseException | None = None
        self._written = 0
        self._done = False
        self._last_dts: int | None = None
        self._packets_to: PacketWriter | None = None
        self._packet_file: BinaryIO | None = None
        self._file = StandardOutput() if path == STANDARD else AtomicFile(packets_to or path)
        # A part has no container of its own, but the encoder is set up as for the whole.
        url = self._file.url if packets_to is None else os.devnull
        try:
            self._container = av.open(url, "w", format=CONTAINERS[suffix])
            self._stream, self._encoder = add_video(self._container, video, self.choice, self._tick_s)
            if audio_from is not None and options.audio == "copy":
                self._copier = StreamCopier(audio_from, self._container, start_s=start_s, stop_s=stop_s)
                self.warnings.extend(self._copier.warnings)
            self._container.metadata.update(self._tags)
            # No random numbers of the muxer's own (Matroska's segment has one): the same frames make the same file.
            self._container.container_options["fflags"] = "+bitexact"
            if CONTAINERS[suffix] in ("mp4", "mov"):
                self.warnings.extend(prepare_mp4(self._container, video.time_base))
            self._container.start_encoding()
            if packets_to is not None and isinstance(self._file, AtomicFile):
                self._packet_file = self._file.temporary.open("wb")
                self._packets_to = PacketWriter(self._packet_file, self._tick_s)
        except BaseException as error:
            self._close()
            self._file.discard()
            raise self._translated(error) from error
        self._thread = threading.Thread(target=self._run, name="encode", daemon=True)
        self._thread.start()

    @property
    def encoder(self) -> str:
        """The encoder in use, as FFmpeg names it."""
        return self.choice.encoder

    def write(self, frame: Frame) -> None:
        """Hand over the next frame, waiting while the queue is full. Raises what went wrong in the encoder so far."""
        self._put(frame)

    def write_packets(self, part: Path) -> None:
        """Hand over the next part that was encoded already, by a writer with `packets_to`; all parts or none are."""
        self._put(part)

    def _put(self, frame: Frame | Path) -> None:
        while True:
            if self._error is not None:
                raise self._translated(self._error) from self._error
            try:
                self._queue.put(frame, timeout=0.1)
                return
            except queue.Full:
                continue

    def commit(self) -> None:
        """Encode what is left, finish the file and put it in its place. Raises OutputError. Twice is allowed."""
        if self._done:
            return
        self._end_of_frames()
        if self._error is not None:
            raise self._translated(self._error) from self._error
        if not self._written:
            raise OutputError(f"{self.path}: there was no frame to write")
        if self._finish_file is not None and isinstance(self._file, AtomicFile):
            self._finish_file(self._file.temporary)
        self._file.commit()
        self._done = True

    def close(self) -> None:
        """Stop at once and remove what was written, unless it was committed."""
        self._cancelled.set()
        self._thread.join()
        self._file.discard()
        self._done = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.commit()
        finally:
            self.close()

    def _end_of_frames(self) -> None:
        while self._thread.is_alive():
            try:
                self._queue.put(None, timeout=0.1)
                break
            except queue.Full:
                continue
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._cancelled.is_set():
                try:
                    frame = self._queue.get(timeout=0.1)
                except queue.Empty:
                    continue
                if frame is None:
                    self._finish()
                    return
                if isinstance(frame, Path):
                    self._join(frame)
                else:
                    self._encode(frame)
        except BaseException as error:  # whatever it is, the caller has to see it
            self._error = error
        finally:
            self._close()

    def _encode(self, frame: Frame) -> None:
        native = self._convert.apply(as_shown(frame) if self._as_shown else frame)
        if native is None:
            return
        native.pts, native.time_base, native.duration = self._times(frame)
        if self._written and native.pts <= self._last_pts:
            raise OutputError(f"{self.path}: the time stamps of its frames do not ascend")
        self._last_pts = native.pts
        native.pict_type = PictureType.NONE  # the decoder's choice of I, P and B is not the encoder's
        color = self.choice.color  # ProRes writes what the frames say, not what the stream does
        native.color_primaries, native.color_trc = color.primaries, color.transfer
        native.colorspace, native.color_range = color.matrix, color.range
        self._mux(self._encoder.encode(native))
        self._written += 1

    def _join(self, part: Path) -> None:
        for packet in read_packets(part):
            if self._last_dts is not None and packet.dts <= self._last_dts:
                # Each part begins with the delay of its encoder; where frames are uneven, two may overlap.
                packet.dts = self._last_dts + 1
            self._last_dts = packet.dts
            self._mux([packet])
            self._written += 1
            if self._cancelled.is_set():
                return

    def _times(self, frame: Frame) -> tuple[int, Fraction, int]:
        """(pts, time base, duration) in the output."""
        pts = frame.pts - self._shift
        if not self._constant_rate:
            return pts, frame.time_base, frame.duration
        self._last_tick = max(self._last_tick + 1, round(pts * frame.time_base / self._tick_s))
        return self._last_tick, self._tick_s, 1

    def _finish(self) -> None:
        if self._last_dts is None:  # an encoder that had no frame has nothing to flush
            self._mux(self._encoder.encode(None))
        if self._packet_file is not None:
            self._packet_file.flush()
            os.fsync(self._packet_file.fileno())
            self._packet_file.close()
            self.warnings.extend(self._convert.warnings)
            return
        if self._copier is not None:
            known = len(self._copier.warnings)
            self._copier.finish()
            self.warnings.extend(self._copier.warnings[known:])
        self._container.close()
        if isinstance(self._file, AtomicFile) and self._container.format.name == "gif" and "comment" in self._tags:
            add_comment(self._file.temporary, self._tags["comment"])
        self.warnings.extend(self._convert.warnings)

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.stream = self._stream
            if not 0 <= (packet.pts - packet.dts) * packet.time_base <= _LONGEST_REORDERING_S:
                # x265 leaves the decoding time of a video of one or two frames to chance; nothing is reordered there.
                packet.dts = packet.pts
            if self._packets_to is not None:
                self._packets_to.write(packet)
                continue
            if self._copier is not None:
                self._copier.advance(Fraction(packet.dts * packet.time_base))
            self._container.mux_one(packet)

    def _close(self) -> None:
        if self._copier is not None:
            self._copier.close()
        if self._packet_file is not None:
            self._packet_file.close()
        container = getattr(self, "_container", None)
        if container is not None:
            with contextlib.suppress(av.FFmpegError, OSError):
                container.close()

    def _translated(self, error: BaseException) -> BaseException:
        if isinstance(error, FacexError) or not isinstance(error, (av.FFmpegError, OSError, ValueError)):
            return error
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            hint = "let the command after the pipe read to the end"
            return OutputError("nobody reads standard output any more", hint)
        if isinstance(error, OSError) and error.errno in (2, 13, 17, 20, 27, 28, 30):
            return OutputError(f"{self.path} cannot be written: {os_reason(error)}")
        return OutputError(f"{self.path}: {self.choice.encoder} or its container failed: {av_reason(error)}")


__all__ = ["VIDEO_SUFFIXES", "EncodeOptions", "VideoFormat", "VideoWriter"]

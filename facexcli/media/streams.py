"""Sound, subtitles, chapters, attachments and metadata: carried over by packet, in step with the picture."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av
from av.audio.resampler import AudioResampler

from facexcli.media.container import av_reason, codec_name, is_cover, open_input

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import OutputContainer

# Written by the muxer itself, or about the old file and not about its content.
_STALE_METADATA = frozenset(
    ("encoder", "major_brand", "minor_version", "compatible_brands", "duration", "number_of_frames", "number_of_bytes",
     "bps", "handler_name", "vendor_id", "creation_time_source")
)  # fmt: skip
_AUDIO_ENCODERS = {"webm": "libopus", "avi": "libmp3lame", "matroska": "aac"}
# In MP4 by the letter of the standard, but mute in browsers and QuickTime.
_RARELY_PLAYED_IN_MP4 = frozenset(("mp2", "mp1", "vorbis", "dts"))


class StreamCopier:
    """Copies every stream of `source` but its video into `output`, only as far as the picture has got.

    Packets are read from the source when `advance` asks for them, so memory does not grow with length. Time stamps are
    moved by -`start_s` (seconds on the source's own clock); packets that begin before it or at `stop_s` or later are
    left out (None: no cut). A sound format that the container refuses is converted, anything else that it refuses is
    left out, and `warnings` says so.
    """

    def __init__(
        self, source: Path, output: OutputContainer, *, start_s: Fraction | None, stop_s: Fraction | None
    ) -> None:
        self.warnings: list[str] = []
        self._first_s, self._stop_s = start_s, stop_s
        self._start_s = start_s or Fraction(0)
        self._input = open_input(source)
        self._routes: dict[int, _Route] = {}
        self._left_out: list[str] = []
        self._videos = 0
        self._pending: Any = None
        try:
            _copy_metadata(self._input, output, self._start_s, stop_s)
            for stream in self._input.streams:
                self._add(stream, output)
            if self._left_out:
                self.warnings.append(f"data streams were left out: {', '.join(self._left_out)}")
        except BaseException:
            self._input.close()
            raise
        self._output = output
        self._packets = self._demux()

    def advance(self, until_s: Fraction | None) -> None:
        """Copy what begins up to `until_s`, on the output's clock; all the rest for None."""
        while True:
            packet = self._pending if self._pending is not None else next(self._packets, None)
            self._pending = None
            if packet is None:
                return
            begin_s = _begin_s(packet)
            if until_s is not None and begin_s is not None and begin_s - self._start_s > until_s:
                self._pending = packet
                return
            if begin_s is None or self._wanted(begin_s):
                for made in self._routes[packet.stream_index].convert(packet):
                    self._output.mux_one(made)

    def finish(self) -> None:
        """Copy the rest and flush the converters."""
        self.advance(None)
        for route in self._routes.values():
            for packet in route.flush():
                self._output.mux_one(packet)

    def close(self) -> None:
        self._input.close()

    def _wanted(self, begin_s: Fraction) -> bool:
        # Without a cut, packets before 0 stay: they prime the decoder of the sound.
        after_start = self._first_s is None or begin_s >= self._first_s
        return after_start and (self._stop_s is None or begin_s < self._stop_s)

    def _demux(self) -> Iterator[Any]:
        streams = [self._input.streams[index] for index in self._routes]
        if not streams:
            return
        try:
            for packet in self._input.demux(streams):
                if packet.size:
                    yield packet
        except av.FFmpegError as error:
            self.warnings.append(f"copying the other streams stopped early: {av_reason(error)}")

    def _add(self, stream: Any, output: OutputContainer) -> None:
        if stream.type == "video" and not is_cover(stream):
            self._videos += 1
            if self._videos > 1:
                self.warnings.append(f"video stream {stream.index} was left out: only the first is edited")
            return
        name = f"{stream.type} stream {stream.index} ({codec_name(stream) or 'unknown format'})"
        container = output.format.name
        if stream.type == "data":
            self._left_out.append(str(stream.index))  # means nothing without the container that it was made for
            return
        try:
            self._routes[stream.index] = _Copy(output, stream, self._start_s)
        except (ValueError, av.FFmpegError):
            if stream.type != "audio" or stream.codec_context is None:
                self.warnings.append(f"{name} was left out: {container} does not take it")
                return
            self._add_converted(stream, output, name)
            return
        if container in ("mp4", "mov") and codec_name(stream) in _RARELY_PLAYED_IN_MP4:
            self.warnings.append(f"{name} was copied; many players are mute for it in .{container}; .mkv is safer")

    def _add_converted(self, stream: Any, output: OutputContainer, name: str) -> None:
        container = output.format.name
        encoder = _AUDIO_ENCODERS.get(container, "aac")
        try:
            self._routes[stream.index] = _Transcode(output, stream, self._start_s, encoder)
        except (ValueError, av.FFmpegError):
            self.warnings.append(f"{name} was left out: {container} takes no sound of this kind")
        else:
            self.warnings.append(f"{name} was converted with {encoder}: {container} does not take it")


class _Route:
    """How the packets of one stream get into the output."""

    def convert(self, packet: Any) -> list[Any]:
        raise NotImplementedError

    def flush(self) -> list[Any]:
        return []


class _Copy(_Route):
    """Packets as they are, with time stamps that a muxer accepts: present, ascending, moved."""

    def __init__(self, output: OutputContainer, stream: Any, start_s: Fraction) -> None:
        self._target = output.add_stream_from_template(stream, opaque=True)
        self._target.disposition = stream.disposition
        self._target.metadata.update(_fresh(stream.metadata))
        self._shift = round(start_s / stream.time_base) if stream.time_base else 0
        self._next_dts: int | None = None

    def convert(self, packet: Any) -> list[Any]:
        dts = packet.dts if packet.dts is not None else packet.pts
        if dts is None:
            dts = (self._next_dts or 0) + self._shift
        pts = packet.pts if packet.pts is not None else dts
        dts -= self._shift
        if self._next_dts is not None:
            dts = max(dts, self._next_dts)
        packet.dts, packet.pts = dts, max(pts - self._shift, dts)
        self._next_dts = dts + 1
        packet.stream = self._target
        return [packet]


class _Transcode(_Route):
    """Sound that the container refuses, decoded and encoded again."""

    def __init__(self, output: OutputContainer, stream: Any, start_s: Fraction, encoder: str) -> None:
        context: Any = stream.codec_context
        rate = 48000 if encoder == "libopus" else context.sample_rate
        self._target = cast("Any", output.add_stream(encoder, rate=rate))
        self._target.codec_context.layout = context.layout.name
        self._target.codec_context.time_base = Fraction(1, rate)
        self._target.metadata.update(_fresh(stream.metadata))
        self._source = stream
        self._start_s = start_s
        self._resampler: AudioResampler | None = None
        self._samples = 0
        self._origin: int | None = None

    def convert(self, packet: Any) -> list[Any]:
        try:
            frames = packet.decode()
        except av.FFmpegError:
            return []  # a damaged packet; its time stays silent
        return [made for frame in frames for made in self._encode(frame)]

    def flush(self) -> list[Any]:
        return [*self._encode(None), *self._target.encode(None)]

    def _encode(self, frame: Any) -> list[Any]:
        context = self._target.codec_context
        if self._resampler is None:
            # Made late: an encoder knows its frame size only when it is open.
            self._resampler = AudioResampler(
                context.format.name, context.layout.name, context.sample_rate, context.frame_size or None
            )
        if frame is not None and self._origin is None:
            begin_s = (frame.pts or 0) * (frame.time_base or Fraction(1)) - self._start_s
            self._origin = round(begin_s * context.sample_rate)
        made = []
        for piece in self._resampler.resample(frame):
            piece.pts = (self._origin or 0) + self._samples
            piece.time_base = Fraction(1, context.sample_rate)
            self._samples += piece.samples
            made.extend(self._target.encode(piece))
        return made


def _begin_s(packet: Any) -> Fraction | None:
    ticks = packet.pts if packet.pts is not None else packet.dts
    return None if ticks is None else Fraction(ticks * packet.time_base)


def _fresh(metadata: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key.lower().split("-")[0] not in _STALE_METADATA}


def _copy_metadata(source: Any, output: OutputContainer, start_s: Fraction, stop_s: Fraction | None) -> None:
    output.metadata.update(_fresh(source.metadata))
    chapters: list[Any] = []
    for chapter in source.chapters():
        tick_s = chapter["time_base"]
        begin_s, end_s = chapter["start"] * tick_s - start_s, chapter["end"] * tick_s - start_s
        if stop_s is not None:
            end_s = min(end_s, stop_s - start_s)
        begin_s = max(begin_s, Fraction(0))
        if end_s > begin_s:
            chapters.append({**chapter, "start": round(begin_s / tick_s), "end": round(end_s / tick_s)})
    output.set_chapters(chapters)

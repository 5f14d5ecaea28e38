"""Sound, subtitles, chapters, attachments and metadata: carried over by packet, in step with the picture."""

from __future__ import annotations

import contextlib
import io
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from av.stream import Discard

from facexcli.media.container import av_reason, codec_name, is_cover, open_input, packets_of
from facexcli.media.routes import CopyRoute, Route, SoundRoute, SubtitleRoute, describe, fresh_metadata
from facexcli.media.timecode import shifted_timecode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import OutputContainer

_AUDIO_ENCODERS = {"webm": "libopus", "avi": "libmp3lame"}  # the others: aac
_SUBTITLE_ENCODERS = {"mp4": "mov_text", "mov": "mov_text", "matroska": "srt", "webm": "webvtt"}
# Packets of different streams lie at most so far apart in a file that is made for playing.
_INTERLEAVING_S = 10
# In MP4 by the letter of the standard, but mute in browsers and QuickTime.
_RARELY_PLAYED_IN_MP4 = frozenset(("mp2", "mp1", "vorbis", "dts"))
_WITHOUT_CHAPTERS = frozenset(("avi", "gif"))
_COVER_KINDS = {"mjpeg": ("image/jpeg", "jpg"), "png": ("image/png", "png"), "bmp": ("image/bmp", "bmp")}


class StreamCopier:
    """Copies every stream of `source` but its video into `output`, only as far as the picture has got.

    The first stream of `output` is the edited video; it gets the language, title and timecode of the source's.
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
        self._path = source
        self._input = open_input(source)
        self._routes: dict[int, Route] = {}
        self._left_out: list[str] = []
        self._videos = 0
        self._pending: Any = None
        try:
            self._copy_metadata(output)
            for stream in self._input.streams:
                self._add(stream, output)
            if self._left_out:
                self.warnings.append(f"data streams were left out: {', '.join(self._left_out)}")
        except BaseException:
            self._input.close()
            raise
        self._output = output
        self._seek()
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
        for index, route in self._routes.items():
            for packet in route.flush():
                self._output.mux_one(packet)
            if isinstance(route, SoundRoute) and route.damaged:
                self.warnings.append(f"audio stream {index}: {route.damaged} damaged packets became silence")

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
            for packet in packets_of(self._input, streams):
                begin_s = _begin_s(packet)
                if self._stop_s is not None and begin_s is not None and begin_s > self._stop_s + _INTERLEAVING_S:
                    return
                if packet.size:
                    yield packet
        except av.FFmpegError as error:
            self.warnings.append(f"copying the other streams stopped early: {av_reason(error)}")

    def _seek(self) -> None:
        """Skip what lies well before the cut. Where a container cannot, it is read and left out."""
        if self._first_s is not None and self._first_s > _INTERLEAVING_S:
            with contextlib.suppress(av.FFmpegError):
                self._input.seek(int((self._first_s - _INTERLEAVING_S) * av.time_base))

    def _add(self, stream: Any, output: OutputContainer) -> None:
        if stream.type == "video" and not is_cover(stream):
            self._videos += 1
            if self._videos > 1:
                self.warnings.append(f"video stream {stream.index} was left out: only the first is edited")
            else:
                self._describe_video(stream, output)
            return
        name = f"{stream.type} stream {stream.index} ({codec_name(stream) or 'unknown format'})"
        container = output.format.name
        if stream.type == "attachment" and container != "matroska":
            self.warnings.append(f"attachment {stream.index} was left out: {container} does not take it")
            return
        if stream.type == "data":
            self._leave_out_data(stream)
            return
        if stream.type == "video":
            self._add_cover(stream, output)
            return
        if _lacks_its_header(stream):
            self.warnings.append(f"{name} was left out: its header is damaged")
            return
        if container == "avi" and stream.type == "audio" and self._begins_late(stream):
            self._add_converted(stream, output, name, "has no time for sound that begins after the picture")
            return
        if not _is_taken(stream, output):
            self._add_converted(stream, output, name)
            return
        self._routes[stream.index] = CopyRoute(output, stream, self._start_s)
        if container in ("mp4", "mov") and _is_rarely_played(codec_name(stream), container):
            self.warnings.append(f"{name} was copied; many players are mute for it in .{container}; .mkv is safer")

    def _begins_late(self, stream: Any) -> bool:
        """Whether a stream of sound begins more than a packet after the output does."""
        context = stream.codec_context
        if stream.start_time is None or context is None or not context.sample_rate:
            return False
        packet_s = Fraction(context.frame_size or 1024, context.sample_rate)
        return bool(stream.start_time * stream.time_base - self._start_s > packet_s)

    def _describe_video(self, stream: Any, output: OutputContainer) -> None:
        target = output.streams[0]
        describe(target, stream, output)
        if "timecode" in target.metadata and self._first_s is not None:
            target.metadata["timecode"] = self._timecode(target.metadata["timecode"])

    def _timecode(self, text: str) -> str:
        """The timecode of the first frame that is written."""
        video = next(stream for stream in self._input.streams.video if not is_cover(stream))
        rate = Fraction(video.average_rate or video.guessed_rate or 25)
        begin_s = (video.start_time or 0) * Fraction(video.time_base or 1)
        return shifted_timecode(text, round((self._start_s - begin_s) * rate), rate)

    def _leave_out_data(self, stream: Any) -> None:
        """Data mean nothing without the container that they were made for. Timecodes and chapters go other ways."""
        if "timecode" in stream.metadata or stream.discard == Discard.all:
            return
        handler = stream.metadata.get("handler_name", "")
        self._left_out.append(f"{stream.index} ({handler})" if handler else str(stream.index))

    def _add_cover(self, stream: Any, output: OutputContainer) -> None:
        """A cover picture: a stream of its own in MP4, an attachment in Matroska, nowhere else."""
        container = output.format.name
        kind, suffix = _COVER_KINDS.get(codec_name(stream), ("", ""))
        if container == "mp4" and kind:
            self._routes[stream.index] = CopyRoute(output, stream, Fraction(0))
        elif container == "matroska" and kind:
            picture = _cover_picture(self._path, stream.index)
            output.add_attachment(stream.metadata.get("filename", f"cover.{suffix}"), kind, picture)
        else:
            self.warnings.append(f"the cover picture, stream {stream.index}, was left out: {container} does not "
                                 "take it")  # fmt: skip

    def _copy_metadata(self, output: OutputContainer) -> None:
        metadata = fresh_metadata(self._input.metadata)
        if "timecode" in metadata and self._first_s is not None:
            metadata["timecode"] = self._timecode(metadata["timecode"])
        output.metadata.update(metadata)
        chapters = _cut_chapters(self._input.chapters(), self._start_s, self._stop_s)
        if chapters and output.format.name in _WITHOUT_CHAPTERS:
            self.warnings.append(f"the chapters were left out: {output.format.name} does not take them")
        else:
            output.set_chapters(chapters)

    def _add_converted(self, stream: Any, output: OutputContainer, name: str, reason: str = "does not take it") -> None:
        container = output.format.name
        encoder = ""
        try:
            if stream.codec_context is None:
                raise ValueError("there is no decoder for it")
            if stream.type == "audio":
                encoder = _AUDIO_ENCODERS.get(container, "aac")
                route = SoundRoute(output, stream, self._start_s, encoder, from_zero=container == "avi")
                self._routes[stream.index] = route
                if route.layout == "stereo" and stream.codec_context.channels > 2:
                    encoder = f"{encoder} in stereo"
            else:
                encoder = _SUBTITLE_ENCODERS[container]
                self._routes[stream.index] = SubtitleRoute(output, stream, self._start_s, encoder)
        except (KeyError, ValueError, av.FFmpegError):
            self.warnings.append(f"{name} was left out: {container} {reason}")
        else:
            self.warnings.append(f"{name} was converted with {encoder}: {container} {reason}")


def _begin_s(packet: Any) -> Fraction | None:
    ticks = packet.pts if packet.pts is not None else packet.dts
    return None if ticks is None else Fraction(ticks * packet.time_base)


def _lacks_its_header(stream: Any) -> bool:
    """AAC that does not say what it is, in a container that has a place for that: muxers fail at its first packet."""
    is_framed = {"mp4", "matroska"} & set(stream.container.format.name.split(","))
    return bool(is_framed) and codec_name(stream) == "aac" and not stream.codec_context.extradata


def _is_taken(stream: Any, output: OutputContainer) -> bool:
    """Whether the container takes the stream's packets as they are.

    Its table of codecs is not enough: QuickTime's has Opus, and then its header cannot be written. So one is.
    """
    try:
        with av.open(io.BytesIO(), "w", format=output.format.name) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            if stream.type != "attachment":
                trial.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    return True


def _is_rarely_played(codec: str, container: str) -> bool:
    return codec in _RARELY_PLAYED_IN_MP4 or (container == "mp4" and codec.startswith("pcm_"))


def _cut_chapters(chapters: list[Any], start_s: Fraction, stop_s: Fraction | None) -> list[Any]:
    """The chapters of a range, on its own clock."""
    kept: list[Any] = []
    for chapter in chapters:
        tick_s = chapter["time_base"]
        begin_s, end_s = chapter["start"] * tick_s - start_s, chapter["end"] * tick_s - start_s
        if stop_s is not None:
            end_s = min(end_s, stop_s - start_s)
        begin_s = max(begin_s, Fraction(0))
        if end_s > begin_s:
            kept.append({**chapter, "start": round(begin_s / tick_s), "end": round(end_s / tick_s)})
    return kept


def _cover_picture(path: Path, index: int) -> bytes:
    with open_input(path) as container:
        return next((bytes(packet) for packet in container.demux(container.streams[index]) if packet.size), b"")

"""How the packets of one stream get into another container: copied, or decoded and encoded again."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol, cast

import av
from av.audio.resampler import AudioResampler
from av.codec import Codec, CodecContext

if TYPE_CHECKING:
    from av.container import OutputContainer

# Written by the muxer itself, or about the old file and not about its content.
_STALE_METADATA = frozenset(
    ("encoder", "major_brand", "minor_version", "compatible_brands", "duration", "number_of_frames", "number_of_bytes",
     "bps", "handler_name", "vendor_id", "creation_time_source")
)  # fmt: skip
# QuickTime knows languages by a table of Apple's; what libav's has of it under the other code of ISO 639-2.
_QUICKTIME_LANGUAGES = {
    "bod": "tib", "cym": "wel", "deu": "ger", "ell": "gre", "eus": "baq", "fas": "per", "hye": "arm", "isl": "ice",
    "kat": "geo", "mkd": "mac", "msa": "may", "mya": "bur", "nld": "dut", "nob": "nor", "sqi": "alb", "swe": "sve",
    "zho": "chi",
}  # fmt: skip


# Shorter ones are roundings of time stamps; longer ones are mistakes in them.
_LEAST_GAP_S, _LONGEST_GAP_S = Fraction(1, 20), Fraction(3600)
# What libav calls a number of channels of which nobody said where they are, and what it usually means.
_USUAL_LAYOUTS = {"1 channels": "mono", "2 channels": "stereo", "6 channels": "5.1", "8 channels": "7.1"}


class Route(Protocol):
    """One stream's way into the output."""

    def convert(self, packet: Any) -> list[Any]:
        """The packets to write for one that was read; the packet itself may be changed."""
        ...

    def flush(self) -> list[Any]:
        """What is still held back when the source has ended."""
        ...


class CopyRoute:
    """Packets as they are, with time stamps that a muxer accepts: present, ascending, moved."""

    def __init__(self, output: OutputContainer, stream: Any, start_s: Fraction) -> None:
        self._target = output.add_stream_from_template(stream, opaque=True)
        describe(self._target, stream, output)
        if stream.type == "audio" and stream.codec_context.layout.name in _USUAL_LAYOUTS:
            # MP4 cannot end a file with uncompressed sound whose channels have no places.
            self._target.codec_context.layout = _USUAL_LAYOUTS[stream.codec_context.layout.name]
        self._start_s = start_s
        self._next_dts: int | None = None
        # MP4 plays sound from 0 by its edit list, and Matroska by a delay that it knows from its own kind. Elsewhere a
        # negative time stamp would move every stream.
        same_kind = set(output.format.name.split(",")) & set(stream.container.format.name.split(","))
        self._keeps_negative = output.format.name in ("mp4", "mov") or bool(same_kind)

    def convert(self, packet: Any) -> list[Any]:
        # In the ticks of the target, which may be as long as a packet: those of AVI are.
        tick_s = Fraction(self._target.time_base)
        begin = packet.dts if packet.dts is not None else packet.pts
        dts = self._ticks(begin, packet, tick_s) if begin is not None else self._next_dts or 0
        pts = self._ticks(packet.pts, packet, tick_s) if packet.pts is not None else dts
        duration = round(packet.duration * packet.time_base / tick_s)
        if pts < 0 and not self._keeps_negative:
            if pts + duration <= 0:
                return []
            dts = pts = 0
        if self._next_dts is not None:
            dts = max(dts, self._next_dts)
        packet.dts, packet.pts, packet.duration = dts, max(pts, dts), duration
        packet.time_base = tick_s
        self._next_dts = dts + 1
        packet.stream = self._target
        return [packet]

    def _ticks(self, time: int, packet: Any, tick_s: Fraction) -> int:
        ticks: int = round((time * packet.time_base - self._start_s) / tick_s)
        return ticks

    def flush(self) -> list[Any]:
        return []


class SubtitleRoute:
    """Text subtitles that the container refuses, in a format that it takes."""

    def __init__(self, output: OutputContainer, stream: Any, start_s: Fraction, encoder: str) -> None:
        context = stream.codec_context
        context.open(strict=False)
        if not context.subtitle_header:
            raise ValueError("these subtitles are pictures, not text")
        self._target = cast("Any", output.add_stream(encoder))
        self._target.codec_context.subtitle_header = context.subtitle_header
        self._target.codec_context.time_base = self._target.time_base = stream.time_base
        describe(self._target, stream, output)
        self._source = context
        self._shift = round(start_s / stream.time_base)

    def convert(self, packet: Any) -> list[Any]:
        try:
            text = self._source.decode2(packet)
        except av.FFmpegError:
            return []  # a damaged packet
        if text is None or not len(text) or packet.pts is None:
            return []
        made = self._target.codec_context.encode_subtitle(text)
        made.pts = made.dts = packet.pts - self._shift
        made.duration, made.time_base = packet.duration, packet.time_base
        made.stream = self._target
        return [made]

    def flush(self) -> list[Any]:
        return []


class SoundRoute:
    """Sound that the container refuses, decoded and encoded again, with silence where packets are missing.

    `from_zero` puts silence before what begins late, too, for containers that have no time stamps. `layout` is what
    the channels have become, `damaged` the number of packets that could not be decoded. Raises ValueError where the
    encoder takes nothing like it.
    """

    def __init__(
        self, output: OutputContainer, stream: Any, start_s: Fraction, encoder: str, *, from_zero: bool = False
    ) -> None:
        context: Any = stream.codec_context
        rates = Codec(encoder, "w").audio_rates
        rate = context.sample_rate if not rates or context.sample_rate in rates else 48000
        self.layout = _layout_for(encoder, context.layout.name, rate)
        self._target = cast("Any", output.add_stream(encoder, rate=rate))
        self._target.codec_context.layout = self.layout
        self._target.codec_context.time_base = Fraction(1, rate)
        describe(self._target, stream, output)
        self.damaged = 0
        self._start_s = start_s
        self._resampler: AudioResampler | None = None
        self._samples = 0
        self._origin_s: Fraction | None = None
        self._next_s = Fraction(0)
        self._from_zero = from_zero

    def convert(self, packet: Any) -> list[Any]:
        try:
            frames = packet.decode()
        except av.FFmpegError:
            self.damaged += 1
            return []
        return [made for frame in frames for made in self._in_step(frame)]

    def flush(self) -> list[Any]:
        return [*self._encode(None), *self._target.encode(None)]

    def _in_step(self, frame: Any) -> list[Any]:
        begin_s = self._next_s if frame.pts is None else frame.pts * frame.time_base - self._start_s
        if self._origin_s is None:
            self._origin_s = self._next_s = Fraction(0) if self._from_zero and begin_s > 0 else begin_s
        made = []
        gap_s = begin_s - self._next_s
        if _LEAST_GAP_S < gap_s < _LONGEST_GAP_S:
            self._next_s = begin_s
            while gap_s > 0:
                made.extend(self._encode(_silence(frame, min(gap_s, Fraction(1)))))
                gap_s -= 1
        self._next_s += Fraction(frame.samples, frame.sample_rate)
        return [*made, *self._encode(frame)]

    def _encode(self, frame: Any) -> list[Any]:
        context = self._target.codec_context
        if self._resampler is None:
            # Made late: an encoder knows its frame size only when it is open.
            self._resampler = AudioResampler(
                context.format.name, context.layout.name, context.sample_rate, context.frame_size or None
            )
        origin = round((self._origin_s or 0) * context.sample_rate)
        made = []
        for piece in self._resampler.resample(frame):
            piece.pts = origin + self._samples
            piece.time_base = Fraction(1, context.sample_rate)
            self._samples += piece.samples
            made.extend(self._target.encode(piece))
        return made


def _layout_for(encoder: str, own: str, rate: int) -> str:
    """The layout nearest to `own` with which the encoder opens: Opus wants its rear speakers behind, MP3 has two."""
    own = _USUAL_LAYOUTS.get(own, own)
    for name in dict.fromkeys((own, own.replace("(side)", "").replace("(back)", ""), "5.1", "stereo")):
        trial = CodecContext.create(encoder, "w")
        assert isinstance(trial, av.AudioCodecContext)
        formats = trial.codec.audio_formats
        trial.sample_rate, trial.time_base = rate, Fraction(1, rate)
        trial.format = formats[0] if formats else "s16"
        try:
            trial.layout = name
            trial.open()
        except (ValueError, av.FFmpegError):
            continue
        return name
    raise ValueError(f"{encoder} takes no channels like {own}")


def _silence(like: Any, length_s: Fraction) -> Any:
    """As much silence in the format of an audio frame."""
    frame = av.AudioFrame(like.format.name, like.layout.name, round(length_s * like.sample_rate))
    middle = b"\x80" if frame.format.name.startswith("u8") else b"\0"
    for plane in frame.planes:
        plane.update(middle * plane.buffer_size)
    frame.sample_rate, frame.time_base, frame.pts = like.sample_rate, Fraction(1, like.sample_rate), 0
    return frame


def describe(target: Any, stream: Any, output: OutputContainer) -> None:
    """Give a new stream the language, the title, the other tags and the disposition of the one that it is made from."""
    metadata = fresh_metadata(stream.metadata)
    if "name" in metadata:  # what MP4 calls the title of a stream
        metadata.setdefault("title", metadata.pop("name"))
    if output.format.name == "mov" and metadata.get("language") in _QUICKTIME_LANGUAGES:
        metadata["language"] = _QUICKTIME_LANGUAGES[metadata["language"]]
    if stream.type != "video":
        metadata.pop("timecode", None)
    target.metadata.update(metadata)
    target.disposition = stream.disposition


def fresh_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata without what the muxer writes itself, or what is about the old file and not about its content."""
    return {key: value for key, value in metadata.items() if key.lower().split("-")[0] not in _STALE_METADATA}

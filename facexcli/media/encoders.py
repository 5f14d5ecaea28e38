"""Which encoder, which pixel format, which options: decided once, from what the frames are and what was asked for."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import av
from av.codec import Codec

from facexcli.errors import UsageError, unknown_name
from facexcli.media.encoder_formats import choose_format, lossless_format, nearest_format
from facexcli.media.hardware import (
    HARDWARE,
    NOT_BUILT_IN,
    SOFTWARE,
    encoder_formats,
    hardware_codec,
    is_built_in,
    why_not,
)
from facexcli.media.hdr import carries_hdr, encoder_parameters
from facexcli.media.pixels import LAYOUTS, editable_format
from facexcli.media.quality import DEFAULT_CRF, DEFAULT_PRESET, quality_options
from facexcli.media.repeatable import repeatable_options
from facexcli.types import ColorDescription, HdrMetadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facexcli.types import MediaInfo

CODECS = ("auto", "h264", "hevc", "av1", "vp9", "prores", "ffv1")
_ALIASES = {"h265": "hevc", "x264": "h264", "x265": "hevc", "svtav1": "av1"}
CONTAINERS = {
    ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi", ".gif": "gif"
}  # fmt: skip
"""FFmpeg's name of the container for each suffix of a video that can be written."""
# What a video becomes where its own codec cannot stay; the first for 8 bits, the second for more.
_USUAL = {".webm": ("vp9", "av1"), ".avi": ("h264", "h264"), ".gif": ("gif", "gif")}
_EVERYWHERE = ("h264", "hevc")
_KEPT = frozenset(("h264", "hevc", "av1", "vp9", "prores", "ffv1"))
# What players expect in a container. By the letter some have room for more, which --codec may still ask for.
_AT_HOME = {
    ".mp4": {"h264", "hevc", "av1", "vp9"}, ".m4v": {"h264", "hevc"}, ".mov": {"h264", "hevc", "prores"},
    ".mkv": _KEPT, ".webm": {"vp9", "av1"}, ".avi": {"h264", "ffv1"}, ".gif": {"gif"},
}  # fmt: skip
# Not codecs of video: nobody expects to get one of these back from a moving picture.
_PICTURES = frozenset(("", "gif", "apng", "png", "webp", "jpeg", "tiff", "bmp", "mpo", "jpeg2000", "heif", "avif"))
# FFmpeg's names of the chroma locations that have to be signalled: all but left, which is taken for granted.
_CHROMA_LOCATIONS = {2: "center", 3: "topleft", 4: "top", 5: "bottomleft", 6: "bottom"}
_PQ, _HLG = 16, 18
_UNSPECIFIED = ColorDescription()
_NO_HDR = HdrMetadata()


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """What the user may choose.

    `codec` is one of `CODECS`, one of `hardware.HARDWARE`, or an encoder's name; `crf` and `preset` are what
    `quality.quality_options` makes of them. `pix_fmt` "auto" keeps the frames' own. `audio` is "copy" for every other
    stream of the input, or "none" for the picture alone.
    """

    codec: str = "auto"
    crf: int = DEFAULT_CRF
    preset: str = DEFAULT_PRESET
    pix_fmt: str = "auto"
    audio: Literal["copy", "none"] = "copy"


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """What the frames are that will be written: sizes as coded, before the rotation of the display matrix."""

    width_px: int
    height_px: int
    pix_fmt: str
    time_base: Fraction
    frame_rate: Fraction = Fraction(25)
    color: ColorDescription = _UNSPECIFIED
    sample_aspect_ratio: Fraction = Fraction(1)
    display_matrix: tuple[int, ...] = ()
    video_codec: str = ""
    is_vfr: bool = False
    hdr: HdrMetadata = _NO_HDR

    @classmethod
    def from_media(cls, info: MediaInfo) -> VideoFormat:
        """The format of the frames that `FrameReader` gives for `info`."""
        return cls(
            width_px=info.width_px,
            height_px=info.height_px,
            pix_fmt=editable_format(info.pix_fmt),
            time_base=info.time_base,
            frame_rate=info.frame_rate or Fraction(25),
            color=info.color,
            sample_aspect_ratio=info.sample_aspect_ratio,
            display_matrix=info.display_matrix,
            video_codec=info.video_codec,
            is_vfr=info.is_vfr,
            hdr=info.hdr,
        )


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """The encoder that will be used, and with what."""

    encoder: str
    pix_fmt: str
    options: Mapping[str, str]
    color: ColorDescription
    warnings: tuple[str, ...] = field(default=())

    @property
    def codec(self) -> str:
        """FFmpeg's name of what the encoder makes ("h264")."""
        return str(Codec(self.encoder, "w").canonical_name)

    def relabels(self, frame_format: str) -> bool:
        """Whether a full-range format only changes its name (yuvj420p)."""
        return frame_format.replace("yuvj", "yuv") == self.pix_fmt.replace("yuvj", "yuv")


def choose_encoder(video: VideoFormat, options: EncodeOptions, suffix: str) -> EncoderChoice:
    """The encoder for `video` in a file of this suffix.

    "auto" keeps codec, depth and chroma where the container takes them, and else says what the video becomes. An
    encoder of a graphics card is opened for a trial; where that fails, the software encoder of its codec is taken and
    `warnings` says why. Raises UsageError for a codec, preset or pixel format that is not there or does not fit.
    """
    encoder, notes = _encoder(video, options, suffix)
    codec = hardware_codec(encoder)
    if not codec:
        return _configured(encoder, video, options, suffix, notes)
    if is_built_in(encoder):
        choice = _configured(encoder, video, options, suffix, notes)
        reason = why_not(encoder, choice.pix_fmt, video.width_px, video.height_px, choice.options)
        if not reason:
            return choice
    else:
        reason = NOT_BUILT_IN
    software = SOFTWARE[codec]
    notes = [*notes, f"{encoder} does not open here ({reason}): {software} encodes instead"]
    return _configured(software, video, _for_software(options), suffix, notes)


def _for_software(options: EncodeOptions) -> EncodeOptions:
    """Without what only the encoder of a graphics card has: its presets' names, and formats that say the same."""
    try:
        quality_options("libx264", "yuv420p", options.crf, options.preset)
    except UsageError:
        options = replace(options, preset=DEFAULT_PRESET)
    return replace(options, pix_fmt={"nv12": "yuv420p", "p010le": "yuv420p10le"}.get(options.pix_fmt, options.pix_fmt))


def _configured(
    encoder: str, video: VideoFormat, options: EncodeOptions, suffix: str, notes: list[str]
) -> EncoderChoice:
    _check_container(encoder, suffix)
    pix_fmt, warnings = choose_format(encoder, video.pix_fmt, options.pix_fmt, video.width_px, video.height_px)
    chosen, without_effect = quality_options(encoder, pix_fmt, options.crf, options.preset)
    warnings = [*notes, *warnings, *without_effect, *_hdr_warnings(encoder, video, suffix)]
    color = _color(video, pix_fmt)
    if color.chroma_location in _CHROMA_LOCATIONS:
        chosen["chroma_sample_location"] = _CHROMA_LOCATIONS[color.chroma_location]
    for more in (repeatable_options(encoder), encoder_parameters(encoder, video.hdr)):
        for name, parameters in more.items():
            chosen[name] = ":".join(filter(None, (chosen.get(name), parameters)))
    if suffix == ".avi":
        chosen["bf"] = "0"  # AVI has no time stamps, so frames have to be stored in the order they are shown
        if video.is_vfr:
            warnings.append("AVI has one frame rate; time stamps are rounded to it, .mp4 or .mkv keep them")
    return EncoderChoice(encoder, pix_fmt, chosen, color, tuple(warnings))


def _encoder(video: VideoFormat, options: EncodeOptions, suffix: str) -> tuple[str, list[str]]:
    """The encoder that was asked for, by whatever name, and what has to be said of it."""
    name = _ALIASES.get(options.codec, options.codec)
    if name == "auto" or name in HARDWARE:
        codec, notes = _automatic_codec(video, suffix)
        if name == "auto":
            return SOFTWARE[codec], notes
        usual = "av1" if suffix == ".webm" else "hevc"
        return f"{codec if codec in ('h264', 'hevc', 'av1') else usual}_{name}", []
    name = SOFTWARE.get(name, name)
    if hardware_codec(name):
        return name, []
    if not is_built_in(name):
        raise unknown_name("codec", options.codec, (*CODECS, *HARDWARE, *_ALIASES, *SOFTWARE.values()))
    if Codec(name, "w").type != "video":
        raise UsageError(f"codec {options.codec!r} is not for pictures", f"choose from {', '.join(CODECS)}")
    return name, []


def _automatic_codec(video: VideoFormat, suffix: str) -> tuple[str, list[str]]:
    """The input's codec if that can be, else the container's usual one, with a word on why."""
    own = video.video_codec
    deep = LAYOUTS[video.pix_fmt].bits > 8
    usual = _USUAL.get(suffix, _EVERYWHERE)
    others = list(dict.fromkeys(reversed(usual) if deep else usual))
    stays = own in _KEPT and own in _AT_HOME.get(suffix, _KEPT)
    codec = _first_that_keeps([own, *others] if stays else others, video)
    if codec == own or own in _PICTURES or suffix == ".gif":
        return codec, []
    if stays:
        return codec, [f"{SOFTWARE[own]} cannot keep {video.pix_fmt}: the video becomes {codec}; "
                       f"--codec {own} keeps the codec instead"]  # fmt: skip
    if own in _KEPT:
        return codec, [f"{own} does not belong into {suffix}: the video becomes {codec}"]
    return codec, [f"there is no encoder for {own} here: the video becomes {codec}"]


def _first_that_keeps(codecs: list[str], video: VideoFormat) -> str:
    """The first codec whose encoder has the very pixel format, else the first that has its depth, else the first.

    Depth and chroma go before the codec: what they lose is lost, and a codec can be changed back.
    """
    if len(codecs) == 1 or LAYOUTS[video.pix_fmt].family == "packed":
        return codecs[0]
    for codec in codecs:
        if lossless_format(SOFTWARE[codec], video.pix_fmt):
            return codec
    bits = LAYOUTS[video.pix_fmt].bits
    for codec in codecs:
        nearest = nearest_format(video.pix_fmt, encoder_formats(SOFTWARE[codec]))
        if nearest in LAYOUTS and LAYOUTS[nearest].bits >= bits:
            return codec
    return codecs[0]


def _check_container(encoder: str, suffix: str) -> None:
    if suffix in CONTAINERS and encoder not in _encoders_of(CONTAINERS[suffix]):
        raise UsageError(f"{suffix} cannot hold {encoder}", f"choose another of {', '.join(CODECS)}, or .mkv")


@lru_cache(maxsize=8)
def _encoders_of(container: str) -> frozenset[str]:
    """The names of all encoders whose codec the container takes."""
    with av.open(io.BytesIO(), "w", format=container) as output:
        return frozenset(output.supported_codecs)


def _color(video: VideoFormat, pix_fmt: str) -> ColorDescription:
    """The description that the encoded pictures have."""
    color = video.color
    layout = LAYOUTS[video.pix_fmt]
    if layout.is_rgb and not _is_rgb(pix_fmt):
        matrix = 6 if video.height_px <= 576 else 1  # what a player would take an unmarked video for
        if layout.family == "packed":
            return ColorDescription(primaries=1, transfer=1, matrix=matrix, range=1, chroma_location=1)
        matrix = 9 if color.primaries == 9 else matrix
        return replace(color, matrix=matrix, range=1, chroma_location=0 if "444" in pix_fmt else 1)
    if pix_fmt.startswith("yuvj") or video.pix_fmt.startswith("yuvj"):
        return replace(color, range=2)
    return color


def _is_rgb(pix_fmt: str) -> bool:
    return (pix_fmt in LAYOUTS and LAYOUTS[pix_fmt].is_rgb) or pix_fmt in ("rgb8", "bgr8", "pal8")


def _hdr_warnings(encoder: str, video: VideoFormat, suffix: str) -> list[str]:
    """What the video says of its brightness and will not say any more."""
    transfer, warnings = video.color.transfer, []
    for name in video.hdr.dynamic:
        if transfer in (_PQ, _HLG):
            base = "HLG" if transfer == _HLG else "HDR10" if video.hdr.is_static else "PQ"
            warnings.append(f"{name} metadata describes the old pictures and cannot be carried over: "
                            f"the output is plain {base}")  # fmt: skip
        else:
            warnings.append(f"this kind of {name} cannot be shown without its metadata, which is lost in encoding: "
                            "the colours will be wrong; convert it to HDR10 first")  # fmt: skip
    if video.hdr.is_static and not carries_hdr(encoder, str(Codec(encoder, "w").canonical_name), suffix):
        warnings.append(f"the mastering display and light levels of HDR10 are left out: {encoder} in {suffix} "
                        "has no place for them; .mp4 and .mkv do")  # fmt: skip
    return warnings


__all__ = ["CODECS", "CONTAINERS", "EncodeOptions", "EncoderChoice", "VideoFormat", "choose_encoder"]

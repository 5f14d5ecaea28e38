"""Which encoder, which pixel format, which options: decided once, from what the frames are and what was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import av
from av.codec import Codec

from facexcli.errors import UsageError, unknown_name
from facexcli.media.pixels import LAYOUTS, editable_format
from facexcli.types import ColorDescription

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facexcli.types import MediaInfo

CODECS = ("auto", "h264", "hevc", "av1", "prores", "ffv1")
_ENCODERS = {
    "h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "prores": "prores_ks", "ffv1": "ffv1",
    "vp9": "libvpx-vp9", "gif": "gif",
}  # fmt: skip
_X26X_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
)  # fmt: skip
_UNSPECIFIED = ColorDescription()
# The nearest of SVT-AV1's 0 (slow) to 13 (fast), and of libvpx's cpu-used, for the names of x264.
_SVT_PRESETS = dict(zip(_X26X_PRESETS, (12, 11, 10, 9, 8, 7, 5, 4, 2, 1), strict=True))
# FFmpeg's names of the chroma locations that have to be signalled: all but left, which is taken for granted.
_CHROMA_LOCATIONS = {2: "center", 3: "topleft", 4: "top", 5: "bottomleft", 6: "bottom"}
# Suffixes of pixel formats, in order of preference, by the depth to keep.
_DEPTHS = {8: ("", "10le", "12le"), 10: ("10le", "12le", ""), 12: ("12le", "10le", "")}
_VPX_SPEEDS = dict(zip(_X26X_PRESETS, (8, 8, 7, 6, 5, 4, 3, 2, 1, 0), strict=True))


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """What the user may choose. `codec` is one of `CODECS` or an encoder's name; `crf` is the encoder's own scale.

    `preset` is a name of x264's scale, for other encoders the nearest of theirs. `pix_fmt` "auto" keeps the frames'
    own. `audio` is "copy" for every other stream of the input, or "none" for the picture alone.
    """

    codec: str = "auto"
    crf: int = 18
    preset: str = "veryfast"
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
        )


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """The encoder that will be used. `relabels` says that a full-range format only changes its name (yuvj420p)."""

    encoder: str
    pix_fmt: str
    options: Mapping[str, str]
    color: ColorDescription
    warnings: tuple[str, ...] = field(default=())

    def relabels(self, frame_format: str) -> bool:
        return frame_format.replace("yuvj", "yuv") == self.pix_fmt.replace("yuvj", "yuv")


def choose_encoder(video: VideoFormat, options: EncodeOptions, suffix: str) -> EncoderChoice:
    """Raises UsageError for a codec, preset or pixel format that is not there."""
    encoder = _encoder_name(video, options, suffix)
    pix_fmt, warnings = _pixel_format(video, options, encoder)
    color = video.color
    if LAYOUTS[video.pix_fmt].is_rgb and not _is_rgb(pix_fmt):
        matrix = 6 if video.height_px <= 576 else 1  # what a player would take an unmarked video for
        color = ColorDescription(primaries=1, transfer=1, matrix=matrix, range=1, chroma_location=1)
    elif pix_fmt.startswith("yuvj") or video.pix_fmt.startswith("yuvj"):
        color = ColorDescription(color.primaries, color.transfer, color.matrix, 2, color.chroma_location)
    encoder_options = _encoder_options(encoder, options)
    if encoder in ("libx264", "libx265") and color.chroma_location in _CHROMA_LOCATIONS:
        encoder_options["chroma_sample_location"] = _CHROMA_LOCATIONS[color.chroma_location]
    if suffix == ".avi":
        encoder_options["bf"] = "0"  # AVI has no time stamps, so frames have to be stored in the order they are shown
        if video.is_vfr:
            warnings.append("AVI has one frame rate; time stamps are rounded to it, .mp4 or .mkv keep them")
    return EncoderChoice(encoder, pix_fmt, encoder_options, color, tuple(warnings))


def _encoder_name(video: VideoFormat, options: EncodeOptions, suffix: str) -> str:
    name = options.codec
    if name == "auto":
        name = _automatic_codec(video, suffix)
    name = _ENCODERS.get(name, name)
    try:
        codec = Codec(name, "w")
    except (ValueError, av.FFmpegError):
        raise unknown_name("codec", options.codec, (*CODECS, *_ENCODERS.values())) from None
    if codec.type != "video":
        raise UsageError(f"codec {options.codec!r} is not for pictures", f"choose from {', '.join(CODECS)}")
    return name


def _automatic_codec(video: VideoFormat, suffix: str) -> str:
    if suffix == ".gif":
        return "gif"
    bits = LAYOUTS[video.pix_fmt].bits
    if suffix == ".webm":
        return "vp9" if bits == 8 else "av1"  # libvpx is often built without high bit depth
    if suffix == ".avi" or bits == 8 or video.video_codec == "h264":
        return "h264"
    return video.video_codec if video.video_codec in ("av1", "prores", "ffv1") else "hevc"


def _pixel_format(video: VideoFormat, options: EncodeOptions, encoder: str) -> tuple[str, list[str]]:
    if encoder == "gif":
        return "pal8", []
    accepted = [each.name for each in Codec(encoder, "w").video_formats or ()]
    if options.pix_fmt != "auto":
        if options.pix_fmt not in accepted:
            raise unknown_name(f"pixel format for {encoder}", options.pix_fmt, accepted)
        return options.pix_fmt, []
    own = video.pix_fmt
    wanted = next((name for name in (own, own.replace("yuvj", "yuv")) if name in accepted), None)
    if wanted is None:
        wanted = _nearest_format(own, accepted)
    if encoder in ("libx264", "libx265") and "420" in wanted and (video.width_px % 2 or video.height_px % 2):
        full = wanted.replace("420", "444")
        size = f"{video.width_px}x{video.height_px}"
        return full, [f"{encoder} needs even sizes for {wanted}; {size} is written as {full}"]
    if wanted in (own, own.replace("yuvj", "yuv")) or LAYOUTS[own].is_rgb:
        return wanted, []
    return wanted, [f"{encoder} cannot keep {own}; the video is written as {wanted}"]


def _nearest_format(own: str, accepted: list[str]) -> str:
    """The accepted format that keeps depth first, then chroma resolution."""
    layout = LAYOUTS[own]
    chroma = "420" if layout.is_rgb or layout.family == "gray" else {(2, 2): "420", (2, 1): "422"}.get(
        (layout.sub_x, layout.sub_y), "444"
    )  # fmt: skip
    depths = _DEPTHS[8 if layout.bits == 8 else 10 if layout.bits <= 10 else 12]
    order = [f"yuv{sampling}p{depth}" for depth in depths for sampling in (chroma, "422", "444", "420")]
    return next((name for name in order if name in accepted), accepted[0] if accepted else "yuv420p")


def _is_rgb(pix_fmt: str) -> bool:
    return (pix_fmt in LAYOUTS and LAYOUTS[pix_fmt].is_rgb) or pix_fmt in ("rgb8", "bgr8", "pal8")


def _encoder_options(encoder: str, options: EncodeOptions) -> dict[str, str]:
    if encoder in ("libx264", "libx265", "libsvtav1", "libvpx-vp9") and options.preset not in _X26X_PRESETS:
        raise unknown_name("encoder preset", options.preset, _X26X_PRESETS)
    crf = str(options.crf)
    if encoder == "libx264":
        return {"crf": crf, "preset": options.preset}
    if encoder == "libx265":
        return {"crf": crf, "preset": options.preset, "x265-params": "log-level=error"}
    if encoder == "libsvtav1":
        return {"crf": crf, "preset": str(_SVT_PRESETS[options.preset])}
    if encoder == "libvpx-vp9":
        speed = str(_VPX_SPEEDS[options.preset])
        deadline = "realtime" if int(speed) > 5 else "good"
        return {"crf": crf, "b": "0", "deadline": deadline, "cpu-used": speed, "row-mt": "1"}
    if encoder == "prores_ks":
        return {"profile": "3"}
    if encoder == "ffv1":
        return {"level": "3", "slicecrc": "1"}
    return {}


__all__ = ["CODECS", "EncodeOptions", "EncoderChoice", "VideoFormat", "choose_encoder"]

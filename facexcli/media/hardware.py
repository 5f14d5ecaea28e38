"""Encoders of graphics cards and other chips: their names, what feeds them, and whether they really open."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import av
from av import logging as av_logging
from av.codec import Codec, CodecContext
from av.codec.hwaccel import HWAccel

from facexcli.media.container import av_reason

if TYPE_CHECKING:
    from collections.abc import Mapping

HARDWARE = ("nvenc", "videotoolbox", "vaapi", "qsv", "amf")
"""What may follow a codec and an underscore, or stand alone for the codec that `auto` would take."""
SOFTWARE = {
    "h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9", "prores": "prores_ks",
    "ffv1": "ffv1", "mjpeg": "mjpeg", "gif": "gif",
}  # fmt: skip
"""The encoder that is used for a codec where no other is asked for."""
_NAME = re.compile(r"(h264|hevc|av1|vp9|prores|mjpeg)_(nvenc|videotoolbox|vaapi|qsv|amf|v4l2m2m|mf|mediacodec|vulkan)")
# These take pictures only from the memory of their own device, where PyAV brings them.
_UPLOADED = frozenset(("vaapi", "vulkan"))
_DEVICES = frozenset(("AVHWDeviceContext", "AMF"))  # under what names libav speaks of those
NOT_BUILT_IN = "not in this build of FFmpeg"
_UPLOADED_FORMATS = ("nv12", "p010le")


def hardware_codec(name: str) -> str:
    """The codec of a hardware encoder's name ("hevc" for "hevc_nvenc"); '' for all other names."""
    match = _NAME.fullmatch(name)
    return match[1] if match else ""


def is_built_in(encoder: str) -> bool:
    """Whether the FFmpeg inside PyAV was built with the encoder; a hardware one may still not open."""
    try:
        Codec(encoder, "w")
    except (ValueError, av.FFmpegError):
        return False
    return True


def device_of(encoder: str) -> HWAccel | None:
    """What PyAV needs to bring pictures to the encoder's device; None where it takes them from ordinary memory."""
    kind = encoder.rpartition("_")[2] if hardware_codec(encoder) else ""
    return HWAccel(kind) if kind in _UPLOADED else None


def encoder_formats(encoder: str) -> tuple[str, ...]:
    """The pixel formats that an encoder takes from ordinary memory. Builds differ: libvpx may know 8 bits only."""
    if device_of(encoder) is not None:
        return _UPLOADED_FORMATS
    return tuple(each.name for each in Codec(encoder, "w").video_formats or ())


def why_not(encoder: str, pix_fmt: str, width_px: int, height_px: int, options: Mapping[str, str]) -> str:
    """Open the encoder really, for pictures of this kind, and close it: the reason why it fails, or '' if it works."""
    if not is_built_in(encoder):
        return NOT_BUILT_IN
    return _failure(encoder, pix_fmt, width_px, height_px, tuple(sorted(options.items())))


@lru_cache(maxsize=64)
def _failure(encoder: str, pix_fmt: str, width_px: int, height_px: int, options: tuple[tuple[str, str], ...]) -> str:
    level, skips = av_logging.get_level(), av_logging.get_skip_repeated()
    av_logging.set_level(av_logging.ERROR)  # libav's own words say more than its error codes
    av_logging.set_skip_repeated(False)
    try:
        with av_logging.Capture(local=False) as messages:
            try:
                _open(encoder, pix_fmt, width_px, height_px, dict(options))
            except (av.FFmpegError, ValueError, RuntimeError, NotImplementedError) as error:
                said = (text for _, speaker, text in messages if speaker == encoder or speaker in _DEVICES)
                return " ".join(next(said, av_reason(error)).split()).rstrip(".")
    finally:
        av_logging.set_level(level)
        av_logging.set_skip_repeated(skips)
    return ""


def _open(encoder: str, pix_fmt: str, width_px: int, height_px: int, options: dict[str, str]) -> None:
    context = CodecContext.create(encoder, "w", device_of(encoder))
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = width_px, height_px, pix_fmt
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.options = options
    context.open()


__all__ = [
    "HARDWARE",
    "NOT_BUILT_IN",
    "SOFTWARE",
    "device_of",
    "encoder_formats",
    "hardware_codec",
    "is_built_in",
    "why_not",
]

"""Which formats can be read and written here: not by what was built in, but by opening each one."""

from __future__ import annotations

import os
from dataclasses import dataclass

import av
from av.codec import CodecContext

from facexcli.media.container import av_reason
from facexcli.media.encoder_formats import nearest_format
from facexcli.media.hardware import HARDWARE, NOT_BUILT_IN, SOFTWARE, encoder_formats, is_built_in, why_not
from facexcli.media.pixels import LAYOUTS
from facexcli.media.quality import DEFAULT_CRF, DEFAULT_PRESET, quality_options

READ = (
    "h264", "hevc", "av1", "vp9", "vp8", "prores", "ffv1", "mpeg4", "mpeg2video", "mjpeg", "dnxhd", "h263", "theora",
    "wmv3", "gif",
)  # fmt: skip
"""The formats of video that people have."""
WRITTEN = ("h264", "hevc", "av1", "vp9", "prores", "ffv1", "gif")
ON_CHIPS = ("h264", "hevc", "av1")
_SIZE_PX = (256, 256)
# libav has a decoder of its own for AV1 too, but that one only speaks to graphics cards.
_DECODERS = {"av1": ("libdav1d", "libaom-av1")}
_YUV = frozenset(("planar", "semiplanar"))
# These cannot be opened without the header of a file.
_NEED_A_HEADER = frozenset(("ffv1", "theora", "wmv3"))


@dataclass(frozen=True, slots=True)
class Ability:
    """One decoder or encoder. `problem` says why it cannot be used, '' where it can.

    `depths` are the bits a sample and `chroma` the samplings that an encoder takes.
    """

    codec: str
    name: str
    problem: str = ""
    depths: tuple[int, ...] = ()
    chroma: tuple[str, ...] = ()


def decoders() -> tuple[Ability, ...]:
    """What decodes each of the formats in `READ`."""
    return tuple(_decoder(codec) for codec in READ)


def encoders() -> tuple[Ability, ...]:
    """What encodes each of the formats in `WRITTEN`, in software."""
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 writes to stderr by itself; errors only
    return tuple(_encoder(codec, SOFTWARE[codec]) for codec in WRITTEN)


def hardware_encoders() -> tuple[Ability, ...]:
    """The encoders of graphics cards and other chips for the formats in `ON_CHIPS`."""
    return tuple(_encoder(codec, f"{codec}_{kind}") for kind in HARDWARE for codec in ON_CHIPS)


def _decoder(codec: str) -> Ability:
    for name in _DECODERS.get(codec, (codec,)):
        try:
            context = CodecContext.create(name, "r")
        except (ValueError, av.FFmpegError):
            continue
        try:
            context.open()
        except (ValueError, av.FFmpegError) as error:
            return Ability(codec, name, "" if codec in _NEED_A_HEADER else f"does not open: {av_reason(error)}")
        return Ability(codec, name)
    return Ability(codec, "", "missing")


def _encoder(codec: str, name: str) -> Ability:
    if not is_built_in(name):
        return Ability(codec, name, NOT_BUILT_IN)
    formats = encoder_formats(name)
    pix_fmt = "pal8" if name == "gif" else nearest_format("yuv420p", formats)
    options, _ = quality_options(name, pix_fmt, DEFAULT_CRF, DEFAULT_PRESET)
    layouts = [layout for each in formats if (layout := LAYOUTS.get(each)) and layout.family in _YUV]
    samplings = {(2, 2): "4:2:0", (2, 1): "4:2:2", (1, 1): "4:4:4"}
    return Ability(
        codec,
        name,
        why_not(name, pix_fmt, *_SIZE_PX, options),
        tuple(sorted({layout.bits for layout in layouts})),
        tuple(sorted({samplings[layout.sub_x, layout.sub_y] for layout in layouts})),
    )


__all__ = ["ON_CHIPS", "READ", "WRITTEN", "Ability", "decoders", "encoders", "hardware_encoders"]

"""HDR10 side data: out of decoded frames, into the parameters of encoders and the headers of containers."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av

from facexcli.types import HdrMetadata, MasteringDisplay

if TYPE_CHECKING:
    from collections.abc import Iterable

# Parts of a chromaticity unit and of a candela in the messages of HEVC and H.264 (ITU-T H.265, D.3.28).
_PER_XY, _PER_NIT = 50_000, 10_000
_DYNAMIC = {
    "DOVI_RPU_BUFFER": "Dolby Vision", "DOVI_METADATA": "Dolby Vision", "DYNAMIC_HDR_PLUS": "HDR10+",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
}  # fmt: skip
# ChromaSitingHorz and ChromaSitingVert of Matroska (RFC 9559, 5.1.4.1.28.21) as FFmpeg's chroma location.
_LOCATION_BY_SITING = {(1, 2): 1, (2, 2): 2, (1, 1): 3, (2, 1): 4}
_MATROSKA_CODECS = {
    "h264": b"V_MPEG4/ISO/AVC", "hevc": b"V_MPEGH/ISO/HEVC", "av1": b"V_AV1", "vp9": b"V_VP9", "ffv1": b"V_FFV1",
    "prores": b"V_PRORES",
}  # fmt: skip
_SUFFIXES_WITH_HDR = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm"))
# (option of libav, what else has to be said, names of the two values, units). x265 repeats what it says in every key
# frame, so that a cut-out part has it too.
_PARAMETERS = {
    "libx264": ("x264-params", "", "mastering-display", "cll", _PER_XY, _PER_NIT),
    "libx265": ("x265-params", "hdr10=1:repeat-headers=1", "master-display", "max-cll", _PER_XY, _PER_NIT),
    "libsvtav1": ("svtav1-params", "", "mastering-display", "content-light", 1, 1),
}


def read_hdr(side_data: Iterable[Any]) -> HdrMetadata:
    """What libav's side data of a decoded frame says, whether it came from the container or from the bitstream."""
    mastering, cll, fall = None, 0, 0
    dynamic: dict[str, None] = {}
    for each in side_data:
        kind = each.type.name
        if kind == "MASTERING_DISPLAY_METADATA":
            mastering = _mastering_display(bytes(each))
        elif kind == "CONTENT_LIGHT_LEVEL":
            cll, fall = struct.unpack_from("=2I", bytes(each))
        elif kind in _DYNAMIC:
            dynamic[_DYNAMIC[kind]] = None
    return HdrMetadata(mastering, cll, fall, tuple(dynamic))


def _mastering_display(raw: bytes) -> MasteringDisplay | None:
    """libav's AVMasteringDisplayMetadata: ten rationals, then what of them is known. None unless all is."""
    numbers = struct.unpack_from("=22i", raw)
    if not (numbers[20] and numbers[21]) or 0 in numbers[1:20:2]:
        return None
    values = [Fraction(*numbers[place : place + 2]) for place in range(0, 20, 2)]
    red, green, blue, white = ((values[place], values[place + 1]) for place in (0, 2, 4, 6))
    return MasteringDisplay(red, green, blue, white, min_nits=values[8], max_nits=values[9])


def read_chroma_location(stream: Any) -> int:
    """Where a video stream says that its chroma samples lie, as FFmpeg numbers it; 0 where it does not say.

    PyAV has no attribute for it. libav's Matroska writer puts it into the header, from where it is read back.
    """
    header = io.BytesIO()
    try:
        with av.open(header, "w", format="matroska") as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
            written = header.getvalue()
    except (av.FFmpegError, ValueError):
        return 0  # a codec that Matroska does not know
    _, found, rest = written.partition(bytes.fromhex("55b781"))
    if not found or rest[1:4] != bytes.fromhex("55b881"):
        return 0
    return _LOCATION_BY_SITING.get((rest[0], rest[4]), 0)


def encoder_parameters(encoder: str, hdr: HdrMetadata) -> dict[str, str]:
    """The option of libav, in the encoder's own syntax, with which it writes `hdr` into its bitstream; {} for none."""
    if encoder not in _PARAMETERS or not hdr.is_static:
        return {}
    option, first, display_name, light_name, per_xy, per_nit = _PARAMETERS[encoder]
    parts = [first] if first else []
    if hdr.mastering_display is not None:
        parts.append(f"{display_name}={_display_text(hdr.mastering_display, per_xy, per_nit)}")
    if hdr.max_cll_nits or hdr.max_fall_nits:
        parts.append(f"{light_name}={hdr.max_cll_nits},{hdr.max_fall_nits}")
    return {option: ":".join(parts)}


def carries_hdr(encoder: str, codec: str, suffix: str) -> bool:
    """Whether HDR10 metadata reach a file of this suffix, in the bitstream or in the container's header."""
    return encoder in _PARAMETERS or (codec in _MATROSKA_CODECS and suffix in _SUFFIXES_WITH_HDR)


def _display_text(display: MasteringDisplay, per_xy: int, per_nit: int) -> str:
    def number(value: Fraction, parts: int) -> str:
        return f"{float(value):.6f}" if parts == 1 else str(round(value * parts))

    colors = (("G", display.green_xy), ("B", display.blue_xy), ("R", display.red_xy), ("WP", display.white_xy))
    text = "".join(f"{name}({number(x, per_xy)},{number(y, per_xy)})" for name, (x, y) in colors)
    return f"{text}L({number(display.max_nits, per_nit)},{number(display.min_nits, per_nit)})"


def template_header(codec: str, hdr: HdrMetadata, width_px: int, height_px: int, chroma_location: int) -> Any:
    """An open container without pictures whose one stream has the codec, the size and the side data; None if unknown.

    PyAV cannot attach side data to a stream, but copies all that a template has; so this writes, as Matroska (RFC 9559,
    5.1.4.1.28.16), the header of a video that has them.
    """
    if codec not in _MATROSKA_CODECS:
        return None
    colour = b"".join(
        _integer("55b7", across) + _integer("55b8", down)
        for (across, down), location in _LOCATION_BY_SITING.items()
        if location == chroma_location
    )
    if hdr.max_cll_nits:
        colour += _integer("55bc", hdr.max_cll_nits)
    if hdr.max_fall_nits:
        colour += _integer("55bd", hdr.max_fall_nits)
    display = hdr.mastering_display
    if display is not None:
        values = (*display.red_xy, *display.green_xy, *display.blue_xy, *display.white_xy, display.max_nits,
                  display.min_nits)  # fmt: skip
        colour += _element("55d0", b"".join(_real(f"55d{place:x}", value) for place, value in enumerate(values, 1)))
    video = _integer("b0", width_px) + _integer("ba", height_px) + _element("55b0", colour)
    track = _integer("d7", 1) + _integer("73c5", 1) + _integer("83", 1)  # number, identity, kind: video
    track += _element("86", _MATROSKA_CODECS[codec]) + _element("e0", video)
    head = _element("1a45dfa3", _element("4282", b"matroska") + _integer("4287", 4) + _integer("4285", 2))
    information = _element("1549a966", _integer("2ad7b1", 1_000_000))
    cluster = _element("1f43b675", _integer("e7", 0))
    segment = information + _element("1654ae6b", _element("ae", track)) + cluster
    return av.open(io.BytesIO(head + _element("18538067", segment)), format="matroska")


def _element(name: str, content: bytes) -> bytes:
    return bytes.fromhex(name) + struct.pack(">Q", len(content) | 1 << 56) + content


def _integer(name: str, value: int) -> bytes:
    return _element(name, value.to_bytes(8, "big"))


def _real(name: str, value: Fraction) -> bytes:
    return _element(name, struct.pack(">d", value))


__all__ = ["carries_hdr", "encoder_parameters", "read_chroma_location", "read_hdr", "template_header"]

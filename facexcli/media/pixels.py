"""The pixel formats whose samples `media.color` can edit in place, and views of their planes."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facexcli.types import Array

Family = Literal["planar", "semiplanar", "gray", "packed", "gbr"]


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How samples lie in the planes of one FFmpeg pixel format.

    `bits` are significant bits, stored `shift` bits above the lowest one. `sub_x`, `sub_y`: luma samples a chroma
    sample, along each axis. `rgb_order` gives, for packed formats, the channel of R, G and B; for planar RGB the plane.
    """

    family: Family
    bits: int = 8
    sub_x: int = 1
    sub_y: int = 1
    shift: int = 0
    channels: int = 1
    rgb_order: tuple[int, int, int] = (0, 1, 2)
    full_range: bool = False

    @property
    def is_rgb(self) -> bool:
        return self.family in ("packed", "gbr")

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)


def _layouts() -> dict[str, PixelLayout]:
    table: dict[str, PixelLayout] = {}
    for name, sub_x, sub_y in (("420", 2, 2), ("422", 2, 1), ("444", 1, 1)):
        table[f"yuvj{name}p"] = PixelLayout("planar", 8, sub_x, sub_y, full_range=True)
        for alpha in ("", "a"):
            table[f"yuv{alpha}{name}p"] = PixelLayout("planar", 8, sub_x, sub_y)
            for bits in (9, 10, 12, 14, 16):
                table[f"yuv{alpha}{name}p{bits}le"] = PixelLayout("planar", bits, sub_x, sub_y)
    for digit, sub_x, sub_y in ((0, 2, 2), (2, 2, 1), (4, 1, 1)):
        for bits in (10, 12, 16):
            name = f"p{digit}{bits}le"
            table[name] = PixelLayout("semiplanar", bits, sub_x, sub_y, shift=16 - bits)
    table["nv12"] = PixelLayout("semiplanar", 8, 2, 2)
    table["nv16"] = PixelLayout("semiplanar", 8, 2, 1)
    table["nv24"] = PixelLayout("semiplanar", 8, 1, 1)
    table["gray"] = PixelLayout("gray", 8)
    for bits in (9, 10, 12, 14, 16):
        table[f"gray{bits}le"] = PixelLayout("gray", bits)
        table[f"gbrp{bits}le"] = PixelLayout("gbr", bits, rgb_order=(2, 0, 1), full_range=True)
        table[f"gbrap{bits}le"] = PixelLayout("gbr", bits, rgb_order=(2, 0, 1), full_range=True)
    table["gbrp"] = table["gbrap"] = PixelLayout("gbr", 8, rgb_order=(2, 0, 1), full_range=True)
    for name, order in (
        ("rgb24", (0, 1, 2)), ("bgr24", (2, 1, 0)), ("rgba", (0, 1, 2)), ("bgra", (2, 1, 0)), ("argb", (1, 2, 3)),
        ("abgr", (3, 2, 1)), ("rgb0", (0, 1, 2)), ("bgr0", (2, 1, 0)), ("0rgb", (1, 2, 3)), ("0bgr", (3, 2, 1)),
    ):  # fmt: skip
        table[name] = PixelLayout("packed", 8, channels=3 if "24" in name else 4, rgb_order=order, full_range=True)
    table["rgb48le"] = PixelLayout("packed", 16, channels=3, full_range=True)
    table["bgr48le"] = PixelLayout("packed", 16, channels=3, rgb_order=(2, 1, 0), full_range=True)
    table["rgba64le"] = PixelLayout("packed", 16, channels=4, full_range=True)
    table["bgra64le"] = PixelLayout("packed", 16, channels=4, rgb_order=(2, 1, 0), full_range=True)
    return table


LAYOUTS: Mapping[str, PixelLayout] = MappingProxyType(_layouts())

# What a format that is not in LAYOUTS is converted to: the nearest that loses neither resolution nor depth.
_STAND_INS: Mapping[str, str] = MappingProxyType(
    {
        "pal8": "bgra", "yuyv422": "yuv422p", "uyvy422": "yuv422p", "yvyu422": "yuv422p", "yuv411p": "yuv422p",
        "yuvj411p": "yuvj422p", "yuv410p": "yuv420p", "yuv440p": "yuv444p", "yuvj440p": "yuvj444p", "nv21": "nv12",
        "nv42": "nv24", "monow": "gray", "monob": "gray", "ya8": "bgra", "ya16le": "rgba64le", "v210": "yuv422p10le",
        "y210le": "yuv422p10le", "y212le": "yuv422p12le", "xv30le": "yuv444p10le", "xv36le": "yuv444p12le",
        "x2rgb10le": "gbrp10le", "x2bgr10le": "gbrp10le", "vuya": "yuva444p", "vuyx": "yuv444p", "ayuv": "yuva444p",
        "nv20le": "yuv422p10le", "yuv440p10le": "yuv444p10le", "yuv440p12le": "yuv444p12le",
    }
)  # fmt: skip


def editable_format(pix_fmt: str) -> str:
    """`pix_fmt` itself where its samples can be edited in place, else the format to convert to."""
    if pix_fmt in LAYOUTS:
        return pix_fmt
    if pix_fmt in _STAND_INS:
        return _STAND_INS[pix_fmt]
    if pix_fmt.endswith("be") and f"{pix_fmt[:-2]}le" in LAYOUTS:
        return f"{pix_fmt[:-2]}le"
    return "gbrp16le" if any(mark in pix_fmt for mark in ("16", "12", "10", "14", "48", "64", "f32")) else "gbrp"


def plane_views(native: Any, pix_fmt: str, *, writable: bool = False) -> tuple[Array, ...]:
    """Views of a libav frame's planes, without its row padding; nothing is copied.

    (height, width) for planes of one sample a pixel, (height, width, channels) for interleaved ones. Works for rows
    stored bottom-up too.
    """
    layout = LAYOUTS[pix_fmt]
    size = layout.dtype.itemsize
    views = []
    for index, plane in enumerate(native.planes):
        channels = layout.channels if layout.family == "packed" else 2 if layout.family == "semiplanar" and index else 1
        row_bytes = abs(plane.line_size)
        shape = (plane.height, plane.width, channels) if channels > 1 else (plane.height, plane.width)
        strides = (row_bytes, size * channels, size) if channels > 1 else (row_bytes, size)
        view: Array = np.ndarray(shape, layout.dtype, buffer=plane, strides=strides)
        if plane.line_size < 0:
            view = view[::-1]
        view.flags.writeable = writable
        views.append(view)
    return tuple(views)

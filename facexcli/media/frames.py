"""Making `Frame` values out of libav frames and out of arrays."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from facexcli.media.pixels import plane_views
from facexcli.types import ColorDescription, Frame

if TYPE_CHECKING:
    from facexcli.types import Array, MediaInfo

# Code points of ITU-T H.273 used here. RGB pictures are sRGB with the identity matrix.
SRGB = ColorDescription(primaries=1, transfer=13, matrix=0, range=2)


def frame_color(native: Any, chroma_location: int = 0) -> ColorDescription:
    """The colour description that a decoded frame carries."""
    return ColorDescription(
        primaries=int(native.color_primaries),
        transfer=int(native.color_trc),
        matrix=int(native.colorspace),
        range=int(native.color_range),
        chroma_location=chroma_location,
    )


def frame_from_native(
    native: Any, index: int, pts: int, time_base: Fraction, duration: int, info: MediaInfo, color: ColorDescription
) -> Frame:
    """Wrap a libav frame in one of the editable formats; its planes are viewed, not copied."""
    pix_fmt = native.format.name
    return Frame(
        index=index,
        pts=pts,
        time_base=time_base,
        duration=duration,
        planes=plane_views(native, pix_fmt),
        pix_fmt=pix_fmt,
        color=color,
        rotation_deg=info.rotation_deg,
        mirrored=info.mirrored,
        native=native,
    )


def frame_from_rgb(rgb: Array, index: int, pts: int, time_base: Fraction, duration: int) -> Frame:
    """A made frame (rgb24, upright) out of uint8 (H, W, 3) RGB. The pixels are copied."""
    native = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    native.colorspace, native.color_range = SRGB.matrix, SRGB.range
    native.color_trc, native.color_primaries = SRGB.transfer, SRGB.primaries
    return Frame(
        index=index,
        pts=pts,
        time_base=time_base,
        duration=duration,
        planes=plane_views(native, "rgb24"),
        pix_fmt="rgb24",
        color=SRGB,
        native=native,
    )

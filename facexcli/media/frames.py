"""Making `Frame` values out of libav frames and out of arrays."""

from __future__ import annotations

import threading
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from av.filter import Graph

from facexcli.media.pixels import plane_views
from facexcli.types import ColorDescription, Frame

if TYPE_CHECKING:
    from facexcli.types import Array, MediaInfo

# Code points of ITU-T H.273 used here. RGB pictures are sRGB with the identity matrix.
SRGB = ColorDescription(primaries=1, transfer=13, matrix=0, range=2)
_MOST_AHEAD, _LEAST_AHEAD, _WAITING_BYTES = 6, 2, 32 << 20
# By bytes a sample and channels.
_PACKED = {(1, 3): "rgb24", (1, 4): "rgba", (2, 3): "rgb48le", (2, 4): "rgba64le"}


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
    """A made frame, upright, out of RGB (H, W, 3) or (H, W, 4) with alpha, uint8 or uint16. The pixels are copied."""
    pix_fmt = _PACKED[rgb.dtype.itemsize, rgb.shape[2]]
    native = av.VideoFrame(rgb.shape[1], rgb.shape[0], pix_fmt)
    plane_views(native, pix_fmt, writable=True)[0][...] = rgb
    native.colorspace, native.color_range = SRGB.matrix, SRGB.range
    native.color_trc, native.color_primaries = SRGB.transfer, SRGB.primaries
    return Frame(
        index=index,
        pts=pts,
        time_base=time_base,
        duration=duration,
        planes=plane_views(native, pix_fmt),
        pix_fmt=pix_fmt,
        color=SRGB,
        native=native,
    )


def writable_copy(frame: Frame) -> Any:
    """A libav frame with the same pixels, description and side data, whose planes may be written to.

    Side data (closed captions, HDR metadata) can only be carried over by libav, through a graph that passes on a
    reference; the pixels are then copied away from the decoder's. All frames go that way: to ask one for its side data
    would tie it into a reference cycle with them, and keep its pixels until the collector comes.
    """
    native = _referenced(frame.native)
    native.make_writable()  # two references: always copies
    native.pts, native.time_base, native.duration = frame.pts, frame.time_base, frame.duration
    return native


_graphs = threading.local()


def _referenced(native: Any) -> Any:
    """A second libav frame on the same buffers. Graphs are kept by thread, one for each kind of frame."""
    key = (native.width, native.height, native.format.name)
    if getattr(_graphs, "key", None) != key:
        graph = Graph()
        source = graph.add_buffer(
            width=native.width, height=native.height, format=native.format, time_base=Fraction(1, 1000)
        )
        source.link_to(graph.add("buffersink"))
        graph.configure()
        _graphs.key, _graphs.graph = key, graph
    _graphs.graph.push(native)
    return _graphs.graph.pull()


def frames_ahead(width_px: int, height_px: int, pix_fmt: str) -> int:
    """How many frames may wait between two threads: 6, and fewer of large ones, of which 32 MB wait at most, or two."""
    parts = av.VideoFormat(pix_fmt, width_px, height_px).components
    size_bytes = sum(part.width * part.height * (part.bits + 7) // 8 for part in parts)
    return max(_LEAST_AHEAD, min(_MOST_AHEAD, _WAITING_BYTES // max(1, size_bytes)))

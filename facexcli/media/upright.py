"""A whole frame as the pixels of a picture: upright, with its depth and its alpha channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facexcli.media.color import rgb_roi
from facexcli.media.orient import oriented
from facexcli.media.pixels import LAYOUTS
from facexcli.media.signal import code_values, saturated
from facexcli.media.tone import is_hdr

if TYPE_CHECKING:
    from facexcli.media.pixels import PixelLayout
    from facexcli.types import Array, Frame


def upright_pixels(frame: Frame) -> Array:
    """RGB (H, W, 3), or (H, W, 4) where the frame's format has an alpha channel; display-oriented.

    uint8 for formats of 8 bits, uint16 in 0..65535 for all others. Packed RGB keeps its very values; PQ and HLG are
    shown as SDR, as `media.color.rgb_roi` does it.
    """
    layout = LAYOUTS[frame.pix_fmt]
    as_it_is = layout.family == "packed" and not is_hdr(frame.color)
    rgb = _packed_rgb(frame, layout) if as_it_is else _converted_rgb(frame, layout)
    alpha = alpha_plane(frame)
    if alpha is None:
        return rgb
    peak = np.iinfo(rgb.dtype).max
    scale = np.float32(peak / ((1 << layout.bits) - 1))
    share = alpha if layout.bits in (8, 16) else saturated(code_values(alpha, layout) * scale, rgb.dtype)
    return np.dstack([rgb, oriented(share, frame.rotation_deg, frame.mirrored)])


def alpha_plane(frame: Frame) -> Array | None:
    """The alpha samples (h, w) as the decoder has them, 0 for clear; None for a format without them."""
    if not has_alpha(frame.pix_fmt):
        return None
    layout = LAYOUTS[frame.pix_fmt]
    if layout.family != "packed":
        return frame.planes[-1]
    (channel,) = {0, 1, 2, 3} - set(layout.rgb_order)
    return frame.planes[0][..., channel]


def has_alpha(pix_fmt: str) -> bool:
    """Whether an editable format has an alpha channel. The fourth channel of `rgb0` says nothing."""
    return pix_fmt.startswith(("yuva", "gbrap")) or pix_fmt in _PACKED_WITH_ALPHA


_PACKED_WITH_ALPHA = frozenset(("rgba", "bgra", "argb", "abgr", "rgba64le", "bgra64le"))


def _packed_rgb(frame: Frame, layout: PixelLayout) -> Array:
    rgb = frame.planes[0][..., list(layout.rgb_order)]
    return oriented(rgb, frame.rotation_deg, frame.mirrored)


def _converted_rgb(frame: Frame, layout: PixelLayout) -> Array:
    height, width = frame.planes[0].shape[:2]
    box = (0, 0, height, width) if frame.rotation_deg % 180 else (0, 0, width, height)
    if layout.bits == 8:
        return rgb_roi(frame, box)
    return saturated(rgb_roi(frame, box, np.float32) * np.float32(65535), np.dtype(np.uint16))

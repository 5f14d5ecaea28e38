"""Affine crops of YUV and RGB frames, and back: planes are resampled as they are, and only crops are converted.

A crop is often smaller than the part of the frame that it shows, and always smaller than its pixels at full chroma
resolution, so conversion costs least there.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.affine import resample, shift, transform_points
from facexcli.media.color import blend_samples, codes_of
from facexcli.media.frames import writable_copy
from facexcli.media.orient import native_from_frame
from facexcli.media.pixels import LAYOUTS, plane_views
from facexcli.media.signal import components, rgb_from_codes, saturated
from facexcli.media.tone import is_hdr, sdr_from_hdr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.media.pixels import PixelLayout
    from facexcli.media.signal import Component
    from facexcli.types import Array, Frame

_UINT8 = np.dtype(np.uint8)
PixelBox = tuple[int, int, int, int]


def rgb_crop(frame: Frame, crop_from_frame: Array, size_px: int) -> Array:
    """An affine crop of a frame as uint8 (S, S, 3) RGB; beyond the frame its border is replicated.

    `crop_from_frame` is float64 (3, 3), from display-oriented frame pixels.
    """
    layout = LAYOUTS[frame.pix_fmt]
    crop_from_native = crop_from_frame @ np.linalg.inv(native_from_frame(frame))
    enlarges = abs(np.linalg.det(crop_from_native[:2, :2])) > 1
    channels = [
        resample(part.plane, crop_from_native @ part.native_from_plane, (size_px, size_px), smooth=enlarges)
        for part in components(frame, frame.planes)
    ]
    codes: Array = cv2.merge(channels) if len(channels) > 1 else channels[0]
    if layout.shift:
        codes = codes >> layout.shift
    if is_hdr(frame.color):
        signal = cv2.transform(codes.astype(np.float32), rgb_from_codes(frame))
        return saturated(sdr_from_hdr(signal, frame.color) * np.float32(255), _UINT8)
    if layout.is_rgb and layout.bits == 8:
        return codes
    rgb = cv2.transform(codes, rgb_from_codes(frame, 255.0))
    return rgb if rgb.dtype == _UINT8 else np.minimum(rgb, 255).astype(np.uint8)


def put_crop(frame: Frame, crop_from_frame: Array, rgb: Array, alpha: Array) -> Frame:
    """A new frame with a crop laid over it by `alpha`; the given frame is left as it is.

    Blends in the frame's own code values, each component at its own resolution: V' = (1 - alpha) V + alpha V(rgb).
    Only samples that `alpha` reaches are touched; all others keep their bits.

    Args:
        crop_from_frame: float64 (3, 3), from display-oriented frame pixels.
        rgb: float32 (S, S, 3) in 0..1.
        alpha: float32 (S, S) in 0..1, 0 along the rim of the crop.
    """
    left, top, width, height = cv2.boundingRect((alpha > 0).astype(np.uint8))
    if not width:
        return frame
    # The interpolation reaches one pixel beyond.
    x0, y0 = max(0, left - 1), max(0, top - 1)
    window = np.s_[y0 : top + height + 1, x0 : left + width + 1]
    window_from_native = shift(-x0, -y0) @ crop_from_frame @ np.linalg.inv(native_from_frame(frame))
    values = cv2.split(codes_of(frame, np.ascontiguousarray(rgb[window])))
    share = np.ascontiguousarray(alpha[window])
    native = writable_copy(frame)
    planes = plane_views(native, frame.pix_fmt, writable=True)
    pairs = zip(components(frame, planes), values, strict=True)
    for _, group in groupby(pairs, key=lambda pair: pair[0].step):
        parts = list(group)
        window_from_plane = window_from_native @ parts[0][0].native_from_plane
        box = _reached(np.linalg.inv(window_from_plane), share.shape, parts[0][0].plane.shape)
        if box is not None:
            _blend_box(box, window_from_plane, parts, share, LAYOUTS[frame.pix_fmt])
    return replace(frame, planes=plane_views(native, frame.pix_fmt), native=native)


def _blend_box(
    box: PixelBox,
    window_from_plane: Array,
    parts: Sequence[tuple[Component, Array]],
    share: Array,
    layout: PixelLayout,
) -> None:
    """Blend values (h, w) of a window into a box of components that lie alike, in place."""
    left, top, right, bottom = box
    box_from_window = np.linalg.inv(window_from_plane @ shift(left, top))
    size = (right - left, bottom - top)
    alpha = resample(share, box_from_window, size, smooth=False)
    for component, value in parts:
        warped = resample(value, box_from_window, size, smooth=False)
        blend_samples(component.plane[top:bottom, left:right], warped, alpha, layout)


def _reached(plane_from_window: Array, window_shape: tuple[int, ...], plane_shape: tuple[int, ...]) -> PixelBox | None:
    """The samples (x0, y0, x1, y1) of a plane that lie in a window; None where there are none."""
    bottom, right = window_shape[0] - 1, window_shape[1] - 1
    corners = transform_points(plane_from_window, np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]]))
    low = np.maximum(np.ceil(corners.min(axis=0)).astype(int), 0)
    high = np.minimum(np.floor(corners.max(axis=0)).astype(int) + 1, plane_shape[1::-1])
    if np.any(high <= low):
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])

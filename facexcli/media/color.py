"""Upright boxes of YUV and RGB frames as RGB, and back into the planes. `media.crops` does the same for affine crops.

Between subsampled chroma and full resolution lie a bilinear interpolation and its transpose, at the chroma location of
the stream. Everything is done in float32 on the region alone and rounded once. PQ and HLG are shown as SDR, see
`media.tone`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facexcli.affine import shift
from facexcli.media.frames import writable_copy
from facexcli.media.orient import PixelBox, native_box, oriented, unoriented
from facexcli.media.pixels import LAYOUTS, PixelLayout, plane_views
from facexcli.media.signal import (
    Component,
    code_values,
    codes_from_rgb,
    components,
    rgb_from_codes,
    saturated,
    stored,
)
from facexcli.media.tone import hdr_from_sdr, is_hdr, sdr_from_hdr

if TYPE_CHECKING:
    from facexcli.types import Array, Frame

_UINT8 = np.dtype(np.uint8)


def rgb_roi(frame: Frame, box: PixelBox, dtype: Any = np.uint8) -> Array:
    """A region of a frame as (h, w, 3) RGB, display-oriented. `box` lies inside the frame.

    `dtype` is uint8, or float32 for 0..1 without rounding: values beyond black and white are then kept.
    """
    white = 255.0 if np.dtype(dtype) == _UINT8 and not is_hdr(frame.color) else 1.0
    rgb = cv2.transform(_at_full_resolution(frame, native_box(frame, box)), rgb_from_codes(frame, white))
    if is_hdr(frame.color):
        rgb = sdr_from_hdr(rgb, frame.color)
        white = 1.0
    if np.dtype(dtype) == _UINT8:
        rgb = saturated(rgb if white == 255.0 else rgb * np.float32(255), _UINT8)
    return oriented(rgb, frame.rotation_deg, frame.mirrored)


def put_roi(frame: Frame, box: PixelBox, rgb: Array, alpha: Array) -> Frame:
    """A new frame with `rgb` laid over the region `box` by `alpha`; the given frame is left as it is.

    rgb: float32 (h, w, 3) in 0..1, or uint8; alpha: float32 (h, w) in 0..1; both display-oriented. Blends in the
    frame's own code values: V' = (1 - alpha) V + alpha V(rgb); for subsampled chroma both terms are means over
    the sample's footprint. A sample whose footprint has alpha 0 everywhere keeps its bits.
    """
    layout, native_region = LAYOUTS[frame.pix_fmt], native_box(frame, box)
    turned_rgb = unoriented(rgb, frame.rotation_deg, frame.mirrored)
    turned_alpha = np.ascontiguousarray(unoriented(alpha, frame.rotation_deg, frame.mirrored), np.float32)
    if turned_rgb.dtype == np.uint8:
        turned_rgb = turned_rgb.astype(np.float32) * np.float32(1 / 255)
    values = cv2.split(codes_of(frame, np.ascontiguousarray(turned_rgb)))
    native = writable_copy(frame)
    planes = plane_views(native, frame.pix_fmt, writable=True)
    for component, value in zip(components(frame, planes), values, strict=True):
        if component.step == (1, 1):
            x0, y0, x1, y1 = native_region
            blend_samples(component.plane[y0:y1, x0:x1], value, turned_alpha, layout)
        else:
            _blend_footprints(component, native_region, value, turned_alpha, layout)
    return replace(frame, planes=plane_views(native, frame.pix_fmt), native=native)


def codes_of(frame: Frame, rgb: Array) -> Array:
    """R'G'B' float32 (h, w, 3) in 0..1 as the frame's code values, float32 (h, w, n) for its n components."""
    if is_hdr(frame.color):
        rgb = hdr_from_sdr(rgb, frame.color)
    codes = cv2.transform(rgb, codes_from_rgb(frame))
    return codes if codes.ndim == 3 else codes[..., None]


def blend_samples(target: Array, values: Array, alpha: Array, layout: PixelLayout) -> None:
    """target = (1 - alpha) target + alpha values, in place, rounded once; exact where alpha is 0."""
    old = code_values(target, layout)
    change = values - old
    change *= alpha
    change += old
    target[...] = stored(change, layout)


def _at_full_resolution(frame: Frame, box: PixelBox) -> Array:
    """The code values of a region of the decoder's pixels, float32 (h, w, n), bilinear at the chroma location."""
    layout, (x0, y0, x1, y1) = LAYOUTS[frame.pix_fmt], box
    channels = []
    for component in components(frame, frame.planes):
        if component.step == (1, 1):
            channels.append(code_values(component.plane[y0:y1, x0:x1], layout))
            continue
        rows, columns = component.plane.shape
        step_x, step_y = component.step
        left, right = max(0, x0 // step_x - 1), min(columns, x1 // step_x + 2)
        top, bottom = max(0, y0 // step_y - 1), min(rows, y1 // step_y + 2)
        # As cv2.WARP_INVERSE_MAP wants it; the fractions are multiples of 1/4, which it does exactly.
        plane_from_roi = shift(-left, -top) @ np.linalg.inv(component.native_from_plane) @ shift(x0, y0)
        channels.append(
            cv2.warpAffine(
                code_values(component.plane[top:bottom, left:right], layout),
                plane_from_roi[:2],
                (x1 - x0, y1 - y0),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )
    return cv2.merge(channels) if len(channels) > 1 else channels[0][..., None]


def _blend_footprints(component: Component, box: PixelBox, values: Array, alpha: Array, layout: PixelLayout) -> None:
    """Blend values at luma resolution into a subsampled component, in place."""
    x0, y0 = box[:2]
    rows, columns = component.plane.shape

    def means(weighted: Array) -> tuple[Array, int, int]:
        tall, top = _footprint_means(weighted, y0, rows, component.step[1], component.first[1])
        wide, left = _footprint_means(tall.T, x0, columns, component.step[0], component.first[0])
        return wide.T, top, left

    weight, top, left = means(alpha)
    changed, _, _ = means(values * alpha)
    window = component.plane[top : top + weight.shape[0], left : left + weight.shape[1]]
    old = code_values(window, layout)
    window[...] = stored(np.ascontiguousarray(old * (1 - weight) + changed), layout)


def _footprint_means(rows: Array, first: int, count: int, step: int, siting: float) -> tuple[Array, int]:
    """Means of luma rows over the chroma samples that they reach, along axis 0.

    `first` is the frame row of rows[0], `count` the number of chroma rows. Outside the region everything is zero.
    A sample between two rows is their mean; one on a row takes it and half of its neighbours (the transpose of the
    bilinear interpolation). Returns (means, index of the first sample).
    """
    if step == 1:
        return rows, first
    last = first + rows.shape[0]
    begin = first // 2
    end = min(count, last // 2 + 1)
    padded = np.zeros_like(rows, shape=(2 * (end - begin) + 2, *rows.shape[1:]))  # padded[0] is frame row 2 begin - 1
    offset = first - (2 * begin - 1)
    kept = min(rows.shape[0], padded.shape[0] - offset)
    padded[offset : offset + kept] = rows[:kept]
    before, on, after, later = padded[0:-2:2], padded[1:-1:2], padded[2::2], padded[3::2]
    if siting == 0.0:
        return on * np.float32(0.5) + (before + after) * np.float32(0.25), begin
    if siting == 1.0:
        on_next = np.concatenate([later, np.zeros_like(on[:1])])[: on.shape[0]]
        return after * np.float32(0.5) + (on + on_next) * np.float32(0.25), begin
    return (on + after) * np.float32(0.5), begin

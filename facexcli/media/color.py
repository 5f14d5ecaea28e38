"""Regions of YUV and RGB frames as upright RGB, and back into the planes.

Matrices and ranges are those of ITU-R BT.601-7, BT.709-6 and BT.2020-2 (non-constant luminance), quantized as in
BT.2100 table 9. Between subsampled chroma and full resolution lie a bilinear interpolation and its transpose, at the
chroma location of the stream. Everything is done in float32 on the region alone and rounded once.

PQ and HLG regions are handed out with their own curve. A reversible SDR rendition belongs in `_signal_to_rgb` and
`_rgb_to_signal`, through which every region passes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from av.video.reformatter import Colorspace

from facexcli.media.frames import writable_copy
from facexcli.media.orient import PixelBox, native_box, oriented, unoriented
from facexcli.media.pixels import LAYOUTS, PixelLayout, plane_views

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.types import Array, ColorDescription, Frame

# (Kr, Kb) by H.273 matrix code point.
_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
# (x, y) of the first chroma sample among luma samples, by FFmpeg's chroma location and for a subsampling of two.
_SITING = {1: (0.0, 0.5), 2: (0.5, 0.5), 3: (0.0, 0.0), 4: (0.5, 0.0), 5: (0.0, 1.0), 6: (0.5, 1.0)}
SWS_MATRIX: dict[int, int] = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
"""swscale's own numbers of H.273 matrix code points."""
_SD_HEIGHT_PX = 576
_PQ, _HLG = 16, 18


def is_hdr(color: ColorDescription) -> bool:
    """Whether the transfer is PQ (SMPTE ST 2084) or HLG (ARIB STD-B67)."""
    return color.transfer in (_PQ, _HLG)


def rgb_roi(frame: Frame, box: PixelBox) -> Array:
    """A region of a frame as uint8 (h, w, 3) RGB, display-oriented. `box` lies inside the frame."""
    rgb = _signal_to_rgb(frame, *native_box(frame, box))
    return oriented(rgb, frame.rotation_deg, frame.mirrored)


def put_roi(frame: Frame, box: PixelBox, rgb: Array, alpha: Array) -> Frame:
    """A new frame with `rgb` laid over the region `box` by `alpha`; the given frame is left as it is.

    rgb: float32 (h, w, 3) in 0..1, or uint8; alpha: float32 (h, w) in 0..1; both display-oriented. Blends in the
    frame's own code values: V' = (1 - alpha) V + alpha V(rgb); for subsampled chroma both terms are means over
    the sample's footprint. A sample whose footprint has alpha 0 everywhere keeps its bits.
    """
    x0, y0, x1, y1 = native_box(frame, box)
    turned_rgb = unoriented(rgb, frame.rotation_deg, frame.mirrored)
    turned_alpha = np.ascontiguousarray(unoriented(alpha, frame.rotation_deg, frame.mirrored), np.float32)
    if turned_rgb.dtype == np.uint8:
        turned_rgb = turned_rgb.astype(np.float32) * np.float32(1 / 255)
    else:
        turned_rgb = np.clip(turned_rgb, 0.0, 1.0, dtype=np.float32)
    native = writable_copy(frame)
    planes = plane_views(native, frame.pix_fmt, writable=True)
    _rgb_to_signal(frame, planes, (x0, y0, x1, y1), turned_rgb, turned_alpha)
    return replace(frame, planes=plane_views(native, frame.pix_fmt), native=native)


def _signal_to_rgb(frame: Frame, x0: int, y0: int, x1: int, y1: int) -> Array:
    """uint8 RGB of a region in the decoder's orientation."""
    layout = LAYOUTS[frame.pix_fmt]
    if layout.is_rgb:
        return _to_uint8([_rgb_channel(frame.planes, layout, i)[y0:y1, x0:x1] for i in range(3)], layout)
    luma = _code_values(frame.planes[0][y0:y1, x0:x1], layout)
    matrix = _rgb_from_code_values(_matrix_code(frame), _is_full_range(frame, layout), layout.bits)
    if layout.family == "gray":
        neutral = np.float32(128 << (layout.bits - 8))
        grey = luma * matrix[0, 0] + (matrix[0, 1] + matrix[0, 2]) * neutral + matrix[0, 3]
        return np.repeat(_saturated(grey, np.dtype(np.uint8))[..., None], 3, axis=2)
    chroma = _upsampled_chroma(frame, layout, (x0, y0, x1, y1))
    rgb = cv2.transform(cv2.merge((luma, *chroma)), matrix)
    return _saturated(rgb, np.dtype(np.uint8))


def _rgb_to_signal(frame: Frame, planes: tuple[Array, ...], box: PixelBox, rgb: Array, alpha: Array) -> None:
    """Blend float32 RGB in 0..1 into writable planes, in the decoder's orientation."""
    layout = LAYOUTS[frame.pix_fmt]
    x0, y0, x1, y1 = box
    if layout.is_rgb:
        peak = np.float32((1 << layout.bits) - 1)
        for index in range(3):
            target = _rgb_channel(planes, layout, index)[y0:y1, x0:x1]
            _blend(target, rgb[..., index] * peak, alpha, layout)
        return
    matrix = _code_values_from_rgb(_matrix_code(frame), _is_full_range(frame, layout), layout.bits)
    luma, cb, cr = cv2.split(cv2.transform(np.ascontiguousarray(rgb), matrix))
    _blend(planes[0][y0:y1, x0:x1], luma, alpha, layout)
    if layout.family != "gray":
        _blend_chroma(frame, layout, planes, box, (cb, cr), alpha)


def _blend(target: Array, values: Array, alpha: Array, layout: PixelLayout) -> None:
    """target = (1 - alpha) target + alpha values, in place, rounded once; exact where alpha is 0."""
    old = _code_values(target, layout)
    change = values - old
    change *= alpha
    change += old
    target[...] = _stored(change, layout)


def _blend_chroma(
    frame: Frame, layout: PixelLayout, planes: tuple[Array, ...], box: PixelBox, values: Sequence[Array], alpha: Array
) -> None:
    x0, y0 = box[:2]
    siting_x, siting_y = _siting(frame, layout)
    width, height = frame.native.width, frame.native.height

    def means(weighted: Array) -> tuple[Array, int, int]:
        rows, top = _footprint_means(weighted, y0, height, layout.sub_y, siting_y)
        columns, left = _footprint_means(rows.T, x0, width, layout.sub_x, siting_x)
        return columns.T, top, left

    weight, top, left = means(alpha)
    window = np.s_[top : top + weight.shape[0], left : left + weight.shape[1]]
    for index, chroma in enumerate(values):
        plane = planes[1][..., index] if layout.family == "semiplanar" else planes[1 + index]
        old = _code_values(plane[window], layout)
        changed, _, _ = means(chroma * alpha)
        plane[window] = _stored(np.ascontiguousarray(old * (1 - weight) + changed), layout)


def _footprint_means(rows: Array, first: int, limit: int, step: int, siting: float) -> tuple[Array, int]:
    """Means of luma rows over the chroma samples that they reach, along axis 0.

    `first` is the frame row of rows[0], `limit` the number of rows in the frame. Outside the region everything is zero.
    A sample between two rows is their mean; one on a row takes it and half of its neighbours (the transpose of the
    bilinear interpolation). Returns (means, index of the first sample).
    """
    if step == 1:
        return rows, first
    last = first + rows.shape[0]
    begin = first // 2
    end = min((limit + 1) // 2, last // 2 + 1)
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


def _upsampled_chroma(frame: Frame, layout: PixelLayout, box: PixelBox) -> list[Array]:
    """Both chroma planes of a region at luma resolution, float32 code values, bilinear at the chroma location."""
    x0, y0, x1, y1 = box
    chroma = frame.planes[1:3] if layout.family == "planar" else (frame.planes[1][..., 0], frame.planes[1][..., 1])
    if layout.sub_x == layout.sub_y == 1:
        return [_code_values(plane[y0:y1, x0:x1], layout) for plane in chroma]
    siting_x, siting_y = _siting(frame, layout)
    rows, cols = chroma[0].shape
    left, right = max(0, x0 // layout.sub_x - 1), min(cols, x1 // layout.sub_x + 2)
    top, bottom = max(0, y0 // layout.sub_y - 1), min(rows, y1 // layout.sub_y + 2)
    # Destination to source, as cv2.WARP_INVERSE_MAP wants it; fractions are multiples of 1/4, which it does exactly.
    source_from_roi = np.array(
        [
            [1 / layout.sub_x, 0, (x0 - siting_x) / layout.sub_x - left],
            [0, 1 / layout.sub_y, (y0 - siting_y) / layout.sub_y - top],
        ]
    )
    return [
        cv2.warpAffine(
            _code_values(plane[top:bottom, left:right], layout),
            source_from_roi,
            (x1 - x0, y1 - y0),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for plane in chroma
    ]


def _siting(frame: Frame, layout: PixelLayout) -> tuple[float, float]:
    x, y = _SITING.get(frame.color.chroma_location, _SITING[1])
    return x if layout.sub_x == 2 else 0.0, y if layout.sub_y == 2 else 0.0


def sws_matrix(frame: Frame) -> int | None:
    """swscale's number of the frame's matrix, for reformatting; None for RGB."""
    return None if LAYOUTS[frame.pix_fmt].is_rgb else SWS_MATRIX[_matrix_code(frame)]


def _matrix_code(frame: Frame) -> int:
    """The matrix of the stream; where it is not told, by height, as FFmpeg and players do."""
    if frame.color.matrix in _LUMA_WEIGHTS:
        return frame.color.matrix
    return 6 if frame.native.height <= _SD_HEIGHT_PX else 1


def _is_full_range(frame: Frame, layout: PixelLayout) -> bool:
    if layout.family == "gray":
        return frame.color.range != 1  # as swscale has it
    return layout.full_range or frame.color.range == 2


@lru_cache(maxsize=64)
def _code_values_from_rgb(matrix_code: int, full_range: bool, bits: int) -> Array:
    """(3, 4) float32: RGB in 0..1 to Y, Cb, Cr code values (BT.2100 table 9; full range: H.273 equations 26 to 31)."""
    kr, kb = _LUMA_WEIGHTS[matrix_code]
    kg = 1 - kr - kb
    luma = np.array([kr, kg, kb])
    cb = (np.array([0, 0, 1]) - luma) / (2 * (1 - kb))
    cr = (np.array([1, 0, 0]) - luma) / (2 * (1 - kr))
    unit = 1 << (bits - 8)
    peak = (1 << bits) - 1
    luma_scale, luma_offset, chroma_scale = (peak, 0, peak) if full_range else (219 * unit, 16 * unit, 224 * unit)
    matrix = np.zeros((3, 4))
    matrix[0, :3], matrix[0, 3] = luma * luma_scale, luma_offset
    matrix[1, :3], matrix[2, :3] = cb * chroma_scale, cr * chroma_scale
    matrix[1:, 3] = 128 * unit
    return matrix.astype(np.float32)


@lru_cache(maxsize=64)
def _rgb_from_code_values(matrix_code: int, full_range: bool, bits: int) -> Array:
    """(3, 4) float32: Y, Cb, Cr code values to RGB in 0..255."""
    forward = _code_values_from_rgb(matrix_code, full_range, bits).astype(np.float64)
    inverse = 255 * np.linalg.inv(forward[:, :3])
    return np.hstack([inverse, -inverse @ forward[:, 3:]]).astype(np.float32)


def _code_values(samples: Array, layout: PixelLayout) -> Array:
    """Stored samples as contiguous float32 code values."""
    if layout.shift:
        samples = samples >> layout.shift
    return samples.astype(np.float32, order="C")


def _stored(values: Array, layout: PixelLayout) -> Array:
    stored = _saturated(values, layout.dtype)
    if layout.bits not in (8, 16):
        stored = np.minimum(stored, (1 << layout.bits) - 1)
    return stored << layout.shift if layout.shift else stored


def _saturated(values: Array, dtype: np.dtype[Any]) -> Array:
    """Rounded to nearest and clipped into an unsigned integer type."""
    depth = cv2.CV_8U if dtype == np.uint8 else cv2.CV_16U
    saturated = cv2.add(values, 0.0, dtype=depth)  # type: ignore[call-overload]
    return np.asarray(saturated).reshape(values.shape)


def _to_uint8(channels: list[Array], layout: PixelLayout) -> Array:
    rgb = np.stack(channels, axis=-1)
    if layout.bits == 8:
        return rgb
    return _saturated(rgb.astype(np.float32) * np.float32(255 / ((1 << layout.bits) - 1)), np.dtype(np.uint8))


def _rgb_channel(planes: tuple[Array, ...], layout: PixelLayout, index: int) -> Array:
    position = layout.rgb_order[index]
    return planes[0][..., position] if layout.family == "packed" else planes[position]

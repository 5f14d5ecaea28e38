"""Code values of video signals: matrices, ranges, chroma locations, and where each component's samples lie.

Matrices and ranges are those of ITU-R BT.601-7, BT.709-6 and BT.2020-2 (non-constant luminance), quantized as in
BT.2100 table 9.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from av.video.reformatter import Colorspace

from facexcli.media.pixels import LAYOUTS, PixelLayout

if TYPE_CHECKING:
    from facexcli.types import Array, Frame

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


@dataclass(frozen=True, slots=True)
class Component:
    """The samples of Y, Cb or Cr, or of R, G or B. plane: (h, w), a view into the frame's planes.

    Luma sample = `step` * component sample + `first`, along x and y.
    """

    plane: Array
    step: tuple[int, int]
    first: tuple[float, float]

    @property
    def native_from_plane(self) -> Array:
        """float64 (3, 3): the decoder's pixels from this component's samples."""
        return np.array([[self.step[0], 0, self.first[0]], [0, self.step[1], self.first[1]], [0, 0, 1]], np.float64)


def components(frame: Frame, planes: tuple[Array, ...]) -> tuple[Component, ...]:
    """The components of `planes`, laid out as the frame's own: one for grey pictures, else three.

    Luma first; components of the same `step` follow each other. Alpha channels are left out.
    """
    layout = LAYOUTS[frame.pix_fmt]
    if layout.family == "packed":
        return tuple(Component(planes[0][..., channel], (1, 1), (0.0, 0.0)) for channel in layout.rgb_order)
    if layout.family == "gbr":
        return tuple(Component(planes[index], (1, 1), (0.0, 0.0)) for index in layout.rgb_order)
    luma = Component(planes[0], (1, 1), (0.0, 0.0))
    if layout.family == "gray":
        return (luma,)
    chroma = planes[1:3] if layout.family == "planar" else (planes[1][..., 0], planes[1][..., 1])
    x, y = _SITING.get(frame.color.chroma_location, _SITING[1])
    first = (x if layout.sub_x == 2 else 0.0, y if layout.sub_y == 2 else 0.0)
    return (luma, *(Component(plane, (layout.sub_x, layout.sub_y), first) for plane in chroma))


def rgb_from_codes(frame: Frame, white: float = 1.0) -> Array:
    """float32 (3, n + 1): the frame's code values, of its n components, to R'G'B' in 0..`white`."""
    return _rgb_from_codes(_system(frame), LAYOUTS[frame.pix_fmt].family == "gray", white)


def codes_from_rgb(frame: Frame) -> Array:
    """float32 (n, 4): R'G'B' in 0..1 to the frame's code values, of its n components."""
    return _codes_from_rgb(_system(frame), LAYOUTS[frame.pix_fmt].family == "gray").astype(np.float32)


def sws_matrix(frame: Frame) -> int | None:
    """swscale's number of the frame's matrix, for reformatting; None for RGB."""
    return None if LAYOUTS[frame.pix_fmt].is_rgb else SWS_MATRIX[_matrix_code(frame)]


@dataclass(frozen=True, slots=True)
class _System:
    """`matrix_code` is 0 for RGB."""

    matrix_code: int
    full_range: bool
    bits: int


def _system(frame: Frame) -> _System:
    layout = LAYOUTS[frame.pix_fmt]
    if layout.is_rgb:
        return _System(0, True, layout.bits)
    if layout.family == "gray":
        return _System(_matrix_code(frame), frame.color.range != 1, layout.bits)  # as swscale has it
    return _System(_matrix_code(frame), layout.full_range or frame.color.range == 2, layout.bits)


def _matrix_code(frame: Frame) -> int:
    return assumed_matrix(frame.color.matrix, frame.native.height)


def assumed_matrix(matrix: int, height_px: int) -> int:
    """A stream's matrix, by its H.273 code; where it is not told, by the height, as FFmpeg and players do."""
    if matrix in _LUMA_WEIGHTS:
        return matrix
    return 6 if height_px <= _SD_HEIGHT_PX else 1


@lru_cache(maxsize=64)
def _codes_from_rgb(system: _System, grey: bool) -> Array:
    """float64 (n, 4) (BT.2100 table 9; full range: H.273 equations 26 to 31)."""
    unit, peak = 1 << (system.bits - 8), (1 << system.bits) - 1
    matrix = np.zeros((3, 4))
    if system.matrix_code == 0:
        matrix[:, :3] = np.eye(3) * peak
        return matrix
    kr, kb = _LUMA_WEIGHTS[system.matrix_code]
    luma = np.array([kr, 1 - kr - kb, kb])
    cb = (np.array([0, 0, 1]) - luma) / (2 * (1 - kb))
    cr = (np.array([1, 0, 0]) - luma) / (2 * (1 - kr))
    luma_scale, luma_offset, chroma_scale = (219 * unit, 16 * unit, 224 * unit)
    if system.full_range:
        luma_scale, luma_offset, chroma_scale = (peak, 0, peak)
    matrix[0, :3], matrix[0, 3] = luma * luma_scale, luma_offset
    matrix[1, :3], matrix[2, :3] = cb * chroma_scale, cr * chroma_scale
    matrix[1:, 3] = 128 * unit
    return matrix[:1] if grey else matrix


@lru_cache(maxsize=64)
def _rgb_from_codes(system: _System, grey: bool, white: float) -> Array:
    forward = _codes_from_rgb(system, grey)
    if grey:
        scale, offset = forward[0, :3].sum(), forward[0, 3]
        return np.tile(white * np.array([[1.0, -offset]]) / scale, (3, 1)).astype(np.float32)
    inverse = white * np.linalg.inv(forward[:, :3])
    return np.hstack([inverse, -inverse @ forward[:, 3:]]).astype(np.float32)


def code_values(samples: Array, layout: PixelLayout) -> Array:
    """Stored samples as contiguous float32 code values."""
    if layout.shift:
        samples = samples >> layout.shift
    return samples.astype(np.float32, order="C")


def stored(values: Array, layout: PixelLayout) -> Array:
    """Code values as samples: rounded to nearest, clipped, shifted to where the format has them."""
    samples = saturated(values, layout.dtype)
    if layout.bits not in (8, 16):
        samples = np.minimum(samples, (1 << layout.bits) - 1)
    return samples << layout.shift if layout.shift else samples


def saturated(values: Array, dtype: np.dtype[Any]) -> Array:
    """Rounded to nearest and clipped into uint8 or uint16."""
    depth = cv2.CV_8U if dtype == np.uint8 else cv2.CV_16U
    return np.asarray(cv2.add(values, 0.0, dtype=depth)).reshape(values.shape)  # type: ignore[call-overload]

"""Affine maps between pictures: points, the part of a picture that a square is made of, and resampling.

Matrices are float (3, 3), destination_from_source, and act on columns (x, y, 1); pixel centres lie at integers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from facexcli.types import Array


def transform_points(matrix: Array, points: Array) -> Array:
    """`points` (..., 2) through an affine `matrix` (3, 3); float64."""
    return np.asarray(points, np.float64) @ matrix[:2, :2].T + matrix[:2, 2]


def shift(x: float, y: float) -> Array:
    """The matrix that moves points by (x, y); float64 (3, 3)."""
    return np.array([[1.0, 0, x], [0, 1.0, y], [0, 0, 1]])


def crop_box(
    matrix: Array, size_px: int | tuple[int, int], image_size_px: tuple[int, int], margin_px: int = 3
) -> tuple[int, int, int, int]:
    """The part (x0, y0, x1, y1) of an image that a crop is made of, clipped to the image, never empty.

    Args:
        matrix: crop_from_image.
        size_px: side of the crop, or its (width, height).
        image_size_px: (width, height).
        margin_px: room for the interpolation kernel.
    """
    width, height = (size_px, size_px) if isinstance(size_px, int) else size_px
    right, bottom = width - 0.5, height - 0.5
    corners = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])
    in_image = transform_points(np.linalg.inv(matrix), corners)
    limits = np.array(image_size_px)
    low = np.clip(np.floor(in_image.min(axis=0)).astype(int) - margin_px, 0, limits - 1)
    high = np.clip(np.ceil(in_image.max(axis=0)).astype(int) + margin_px + 1, low + 1, limits)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def resample(image: Array, output_from_image: Array, size_px: tuple[int, int], smooth: bool = True) -> Array:
    """Warp `image` to (width, height) `size_px` by an affine map; borders replicated; without aliasing.

    `smooth` enlarges with cubic weights instead of linear ones. Keeps the dtype: uint8, uint16 or float32.
    """
    scale = float(np.sqrt(abs(np.linalg.det(output_from_image[:2, :2]))))
    matrix = output_from_image
    steps = int(1 / scale + 1e-6) if scale > 0 else 1  # a half is a half, whatever the rounding
    if steps >= 2:
        image, matrix = _reduced(image, matrix, size_px, steps)
    # Cubic keeps detail when enlarging; when reducing it only adds ringing.
    flags = cv2.INTER_CUBIC if scale > 1 and smooth else cv2.INTER_LINEAR
    return cv2.warpAffine(image, matrix[:2], size_px, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _reduced(image: Array, matrix: Array, size_px: tuple[int, int], steps: int) -> tuple[Array, Array]:
    """Average blocks of `steps` pixels of the part that is needed; returns it and the matrix that takes its pixels."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = crop_box(matrix, size_px, (width, height), margin_px=3 * steps)
    part = image[y0:y1, x0:x1]
    small_size = (max(1, round((x1 - x0) / steps)), max(1, round((y1 - y0) / steps)))
    small = cv2.resize(part, small_size, interpolation=cv2.INTER_AREA)
    x, y = (x1 - x0) / small_size[0], (y1 - y0) / small_size[1]
    image_from_small = np.array([[x, 0, x0 + x / 2 - 0.5], [0, y, y0 + y / 2 - 0.5], [0, 0, 1]])
    return small, matrix @ image_from_small

"""Crops: from landmarks to a similarity, and from a similarity to pixels.

A similarity turns, scales and shifts but never stretches, so it acts in square pixels; the sample aspect ratio is
composed in, and the matrices here take frame pixels. Pixel centres lie at integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.faces.shape import MEAN_SHAPE, STEADY_WEIGHTS

if TYPE_CHECKING:
    from facexcli.types import Array, TemplateName


@dataclass(frozen=True, slots=True)
class Template:
    """Where the mean face lies in a crop: crop fraction = `scale` * mean shape + (`x`, `y`)."""

    scale: float
    x: float
    y: float

    @classmethod
    def around(cls, center: tuple[float, float], half_extent: float) -> Template:
        """The square that reaches `half_extent` box widths from `center`, both in the units of `MEAN_SHAPE`."""
        scale = 0.5 / half_extent
        return cls(scale, 0.5 - scale * center[0], 0.5 - scale * center[1])

    def points_px(self, size_px: int) -> Array:
        """The mean shape in the crop, float64 (68, 2)."""
        return (MEAN_SHAPE * self.scale + (self.x, self.y)) * size_px - 0.5


_FFHQ_CENTER = (0.5, 0.3281)
_FFHQ_HALF_EXTENT = 0.8463

TEMPLATES: dict[TemplateName, Template] = {
    # The five canonical points of ArcFace (Deng et al. 2019) for 112 pixels, fitted to the mean shape.
    "arcface": Template(86.856 / 112, (12.59 + 0.5) / 112, (28.254 + 0.5) / 112),
    # The rule of FFHQ (Karras et al. 2019, appendix A: eye centres and mouth corners), applied to the mean shape.
    "ffhq": Template.around(_FFHQ_CENTER, _FFHQ_HALF_EXTENT),
    "head": Template.around(_FFHQ_CENTER, 2 * _FFHQ_HALF_EXTENT),
}


def fit_similarity(source: Array, destination: Array, weights: Array) -> Array:
    """Weighted least-squares similarity, float64 (3, 3), destination_from_source (Umeyama 1991, without reflection).

    Args:
        source, destination: float (N, 2).
        weights: float (N,), sum 1.
    Raises:
        ValueError: the source points coincide.
    """
    source_mean, destination_mean = weights @ source, weights @ destination
    # In the plane a similarity without its shift is one complex factor.
    a = (source - source_mean) @ np.array([1, 1j])
    b = (destination - destination_mean) @ np.array([1, 1j])
    energy = float(weights @ np.abs(a) ** 2)
    if not energy > 1e-12:
        raise ValueError("landmarks that coincide have no alignment")
    factor = complex(weights @ (np.conj(a) * b)) / energy
    matrix = np.eye(3)
    matrix[:2, :2] = [[factor.real, -factor.imag], [factor.imag, factor.real]]
    matrix[:2, 2] = destination_mean - matrix[:2, :2] @ source_mean
    return matrix


def crop_from_frame(
    landmarks_px: Array, template: TemplateName, size_px: int, sample_aspect_ratio: float = 1.0
) -> Array:
    """The alignment of a face to a template.

    It rests on eye corners, nose and (lightly) mouth corners, so that speech and blinks do not move the crop.

    Args:
        landmarks_px: float (68, 2), frame pixels.
        template: which crop.
        size_px: side of the crop.
        sample_aspect_ratio: width of a frame pixel over its height.
    Returns:
        float64 (3, 3), crop pixels from frame pixels.
    """
    square_from_frame = np.diag([float(sample_aspect_ratio), 1.0, 1.0])
    square_px = transform_points(square_from_frame, landmarks_px)
    crop_from_square = fit_similarity(square_px, TEMPLATES[template].points_px(size_px), STEADY_WEIGHTS)
    return crop_from_square @ square_from_frame


def transform_points(matrix: Array, points: Array) -> Array:
    """`points` (..., 2) through an affine `matrix` (3, 3); float64."""
    return np.asarray(points, np.float64) @ matrix[:2, :2].T + matrix[:2, 2]


def crop_box(
    matrix: Array, size_px: int, frame_size_px: tuple[int, int], margin_px: int = 3
) -> tuple[int, int, int, int]:
    """The part (x0, y0, x1, y1) of the frame that a crop is made of, clipped to the frame, never empty.

    Args:
        matrix: crop_from_frame.
        size_px: side of the crop.
        frame_size_px: (width, height).
        margin_px: room for the interpolation kernel.
    """
    edge = size_px - 0.5
    corners = np.array([[-0.5, -0.5], [edge, -0.5], [edge, edge], [-0.5, edge]])
    in_frame = transform_points(np.linalg.inv(matrix), corners)
    limits = np.array(frame_size_px)
    low = np.clip(np.floor(in_frame.min(axis=0)).astype(int) - margin_px, 0, limits - 1)
    high = np.clip(np.ceil(in_frame.max(axis=0)).astype(int) + margin_px + 1, low + 1, limits)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def take_crop(rgb_region: Array, region_origin_xy: tuple[int, int], matrix: Array, size_px: int) -> tuple[Array, Array]:
    """Resample a crop out of a part of the frame that covers `crop_box`.

    Beyond the region its border is replicated. Strong reductions are filtered first, so that they do not alias.

    Args:
        rgb_region: (h, w, 3) or (h, w), uint8, uint16 or float32.
        region_origin_xy: frame pixel of the region's first pixel.
        matrix: crop_from_frame.
    Returns:
        the crop (S, S, ...) in the region's dtype, and uint8 (S, S): 255 where there was picture, else 0.
    """
    crop_from_region = matrix @ np.array([[1.0, 0, region_origin_xy[0]], [0, 1.0, region_origin_xy[1]], [0, 0, 1]])
    height, width = rgb_region.shape[:2]
    inside = cv2.warpAffine(
        np.full((height, width), 255, np.uint8), crop_from_region[:2], (size_px, size_px), flags=cv2.INTER_NEAREST
    )
    return resample(rgb_region, crop_from_region, (size_px, size_px)), inside


def resample(image: Array, output_from_image: Array, size_px: tuple[int, int], smooth: bool = True) -> Array:
    """Warp `image` to (width, height) `size_px` by an affine map; borders replicated; without aliasing.

    `smooth` enlarges with cubic weights instead of linear ones.
    """
    scale = float(np.sqrt(abs(np.linalg.det(output_from_image[:2, :2]))))
    matrix = output_from_image
    steps = int(1 / scale) if scale > 0 else 1
    if steps >= 2:
        image, matrix = _reduced(image, matrix, size_px, steps)
    # Cubic keeps detail when enlarging; when reducing it only adds ringing.
    flags = cv2.INTER_CUBIC if scale > 1 and smooth else cv2.INTER_LINEAR
    return cv2.warpAffine(image, matrix[:2], size_px, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _reduced(image: Array, matrix: Array, size_px: tuple[int, int], steps: int) -> tuple[Array, Array]:
    """Average blocks of `steps` pixels of the part that is needed; returns it and the matrix that takes its pixels."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = crop_box(matrix, max(size_px), (width, height), margin_px=3 * steps)
    part = image[y0:y1, x0:x1]
    small_size = (max(1, round((x1 - x0) / steps)), max(1, round((y1 - y0) / steps)))
    small = cv2.resize(part, small_size, interpolation=cv2.INTER_AREA)
    x, y = (x1 - x0) / small_size[0], (y1 - y0) / small_size[1]
    image_from_small = np.array([[x, 0, x0 + x / 2 - 0.5], [0, y, y0 + y / 2 - 0.5], [0, 0, 1]])
    return small, matrix @ image_from_small

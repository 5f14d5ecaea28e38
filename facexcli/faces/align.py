"""Crops: from landmarks to a similarity, and from a similarity to pixels.

A similarity turns, scales and shifts but never stretches, so it acts in square pixels; the sample aspect ratio is
composed in, and the matrices here take frame pixels. Pixel centres lie at integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.affine import resample, transform_points
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
    # What public swappers were trained on: their five points (`template_points` in the catalog of weights), fitted to
    # the mean shape's eyes, tip of the nose and corners of the mouth.
    "arcface_128": Template(0.67856, 0.16092 + 0.5 / 128, 0.21885 + 0.5 / 128),
    "arcface_112_v1": Template(0.69770, 0.15115 + 0.5 / 112, 0.26315 + 0.5 / 112),
    "mtcnn_512": Template(0.65917, 0.17061 + 0.5 / 512, 0.28760 + 0.5 / 512),
}
_ARCFACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Eyes, tip of the nose and mouth corners in ArcFace's 112-pixel input (Deng et al. 2019)."""
_ARCFACE_PX = 112


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


def five_points(landmarks: Array) -> Array:
    """Middles of the eyes, tip of the nose and corners of the mouth, float64 (5, 2), of landmarks (68, 2)."""
    points = np.asarray(landmarks, np.float64)
    return np.stack([points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[30], points[48], points[54]])


def arcface_chip(rgb: Array, landmarks_px: Array) -> Array:
    """The face as ArcFace wants to see it: uint8 (112, 112, 3).

    Args:
        rgb: uint8 (H, W, 3) in square pixels.
        landmarks_px: float (68, 2) in its pixels.
    """
    chip_from_image = fit_similarity(five_points(landmarks_px), _ARCFACE_POINTS, np.full(5, 0.2))
    return resample(rgb, chip_from_image, (_ARCFACE_PX, _ARCFACE_PX))


def inside_picture(picture_size_px: tuple[int, int], matrix: Array, size_px: int) -> Array | None:
    """uint8 (S, S): 255 where a crop shows the picture and 0 beyond its border; None where it shows nothing else.

    `matrix` is crop_from_picture; sizes are (width, height).
    """
    edge = size_px - 1
    corners = transform_points(np.linalg.inv(matrix), np.array([[0, 0], [edge, 0], [edge, edge], [0, edge]]))
    if np.all(corners >= 0) and np.all(corners <= np.subtract(picture_size_px, 1)):
        return None
    width, height = picture_size_px
    outline = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]])
    seen = np.zeros((size_px, size_px), np.uint8)
    fixed = np.round(transform_points(matrix, outline) * 16).astype(np.int32).reshape(-1, 1, 2)
    cv2.fillConvexPoly(seen, fixed, 255, cv2.LINE_8, 4)
    return seen


def take_crop(picture: Array, matrix: Array, size_px: int) -> tuple[Array, Array | None]:
    """Resample a crop out of a picture. Beyond it its border is replicated.

    Args:
        picture: (h, w, 3) or (h, w), uint8, uint16 or float32.
        matrix: crop_from_picture.
    Returns:
        the crop (S, S, ...) in the picture's dtype, and `inside_picture`.
    """
    valid = inside_picture(picture.shape[1::-1], matrix, size_px)
    return resample(picture, matrix, (size_px, size_px)), valid

"""Lay a patch over a canvas: feathered, by frequency bands, or by gradients."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from facexcli.types import Array

BlendName = Literal["multiband", "feather", "poisson"]


def multiband(patch_rgb: Array, canvas_rgb: Array, alpha: Array, levels: int = 4) -> Array:
    """Blend fine detail over a narrow seam and coarse tone over a wide one.

    Source: P. Burt and E. Adelson, "A multiresolution spline with application to image mosaics", ACM TOG 1983. The
    pyramids are linear, so one pyramid of the difference does for both pictures.

    Args:
        patch_rgb, canvas_rgb: float32 (S, S, 3) in 0..1. alpha: float32 (S, S).

    Returns:
        float32 (S, S, 3): the blended picture; it differs from the canvas a little beyond alpha.
    """
    differences, masks = [patch_rgb - canvas_rgb], [alpha]
    while len(masks) < levels and min(masks[-1].shape) >= 16:
        differences.append(cv2.pyrDown(differences[-1]))
        masks.append(cv2.pyrDown(masks[-1]))
    blended = differences[-1] * masks[-1][..., None]
    for level in range(len(masks) - 2, -1, -1):
        shape = masks[level].shape[::-1]
        band = differences[level] - cv2.pyrUp(differences[level + 1], dstsize=shape)
        blended = cv2.pyrUp(blended, dstsize=shape) + band * masks[level][..., None]
    return np.asarray(canvas_rgb + blended)

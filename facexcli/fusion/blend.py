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
        patch_rgb, canvas_rgb: float32 (H, W, 3) in 0..1. alpha: float32 (H, W).

    Returns:
        float32 (H, W, 3): the blended picture; it differs from the canvas a little beyond alpha.
    """
    difference = cv2.subtract(patch_rgb, canvas_rgb)
    half, half_mask = cv2.pyrDown(difference), cv2.pyrDown(alpha)
    size = (alpha.shape[1], alpha.shape[0])
    # The finest band takes the mask of the next: then what the bands add to a plain mixture has no detail, and all of
    # the work but one mixture is done at half the size.
    spread = _bands(half, half_mask, levels - 1) - half * half_mask[..., None]
    mixed = cv2.multiply(difference, cv2.merge([cv2.pyrUp(half_mask, dstsize=size)] * 3))
    mixed += cv2.pyrUp(spread, dstsize=size)
    mixed += canvas_rgb
    return np.asarray(mixed)


def _bands(difference: Array, alpha: Array, levels: int) -> Array:
    """The difference, each of its bands under the mask of its own resolution."""
    differences, masks = [difference], [alpha]
    while len(masks) < levels and min(masks[-1].shape) >= 16:
        differences.append(cv2.pyrDown(differences[-1]))
        masks.append(cv2.pyrDown(masks[-1]))
    blended = differences[-1] * masks[-1][..., None]
    for level in range(len(masks) - 2, -1, -1):
        shape = masks[level].shape[::-1]
        band = differences[level] - cv2.pyrUp(differences[level + 1], dstsize=shape)
        blended = cv2.pyrUp(blended, dstsize=shape) + band * masks[level][..., None]
    return np.asarray(blended)


def poisson(patch_rgb: Array, canvas_rgb: Array, alpha: Array, side: int = 96) -> Array:
    """Keep the patch's gradients and meet the canvas along the mask's border.

    Source: P. Perez, M. Gangnet, A. Blake, "Poisson image editing", SIGGRAPH 2003. The correction that is added to the
    patch is the membrane that the border's differences span; it is smooth, so it is solved on a coarse grid, from far
    to near (the convolution pyramid's idea: Z. Farbman, R. Fattal, D. Lischinski, SIGGRAPH Asia 2011).

    Args and returns as `multiband`, but the canvas is left untouched where alpha is 0.
    """
    side = min(side, *alpha.shape)
    inside = cv2.resize(alpha, (side, side), interpolation=cv2.INTER_AREA)
    border = np.clip(1 - 2 * np.abs(inside - 0.5), 0, 1)
    difference = cv2.resize(canvas_rgb - patch_rgb, (side, side), interpolation=cv2.INTER_AREA)
    pinned = difference * border[..., None]
    membrane: Array = np.zeros_like(difference) + pinned.sum(axis=(0, 1)) / (border.sum() + 1e-6)
    sigma = side / 4
    while sigma > 0.7:
        mass = cv2.GaussianBlur(border, (0, 0), sigma)[..., None]
        membrane = (cv2.GaussianBlur(pinned, (0, 0), sigma) + 0.02 * membrane) / (mass + 0.02)
        sigma /= 2
    correction = cv2.resize(membrane.astype(np.float32), alpha.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return feather(patch_rgb + correction, canvas_rgb, alpha)


def feather(patch_rgb: Array, canvas_rgb: Array, alpha: Array) -> Array:
    """The plain mixture; args and returns as `multiband`."""
    return np.asarray(canvas_rgb + (patch_rgb - canvas_rgb) * alpha[..., None])


def blend(name: BlendName, patch_rgb: Array, canvas_rgb: Array, alpha: Array) -> Array:
    """Blend by the method called `name`; float32 (H, W, 3)."""
    methods = {"multiband": multiband, "feather": feather, "poisson": poisson}
    return methods[name](patch_rgb, canvas_rgb, alpha)

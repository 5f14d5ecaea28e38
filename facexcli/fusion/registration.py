"""Lay one picture of a face over another, whatever is in front of it.

Source: B. D. Lucas and T. Kanade, "An iterative image registration technique with an application to stereo vision",
IJCAI 1981, for an affine motion; with the weights of S. Geman and D. E. McClure ("Statistical methods for tomographic
image reconstruction", 1987), which drop what does not fit, so that an occluder does not move the face.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from facexcli.types import Array

_ROUNDS = 4
_RIDGE = 1e-3
_BEARABLE = 1.5
"""Misfit in standard deviations from which on a pixel's say falls off."""
_SETTLED_PX = 0.02
_SOFTENING_PX = 1.0


@cache
def coordinates(side_px: int, step: int = 1) -> tuple[Array, Array]:
    """x and y, -1..1, of every `step`th pixel of every `step`th row of a square: float32 (M, M) each."""
    ramp = ((np.arange(0, side_px, step) - (side_px - 1) / 2) / (side_px / 2)).astype(np.float32)
    return np.broadcast_to(ramp, (len(ramp), len(ramp))), np.broadcast_to(ramp[:, None], (len(ramp), len(ramp)))


def fit_affine(template: Array, certainty: Array, inside: Array, picture: Array) -> Array:
    """The affine map, template_from_picture float64 (2, 3) in pixels, by which the brightness agrees best.

    Args:
        template, picture: float32 (L, L), 0..255. They may differ in brightness by a constant.
        certainty: float32 (L, L), one over the template's standard deviation.
        inside: bool (L, L), the template's pixels that have a say; some must.
    """
    side = template.shape[0]
    template = cv2.GaussianBlur(template, (0, 0), _SOFTENING_PX)
    values = cv2.GaussianBlur(picture, (0, 0), _SOFTENING_PX)[inside]
    slope_x = cv2.Sobel(template, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    slope_y = cv2.Sobel(template, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    stacked = cv2.merge([template, slope_x, slope_y])
    x, y = (axis[inside] for axis in coordinates(side))
    sure = certainty[inside]
    middle = np.full(2, (side - 1) / 2)
    matrix = np.eye(2, 3)
    light = float(np.median(values - template[inside]))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for number in range(_ROUNDS):
        moved = cv2.warpAffine(stacked, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)[inside]
        shown, dx, dy = moved.T
        misfit = (values - shown - light) * sure
        spread = 1.4826 * float(np.median(np.abs(misfit))) if number < 2 else 0.0
        weight = (sure / (1 + (misfit / max(_BEARABLE, spread)) ** 2)) ** 2
        basis = np.stack((dx, dx * x, dx * y, dy, dy * x, dy * y, np.ones_like(dx)), axis=1)
        step = _solved(basis, weight, values - shown)
        light = float(step[6])
        motion = step[:6].reshape(2, 3)[:, [1, 2, 0]]
        change = motion.copy()
        change[:, :2] /= side / 2
        change[:, 2] -= change[:, :2] @ middle
        matrix += change
        if np.abs(motion).max() < _SETTLED_PX:
            break
    return matrix


def _solved(basis: Array, weight: Array, values: Array) -> Array:
    """Weighted least squares, held back a little: float64 (K,)."""
    weighted = (basis * weight[:, None]).T
    system = (weighted @ basis).astype(np.float64)
    count = len(system)
    system[range(count), range(count)] += _RIDGE * np.trace(system) / count + 1e-9
    return np.asarray(np.linalg.solve(system, weighted @ values), np.float64)

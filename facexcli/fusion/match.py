"""Make a patch look as if it were lit and filmed like the canvas: its light and tone, its sharpness, its grain."""

from __future__ import annotations

import cv2
import numpy as np

from facexcli.types import Array

_FLOOR = np.float32(2.0 / 255)
_PRIOR = np.float32(0.08)
"""How much the whole face's ratio weighs beside a neighbourhood that is all skin."""
_LOG_GAIN_LIMITS = (-2.3, 1.4)
_MAX_GAIN = 1.15


def light_gain(patch_rgb: Array, canvas_rgb: Array, weight: Array, sigma_px: float, side: int = 48) -> Array:
    """The ratio of the canvas's to the patch's low frequencies, from weighted pixels only.

    A face's light is multiplicative and smooth, so the ratio of blurred pictures moves it from one face to the other
    (Z. Liu, Y. Shan, Z. Zhang, "Expressive expression mapping with ratio images", SIGGRAPH 2001, used here on low
    frequencies). Where no weighted pixel is near, the ratio of the whole face is taken.

    Args:
        patch_rgb, canvas_rgb: float32 (S, S, 3) in 0..1.
        weight: float32 (side, side) in 0..1; 0 where either picture is not skin.
        sigma_px: standard deviation of the blur, in crop pixels.

    Returns:
        float32 (side, side, 3), positive.
    """
    size = patch_rgb.shape[0]
    sigma = max(0.5, sigma_px * side / size)
    # Logarithms: a highlight is many times brighter than skin but not many times the face's light.
    ratio, mass = np.zeros((side, side, 3), np.float32), weight[..., None]
    for picture, sign in ((canvas_rgb, 1), (patch_rgb, -1)):
        ratio += sign * np.log(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA).clip(0) + _FLOOR)
    ratio *= mass
    mean = ratio.sum(axis=(0, 1)) / (float(weight.sum()) + 1e-6)
    near = cv2.GaussianBlur(weight, (0, 0), sigma)[..., None]
    smooth = (cv2.GaussianBlur(ratio, (0, 0), sigma) + _PRIOR * mean) / (near + _PRIOR)
    return np.asarray(np.exp(np.clip(smooth, *_LOG_GAIN_LIMITS)), np.float32)


def match_light(patch_rgb: Array, canvas_rgb: Array, weight: Array, sigma_px: float) -> Array:
    """`patch_rgb` under the canvas's light, float32 (S, S, 3); see `light_gain`."""
    size = patch_rgb.shape[0]
    gain = light_gain(patch_rgb, canvas_rgb, weight, sigma_px, weight.shape[0])
    return np.asarray(patch_rgb * cv2.resize(gain, (size, size), interpolation=cv2.INTER_LINEAR))


def match_sharpness(patch_rgb: Array, canvas_rgb: Array, weight: Array) -> Array:
    """`patch_rgb` with as much detail in its two finest octaves as the canvas has, float32 (S, S, 3).

    Both show a face in the same geometry, so their detail can be compared where the patch is seen. Detail is taken away
    as far as needed (a soft video stays soft), and added only slightly: it cannot be invented.

    Args:
        patch_rgb, canvas_rgb: float32 (S, S, 3) in 0..1. weight: float32 (S, S), where the patch is seen.
    """
    fine, coarse, coarsest = _octaves(patch_rgb)
    luma = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (canvas_rgb, patch_rgb)]
    bands = [_octaves(picture) for picture in luma]
    half = cv2.pyrDown(weight)
    gains = [
        np.clip((_detail(bands[0][octave], seen) + 1e-4) / (_detail(bands[1][octave], seen) + 1e-4), 0.1, _MAX_GAIN)
        for octave, seen in ((0, weight), (1, half))
    ]
    size = (patch_rgb.shape[1], patch_rgb.shape[0])
    matched = cv2.pyrUp(coarsest, dstsize=(coarse.shape[1], coarse.shape[0])) + coarse * np.float32(gains[1])
    return np.asarray(cv2.pyrUp(matched, dstsize=size) + fine * np.float32(gains[0]))


def _octaves(picture: Array) -> tuple[Array, Array, Array]:
    """Two octaves of detail, at full and at half size, and what is left at a quarter."""
    half = cv2.pyrDown(picture)
    quarter = cv2.pyrDown(half)
    fine = picture - cv2.pyrUp(half, dstsize=(picture.shape[1], picture.shape[0]))
    return fine, half - cv2.pyrUp(quarter, dstsize=(half.shape[1], half.shape[0])), quarter


def _detail(band: Array, weight: Array) -> float:
    return float((np.abs(band) * weight).sum() / (weight.sum() + 1e-6))

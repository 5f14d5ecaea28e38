"""Make a patch look as if it were lit and filmed like the canvas: its light and tone, its sharpness, its grain."""

from __future__ import annotations

import cv2
import numpy as np

from facexcli.types import Array

_FLOOR = np.float32(2.0 / 255)
_PRIOR = np.float32(0.08)
"""How much the whole face's ratio weighs beside a neighbourhood that is all skin."""
_LOG_GAIN_LIMITS = (-2.3, 1.4)
_EYE_GAIN_LIMITS = (1.0, 1.7)
_MAX_GAIN = 1.15


def light_gain(patch_rgb: Array, canvas_rgb: Array, weight: Array, sigma_px: float) -> Array:
    """The ratio of the canvas's to the patch's low frequencies, from weighted pixels only.

    A face's light is multiplicative and smooth, so the ratio of blurred pictures moves it from one face to the other
    (Z. Liu, Y. Shan, Z. Zhang, "Expressive expression mapping with ratio images", SIGGRAPH 2001, used here on low
    frequencies). Where no weighted pixel is near, the ratio of the whole face is taken.

    Args:
        patch_rgb, canvas_rgb: float32 (H, W, 3) in 0..1.
        weight: float32 (h, w) in 0..1, of the same proportions; 0 where either picture is not skin.
        sigma_px: standard deviation of the blur, in the pictures' pixels.

    Returns:
        float32 (H, W, 3), positive: the patch times it is the patch under the canvas's light.
    """
    size, grid = patch_rgb.shape[1::-1], weight.shape[::-1]
    sigma = max(0.5, sigma_px * grid[0] / size[0])
    # Logarithms: a highlight is many times brighter than skin but not many times the face's light.
    ratio, mass = np.zeros((*weight.shape, 3), np.float32), weight[..., None]
    for picture, sign in ((canvas_rgb, 1), (patch_rgb, -1)):
        ratio += sign * np.log(cv2.resize(picture, grid, interpolation=cv2.INTER_AREA).clip(0) + _FLOOR)
    ratio *= mass
    mean = ratio.sum(axis=(0, 1)) / (float(weight.sum()) + 1e-6)
    near = cv2.GaussianBlur(weight, (0, 0), sigma)[..., None]
    smooth = (cv2.GaussianBlur(ratio, (0, 0), sigma) + _PRIOR * mean) / (near + _PRIOR)
    gain = np.exp(np.clip(smooth, *_LOG_GAIN_LIMITS)).astype(np.float32)
    return np.asarray(cv2.resize(gain, size, interpolation=cv2.INTER_LINEAR))


def match_eye_whites(rgb: Array, canvas_rgb: Array, landmarks_px: Array) -> Array:
    """`rgb` with the whites of its eyes at least as bright as the canvas's, float32 (H, W, 3).

    Eye whites are much the same on everybody, so the gain that turns fair skin into dark skin would turn them grey.

    Args:
        rgb, canvas_rgb: float32 (H, W, 3) in 0..1, in the same geometry. landmarks_px: (68, 2), in their pixels.
    """
    matched, regions, gains = rgb.copy(), [], []
    for eye in (slice(36, 42), slice(42, 48)):
        lids = np.asarray(landmarks_px[eye], np.float64)
        width = float(np.linalg.norm(lids[3] - lids[0]))
        margin = 2 + int(0.15 * width)
        size_xy = rgb.shape[1::-1]
        x0, y0 = np.clip(np.floor(lids.min(axis=0)).astype(int) - margin, 0, size_xy)
        x1, y1 = np.clip(np.ceil(lids.max(axis=0)).astype(int) + margin, 0, size_xy)
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        if mask.size == 0:
            continue
        cv2.fillPoly(mask, [np.round((lids - (x0, y0)) * 16).astype(np.int32).reshape(-1, 1, 2)], 255, cv2.LINE_AA, 4)
        inside = mask > 127
        if not inside.any():
            continue
        region = matched[y0:y1, x0:x1]
        gains.append((_brightest(canvas_rgb[y0:y1, x0:x1][inside]) + _FLOOR) / (_brightest(region[inside]) + _FLOOR))
        regions.append((region, cv2.GaussianBlur(mask, (0, 0), max(0.5, 0.04 * width))))
    if regions:
        # Half of the way, on both eyes alike: the measure is taken from few pixels, and must not flicker.
        gain = np.sqrt(np.clip(np.mean(gains, axis=0), *_EYE_GAIN_LIMITS)).astype(np.float32)
        for region, mask in regions:
            region *= 1 + (gain - 1) * (mask.astype(np.float32)[..., None] / 255)
    return matched


def _brightest(colours: Array) -> Array:
    """The mean of the brightest third of colours (N, 3): float64 (3,)."""
    brightness = colours.sum(axis=1)
    return np.asarray(colours[brightness >= np.quantile(brightness, 2 / 3)].mean(axis=0, dtype=np.float64))


def match_sharpness(patch_rgb: Array, canvas_rgb: Array, weight: Array) -> Array:
    """`patch_rgb` with as much detail in its two finest octaves as the canvas has, float32 (H, W, 3).

    Both show a face in the same geometry, so their detail can be compared where the patch is seen. Detail is taken away
    as far as needed (a soft video stays soft), and added only slightly: it cannot be invented.

    Args:
        patch_rgb, canvas_rgb: float32 (H, W, 3) in 0..1. weight: float32 (H, W), where the patch is seen.
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

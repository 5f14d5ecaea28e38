"""Make a patch look as if it were lit and filmed like the canvas: its light and tone, its sharpness, its grain."""

from __future__ import annotations

import cv2
import numpy as np

from facexcli.types import Array

_FLOOR = np.float32(2.0 / 255)
_PRIOR = np.float32(0.08)
"""How much the whole face's ratio weighs beside a neighbourhood that is all skin."""
_LOG_GAIN_LIMITS = (-2.3, 1.4)
_STRONG = (1.55, 1.95)
"""Of a ratio times its tint: below the first, it serves for all of a face; from the second on, for skin alone."""
_WHITE = np.float32(0.97)
"""The brightest that skin is taken for: of white, the odds have no end."""
_MOST_SLOPE = np.float32(4)
"""How much a difference in colour may grow, noise and all."""
_EYE_GAIN_LIMITS = (1.0, 1.7)
_MAX_GAIN = 1.15


def match_light(patch_rgb: Array, canvas_rgb: Array, weight: Array, sigma_px: float) -> Array:
    """The patch under the canvas's light: times the ratio of the canvas's to the patch's low frequencies.

    A face's light is multiplicative and smooth, so the ratio of blurred pictures moves it from one face to the other
    (Z. Liu, Y. Shan, Z. Zhang, "Expressive expression mapping with ratio images", SIGGRAPH 2001, used here on low
    frequencies). The ratio is that of skin: where no skin is near, that of the whole face is taken, and where it
    brightens, highlights, eyes and hair do not take part in it (see `_brightened`).

    Args:
        patch_rgb, canvas_rgb: float32 (H, W, 3) in 0..1, H and W at least 2.
        weight: float32 (h, w) in 0..1, of the same proportions; 0 where either picture is not skin.
        sigma_px: standard deviation of the blur, in the pictures' pixels.

    Returns:
        float32 (H, W, 3), a new picture; a little below 0 or above 1 in places.
    """
    size, grid = patch_rgb.shape[1::-1], weight.shape[::-1]
    sigma = max(0.5, sigma_px * grid[0] / size[0])
    half_size = (size[0] // 2, size[1] // 2)
    halves = [cv2.resize(picture, half_size, interpolation=cv2.INTER_LINEAR) for picture in (patch_rgb, canvas_rgb)]
    near = cv2.GaussianBlur(weight, (0, 0), sigma)[..., None] + _PRIOR

    def log_skin(picture: Array) -> Array:
        # Logarithms: a highlight is many times brighter than skin but not many times the face's light.
        light = cv2.resize(picture, grid, interpolation=cv2.INTER_AREA).clip(0)
        light = np.log(light + _FLOOR) * weight[..., None]
        mean = light.sum(axis=(0, 1)) / (float(weight.sum()) + 1e-6)
        return np.asarray((cv2.GaussianBlur(light, (0, 0), sigma) + _PRIOR * mean) / near, np.float32)

    patch, canvas = (log_skin(half) for half in halves)
    gain = np.exp(np.clip(canvas - patch, *_LOG_GAIN_LIMITS))
    own, wanted = np.exp(patch), np.exp(np.maximum(canvas, patch))
    strength = _strength(own, wanted)
    if not strength.any():
        lit = cv2.resize(gain, size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.multiply(patch_rgb, lit, dst=lit))
    factor, offset = _brightened(halves[0], own, wanted, np.minimum(gain, 1) * strength)
    factor += cv2.resize(gain * (1 - strength), half_size, interpolation=cv2.INTER_LINEAR)
    lit, offset = (cv2.resize(field, size, interpolation=cv2.INTER_LINEAR) for field in (factor, offset))
    return np.asarray(cv2.add(cv2.multiply(patch_rgb, lit, dst=lit), offset, dst=lit))


def _strength(own: Array, wanted: Array) -> Array:
    """Where skin `own` is brightened so much to be `wanted`, or changes its colour so much, that a ratio does not do:
    float32 (h, w, 1) in 0..1. Both are float32 (h, w, 3)."""
    most = (wanted / own).max(axis=-1)
    tint = most * _luma(own) / _luma(wanted)
    return np.asarray(np.clip((most * tint - _STRONG[0]) / (_STRONG[1] - _STRONG[0]), 0, 1)[..., None], np.float32)


def _brightened(rgb: Array, own: Array, wanted: Array, share: Array) -> tuple[Array, Array]:
    """What `rgb` has to be multiplied by, and what is to be added, so that dark skin becomes fair, and nothing else
    does.

    Light that is reflected at the surface has not been in the skin, so it is as strong on dark skin as on fair skin (S.
    Shafer, "Using color to separate reflection components", 1985). And a channel of which dark skin has next to nothing
    has a ratio that turns every eye white and grey hair into that channel's colour. So brightness goes through a curve
    that leads from black over the patch's skin, where it becomes the canvas's, to white; the curve is the one of a
    constant ratio of odds, which keeps texture from growing as the ratio does. Black things get only the square root of
    the ratio. Colours other than the skin's are kept as differences, at the slope of the curve.

    Args:
        rgb: float32 (H, W, 3). own: float32 (h, w, 3), its skin; wanted: the same, what that is to become, not darker.
        share: the same in 0..1, how much of the result is needed.

    Returns:
        float32 (H, W, 3) twice, times `share`.
    """
    size = rgb.shape[1::-1]
    dark, fair = (np.clip(_luma(skin), _FLOOR, _WHITE) for skin in (own, wanted))
    fields = (
        np.stack([fair * (1 - dark) / ((1 - fair) * dark), np.sqrt(fair / dark), dark], axis=-1),
        share * wanted / fair[..., None],
        share * own / dark[..., None],
        share,
    )
    curve, fair_tone, dark_tone, share = (cv2.resize(field, size, interpolation=cv2.INTER_LINEAR) for field in fields)
    odds, least, dark = cv2.split(curve)
    luma = np.maximum(_luma(rgb), 0)  # sharpness undershoots beside an edge, and the curve has a pole below black
    shade = luma / dark
    steepness = 1 / (1 + (odds - 1) * luma)
    lit = odds * luma * steepness
    lit += (1 - np.minimum(shade, 1)) * (least * luma - lit)
    # The colour of a highlight is that of the lamp, and the canvas has a lamp of its own.
    slope = np.minimum(odds * steepness * steepness, _MOST_SLOPE) / np.maximum(shade, 1) ** 3
    return _times(share, slope), _times(fair_tone, lit) - _times(dark_tone, luma * slope)


def _luma(rgb: Array) -> Array:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))


def _times(rgb: Array, luma: Array) -> Array:
    """(H, W, 3) times (H, W)."""
    return np.asarray(cv2.multiply(rgb, cv2.merge([luma] * 3)))


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

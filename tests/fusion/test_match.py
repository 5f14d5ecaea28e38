"""A patch takes over the canvas's light and sharpness, and nothing else of it."""

import cv2
import numpy as np
import pytest

from facexcli.fusion.match import match_eye_whites, match_light, match_sharpness

SIZE_PX, SIDE = 128, 48


def texture(seed: int, sigma: float = 1.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (SIZE_PX, SIZE_PX, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
    return np.clip(0.5 + 0.1 * smooth / smooth.std(), 0.05, 0.95).astype(np.float32)


def side_light() -> np.ndarray:
    ramp = np.linspace(0.5, 1.2, SIZE_PX, dtype=np.float32)
    return ramp[None, :, None] * np.array([1.0, 0.8, 0.6], np.float32)


def test_side_light_is_carried_over():
    patch = texture(1)
    matched = match_light(patch, patch * side_light(), np.ones((SIDE, SIDE), np.float32), 12)
    inner = slice(24, -24)
    # The ramp is bent where the blur meets the rim; within it one 8-bit step in ten remains.
    assert np.abs(matched - patch * side_light())[inner, inner].mean() < 0.02


def test_detail_stays_the_patch_own():
    patch, canvas = texture(1), texture(2)
    matched = match_light(patch, canvas, np.ones((SIDE, SIDE), np.float32), 20)
    fine = [picture - cv2.GaussianBlur(picture, (0, 0), 2) for picture in (patch, canvas, matched)]
    assert np.corrcoef(fine[2].ravel(), fine[0].ravel())[0, 1] > 0.95
    assert abs(np.corrcoef(fine[2].ravel(), fine[1].ravel())[0, 1]) < 0.1


def test_hair_does_not_darken_the_skin_beside_it():
    patch = np.full((SIZE_PX, SIZE_PX, 3), 0.6, np.float32)
    canvas = patch.copy()
    canvas[:, : SIZE_PX // 2] = 0.05
    weight = np.ones((SIDE, SIDE), np.float32)
    weight[:, : SIDE // 2 + 1] = 0
    np.testing.assert_allclose(match_light(patch, canvas, weight, 16), patch, atol=0.02)


def test_without_any_skin_the_patch_stays():
    patch = texture(3)
    matched = match_light(patch, texture(4), np.zeros((SIDE, SIDE), np.float32), 12)
    np.testing.assert_allclose(matched, patch, atol=1e-3)


def plain(rgb: tuple[float, float, float]) -> np.ndarray:
    return np.full((SIZE_PX, SIZE_PX, 3), rgb, np.float32)


def with_spot(skin: tuple[float, float, float], spot: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """A patch of skin with something else in its middle, and what of it is skin."""
    patch, weight = plain(skin), np.ones((SIDE, SIDE), np.float32)
    cv2.circle(patch, (SIZE_PX // 2, SIZE_PX // 2), 12, spot, -1)
    cv2.circle(weight, (SIDE // 2, SIDE // 2), 6, 0, -1)
    return patch, weight


DARK, SATURATED, FAIR = (0.28, 0.2, 0.17), (0.6, 0.35, 0.05), (0.8, 0.66, 0.58)


@pytest.mark.parametrize("skin", [DARK, SATURATED])
def test_dark_skin_becomes_fair(skin):
    patch, weight = with_spot(skin, (0.5, 0.5, 0.5))
    matched = match_light(patch, plain(FAIR), weight, 20)
    np.testing.assert_allclose(matched[8, 8], FAIR, atol=0.03)


def test_a_highlight_on_dark_skin_is_not_blown_out():
    patch, weight = with_spot(DARK, (0.58, 0.52, 0.5))
    spot = match_light(patch, plain(FAIR), weight, 20)[SIZE_PX // 2, SIZE_PX // 2]
    assert spot.max() < 1.1  # a ratio alone makes 1.6 of it
    assert np.all(spot > FAIR)


def test_grey_stays_grey_on_skin_without_blue():
    patch, weight = with_spot(SATURATED, (0.5, 0.5, 0.5))
    spot = match_light(patch, plain(FAIR), weight, 20)[SIZE_PX // 2, SIZE_PX // 2]
    assert np.ptp(spot) < 0.2  # a ratio alone makes four times as much blue of it


def test_black_stays_dark_when_skin_is_brightened():
    patch, weight = with_spot(DARK, (0.03, 0.03, 0.03))
    assert match_light(patch, plain(FAIR), weight, 20)[SIZE_PX // 2, SIZE_PX // 2].max() < 0.1


@pytest.mark.parametrize("below", [0.01, 0.02, 0.03, 0.04])
def test_black_that_sharpness_undershot_stays_black(below):
    patch, weight = with_spot((0.1, 0.08, 0.06), (-below, -below, -below))
    spot = match_light(patch, plain((0.95, 0.85, 0.75)), weight, 20)[SIZE_PX // 2, SIZE_PX // 2]
    assert -0.2 < spot.min() <= spot.max() <= 0


def test_texture_does_not_grow_as_the_ratio_does():
    patch, ratio = texture(5) * np.float32(0.4), 3.5
    matched = match_light(patch, patch * np.float32(ratio), np.ones((SIDE, SIDE), np.float32), 20)
    assert matched.std() < 0.6 * ratio * patch.std()
    assert abs(matched.mean() - ratio * patch.mean()) < 0.05


def test_light_that_rises_slowly_changes_the_picture_slowly():
    patch, weight = with_spot(DARK, (0.5, 0.5, 0.5))
    ratios = np.linspace(1, 3, 41)
    spots = [match_light(patch, plain(tuple(np.multiply(DARK, ratio))), weight, 20)[64, 64] for ratio in ratios]
    assert np.abs(np.diff(spots, axis=0)).max() < 0.05


def test_a_soft_canvas_makes_the_patch_soft():
    patch = texture(1)
    canvas = cv2.GaussianBlur(texture(2), (0, 0), 3)
    weight = np.ones((SIZE_PX, SIZE_PX), np.float32)

    def detail(picture: np.ndarray) -> float:
        return float(np.abs(picture - cv2.GaussianBlur(picture, (0, 0), 1.5)).mean())

    assert detail(match_sharpness(patch, canvas, weight)) < 0.3 * detail(patch)


def test_an_equally_sharp_patch_is_left_alone():
    patch = texture(1)
    matched = match_sharpness(patch, patch, np.ones((SIZE_PX, SIZE_PX), np.float32))
    np.testing.assert_allclose(matched, patch, atol=1e-4)


def test_eye_whites_are_not_turned_grey_with_the_skin(painted):
    canvas = painted(skin=(92, 58, 44))
    lit = canvas.rgb.astype(np.float32) / 255
    dull = lit * np.float32(0.5)
    eyes = [
        np.round(canvas.landmarks_px[corner]).astype(int) + inward for corner, inward in ((36, (4, 0)), (45, (-4, 0)))
    ]
    before = match_eye_whites(dull, dull, canvas.landmarks_px)
    np.testing.assert_allclose(before, dull, atol=1e-6)
    after = match_eye_whites(dull, lit, canvas.landmarks_px)
    for x, y in eyes:
        assert after[y, x].mean() > 1.2 * dull[y, x].mean()
    x, y = np.round(canvas.landmarks_px[30]).astype(int)
    np.testing.assert_array_equal(after[y, x], dull[y, x])

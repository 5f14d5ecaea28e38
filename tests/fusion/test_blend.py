"""Each blend leaves the canvas where the mask is closed and shows the patch where it is open."""

import cv2
import numpy as np
import pytest

from facexcli.fusion.blend import blend

SIZE_PX = 128
METHODS = ("multiband", "feather", "poisson")


def picture(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 1, (SIZE_PX, SIZE_PX, 3)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 2)


def disc(radius: float, soft: float) -> np.ndarray:
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX] - SIZE_PX / 2
    return np.clip((radius - np.hypot(x, y)) / soft + 0.5, 0, 1).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_a_closed_mask_leaves_the_canvas(method):
    canvas = picture(1)
    np.testing.assert_allclose(blend(method, picture(2), canvas, np.zeros((SIZE_PX, SIZE_PX), np.float32)), canvas)


@pytest.mark.parametrize("method", METHODS)
def test_a_patch_like_the_canvas_changes_nothing(method):
    canvas = picture(1)
    np.testing.assert_allclose(blend(method, canvas, canvas, disc(40, 8)), canvas, atol=1e-5)


@pytest.mark.parametrize("method", ["multiband", "feather"])
def test_deep_inside_the_patch_shows(method):
    patch = picture(2)
    blended = blend(method, patch, picture(1), disc(60, 4))
    middle = slice(SIZE_PX // 2 - 8, SIZE_PX // 2 + 8)
    np.testing.assert_allclose(blended[middle, middle], patch[middle, middle], atol=0.02)


def test_poisson_takes_away_a_difference_in_tone():
    canvas = picture(1)
    blended = blend("poisson", np.clip(canvas + 0.2, 0, 2), canvas, disc(40, 8))
    np.testing.assert_allclose(blended, canvas, atol=0.01)


def test_multiband_spreads_a_seam_that_feathering_leaves_hard():
    canvas, patch = np.full((SIZE_PX, SIZE_PX, 3), 0.3, np.float32), np.full((SIZE_PX, SIZE_PX, 3), 0.6, np.float32)
    steps = {
        method: float(np.abs(np.diff(blend(method, patch, canvas, disc(40, 1))[SIZE_PX // 2, :, 0])).max())
        for method in ("multiband", "feather")
    }
    assert steps["multiband"] < 0.5 * steps["feather"]

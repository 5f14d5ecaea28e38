"""Composites: nothing outside the face, the canvas's light inside it, and whatever covers it in front."""

from dataclasses import replace

import numpy as np
import pytest

from facexcli.fusion.compose import Composite, Look, compose
from facexcli.fusion.watermark import add_mark
from facexcli.fusion.watermark_waves import PUBLIC_KEY, make_dither
from facexcli.recipes import recipe_named, with_regions
from facexcli.types import Array, Crop, Patch

SWAP, REENACT = recipe_named("swap"), recipe_named("reenact")


def flat_patch(size_px: int, rgb: tuple[float, float, float]) -> Patch:
    return Patch(np.full((size_px, size_px, 3), rgb, np.float32), np.ones((size_px, size_px), np.float32))


def laid(crop: Crop, composite: Composite) -> Array:
    alpha = composite.alpha[..., None]
    return np.asarray(composite.rgb * alpha + crop.rgb / np.float32(255) * (1 - alpha))


@pytest.mark.parametrize("blend", ["multiband", "feather", "poisson"])
@pytest.mark.parametrize("feather", [0.0, 1.0])
def test_alpha_ends_before_the_crop(painted, blend, feather):
    crop = painted()
    composite = compose(crop, flat_patch(crop.size_px, (0.5, 0.4, 0.3)), SWAP, Look(feather=feather, blend=blend))
    assert composite.rgb.dtype == composite.alpha.dtype == np.float32
    assert composite.alpha.min() >= 0 and composite.alpha.max() <= 1
    assert composite.rgb.min() >= 0 and composite.rgb.max() <= 1
    assert not composite.alpha[:2].any() and not composite.alpha[-2:].any()
    assert not composite.alpha[:, :2].any() and not composite.alpha[:, -2:].any()
    assert composite.alpha[:, : crop.size_px // 8].max() == 0


@pytest.mark.parametrize("skin", [(205, 160, 135), (92, 58, 44)])
def test_a_patch_of_another_tone_takes_the_canvas_tone(painted, skin):
    crop = painted(skin=skin)
    result = laid(crop, compose(crop, flat_patch(crop.size_px, (0.9, 0.6, 0.7)), SWAP, Look())) * 255
    x, y = np.round(crop.landmarks_px[29]).astype(int)
    # Two 8-bit steps: the painted skin has grain of that size.
    np.testing.assert_allclose(result[y - 3 : y + 4, x - 3 : x + 4].mean(axis=(0, 1)), skin, atol=3)


@pytest.mark.parametrize(("look", "relights"), [(Look(color="none"), False), (Look(), True)])
def test_colours_stay_when_asked_to_or_already_lit(painted, look, relights):
    crop = painted()
    result = laid(crop, compose(crop, flat_patch(crop.size_px, (0.2, 0.6, 0.3)), SWAP, look, relights))
    x, y = np.round(crop.landmarks_px[30]).astype(int)
    np.testing.assert_allclose(result[y, x], (0.2, 0.6, 0.3), atol=0.01)


def test_a_fringe_is_not_painted_over(painted):
    crop = painted(fringe=True)
    result = laid(crop, compose(crop, flat_patch(crop.size_px, (0.9, 0.6, 0.5)), SWAP, Look()))
    unit = crop.landmarks_px[45, 0] - crop.landmarks_px[36, 0]
    x, y = np.round(crop.landmarks_px[[21, 22]].mean(axis=0) - (0, 0.3 * unit)).astype(int)
    np.testing.assert_allclose(result[y, x] * 255, crop.rgb[y, x], atol=12)
    bold = laid(crop, compose(crop, flat_patch(crop.size_px, (0.9, 0.6, 0.5)), SWAP, Look(occlusion="off")))
    assert np.abs(bold[y, x] * 255 - crop.rgb[y, x]).max() > 60


def test_strength_scales_alpha(painted):
    crop, patch = painted(), flat_patch(256, (0.5, 0.4, 0.3))
    whole, half = (compose(crop, patch, SWAP, Look(strength=strength)).alpha for strength in (1.0, 0.5))
    np.testing.assert_allclose(half, whole / 2, atol=1e-6)
    assert not compose(crop, patch, SWAP, Look(strength=0.0)).alpha.any()


def test_a_single_region_leaves_the_rest(painted):
    crop = painted()
    composite = compose(crop, flat_patch(256, (0.5, 0.4, 0.3)), with_regions(SWAP, ["lips"]), Look())
    x, y = np.round(crop.landmarks_px[28]).astype(int)
    assert composite.alpha[y, x] == 0
    x, y = np.round(crop.landmarks_px[62]).astype(int)
    assert composite.alpha[y, x] > 0.8


def test_a_moving_patch_is_painted_as_it_is(painted):
    crop = painted()
    alpha = np.zeros((256, 256), np.float32)
    alpha[20:230, 20:230] = 0.7
    patch = Patch(np.full((256, 256, 3), 0.25, np.float32), alpha)
    composite = compose(crop, patch, REENACT, Look())
    np.testing.assert_array_equal(composite.rgb, patch.rgb)
    np.testing.assert_array_equal(composite.alpha, alpha)


@pytest.mark.parametrize("recipe", [REENACT, SWAP], ids=["reenact", "swap"])
def test_a_picture_that_lies_plane_by_plane_can_be_marked(painted, recipe):
    """Networks give their channels one after the other; OpenCV cannot write into such a layout."""
    canvas, patch = painted(), flat_patch(256, (0.5, 0.4, 0.3))
    planar = replace(patch, rgb=np.ascontiguousarray(patch.rgb.transpose(2, 0, 1)).transpose(1, 2, 0))
    made = [compose(canvas, each, recipe, Look()) for each in (patch, planar)]
    for composite in made:
        add_mark(composite.rgb, composite.alpha, canvas.rgb, np.eye(3), make_dither(PUBLIC_KEY, 1))
    np.testing.assert_array_equal(made[1].rgb, made[0].rgb)


def test_inputs_are_left_alone(painted):
    crop, patch = painted(), flat_patch(256, (0.5, 0.4, 0.3))
    before = crop.rgb.copy(), patch.rgb.copy(), patch.alpha.copy()
    first = compose(crop, patch, SWAP, Look())
    second = compose(crop, patch, SWAP, Look())
    for kept, now in zip(before, (crop.rgb, patch.rgb, patch.alpha), strict=True):
        np.testing.assert_array_equal(kept, now)
    np.testing.assert_array_equal(first.rgb, second.rgb)
    np.testing.assert_array_equal(first.alpha, second.alpha)

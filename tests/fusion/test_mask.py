"""Masks cover the face, share it out among its regions, and end before the crop does."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facexcli.faces.align import TEMPLATES
from facexcli.fusion.mask import face_alpha, face_outline, fill, forehead_points, region_masks
from facexcli.recipes import FACE_REGIONS, recipe_named, with_regions

SIZE_PX = 192
SWAP = recipe_named("swap")
MEAN = TEMPLATES["ffhq"].points_px(SIZE_PX)


def moved(angle: float, scale: float, x: float, y: float) -> np.ndarray:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (MEAN - SIZE_PX / 2) @ turn.T + SIZE_PX / 2 + (x, y)


FACES = st.builds(moved, st.floats(-3, 3), st.floats(0.3, 1.6), st.floats(-60, 60), st.floats(-60, 60))


@settings(max_examples=40, deadline=None)
@given(FACES, st.floats(0, 1))
def test_alpha_is_zero_outside_the_outline_and_along_the_rim(landmarks, feather):
    alpha = face_alpha(landmarks, SIZE_PX, SWAP, feather)
    assert alpha.dtype == np.float32 and alpha.shape == (SIZE_PX, SIZE_PX)
    assert alpha.min() >= 0 and alpha.max() <= 1
    # The outline is drawn at half size and softened there by a pixel (sigma), which the mask lets reach 2.5 sigma out.
    near = cv2.dilate(fill(face_outline(landmarks), SIZE_PX), np.ones((13, 13), np.uint8))
    assert not alpha[near == 0].any()
    assert not alpha[[0, -1]].any() and not alpha[:, [0, -1]].any()


def test_the_middle_of_the_face_is_fully_open():
    alpha = face_alpha(MEAN, SIZE_PX, SWAP)
    for x, y in MEAN[27:68]:
        assert alpha[round(y), round(x)] > 0.99


@settings(max_examples=20, deadline=None)
@given(FACES)
def test_regions_add_up_to_one_everywhere(landmarks):
    masks = region_masks(landmarks, SIZE_PX)
    assert set(masks) == set(FACE_REGIONS)
    np.testing.assert_allclose(sum(masks.values()), 1, atol=1e-5)


def test_choosing_all_regions_is_choosing_the_face():
    np.testing.assert_allclose(
        face_alpha(MEAN, SIZE_PX, with_regions(SWAP, FACE_REGIONS)), face_alpha(MEAN, SIZE_PX, SWAP), atol=1e-6
    )


@pytest.mark.parametrize(("region", "inside", "outside"), [("lips", 62, 30), ("nose", 30, 8), ("eyebrows", 19, 33)])
def test_a_single_region_opens_only_there(region, inside, outside):
    alpha = face_alpha(MEAN, SIZE_PX, with_regions(SWAP, [region]))
    (x, y), (far_x, far_y) = MEAN[inside], MEAN[outside]
    assert alpha[round(y), round(x)] > 0.8
    assert alpha[round(far_y), round(far_x)] == 0


def test_feather_narrows_the_opening():
    areas = [face_alpha(MEAN, SIZE_PX, SWAP, feather).sum() for feather in (0.0, 0.5, 1.0)]
    assert areas[0] > 1.1 * areas[1] > 1.1 * areas[2]


def test_forehead_can_be_left_out():
    above_brows = slice(0, int(MEAN[17:27, 1].min()) - 4)
    assert face_alpha(MEAN, SIZE_PX, SWAP, forehead=True)[above_brows].any()
    assert not face_alpha(MEAN, SIZE_PX, SWAP, forehead=False)[above_brows].any()


@settings(max_examples=30, deadline=None)
@given(FACES)
def test_forehead_turns_with_the_face(landmarks):
    up = landmarks[27] - landmarks[8]
    up = up / np.linalg.norm(up)
    hairline = forehead_points(landmarks)
    brow = float((landmarks[17:27] @ up).mean())
    assert (hairline @ up).max() > brow
    # Three equal thirds: from hairline to brow is about as far as from brow to the base of the nose.
    third = brow - float(landmarks[33] @ up)
    assert 0.7 < ((hairline @ up).max() - brow) / third < 1.1

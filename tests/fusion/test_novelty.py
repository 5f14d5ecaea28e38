"""What is not the face is told from what is known of the face."""

import cv2
import numpy as np
import pytest

from facexcli.fusion.expectation import SIDE_PX, Expectation, compare, median_and_certainty, soft_ycrcb
from facexcli.fusion.mask import face_outline, fill
from facexcli.fusion.novelty import novelty, trust
from facexcli.fusion.registration import fit_affine
from facexcli.types import Array

SAME_PLACE = np.stack(np.meshgrid(np.arange(SIDE_PX), np.arange(SIDE_PX)), axis=-1).astype(np.float32)


@pytest.fixture
def expected(painted) -> tuple[Expectation, Array, Array]:
    """What a painted face is like, its landmarks in the expectation's pixels, and the crop itself."""
    crop = painted()
    rng = np.random.default_rng(1)
    views = [soft_ycrcb(_noisy(crop.rgb, rng)) for _ in range(9)]
    landmarks = (crop.landmarks_px + 0.5) * (SIDE_PX / crop.size_px) - 0.5
    inside = fill(face_outline(landmarks), SIDE_PX).astype(np.float32) / 255
    nothing = np.zeros((SIDE_PX, SIDE_PX), np.float32)
    return Expectation(*median_and_certainty(np.stack(views)), inside, nothing), landmarks, crop.rgb


def _noisy(rgb: Array, rng: np.random.Generator) -> Array:
    return np.clip(rgb + rng.normal(0, 2, rgb.shape), 0, 255).astype(np.uint8)


def _bar(rgb: Array, colour: tuple[int, int, int]) -> tuple[Array, Array]:
    """A finger across the lower face from the right, and where it is, at `SIDE_PX`."""
    covered, mask = rgb.copy(), np.zeros(rgb.shape[:2], np.uint8)
    for picture, value in ((covered, colour), (mask, (255, 255, 255))):
        cv2.line(picture, (250, 190), (120, 165), value, 34, cv2.LINE_AA)
    return covered, cv2.resize(mask, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)


def test_a_face_as_known_shows_nothing_new(expected):
    known, landmarks, rgb = expected
    view = soft_ycrcb(_noisy(rgb, np.random.default_rng(5)))
    comparison = compare(known, view, SAME_PLACE)
    assert trust(comparison) == 1
    assert novelty(view, comparison.deviation, landmarks)[known.inside > 0.5].max() < 0.5


def test_a_finger_nearly_of_the_colour_of_skin_is_new(expected):
    known, landmarks, rgb = expected
    covered, mask = _bar(rgb, (190, 143, 118))
    view = soft_ycrcb(_noisy(covered, np.random.default_rng(5)))
    new = novelty(view, compare(known, view, SAME_PLACE).deviation, landmarks)
    inside = known.inside > 0.5
    assert (new[inside & (mask > 250)] > 0.5).mean() > 0.9
    beside = cv2.dilate(mask, np.ones((9, 9), np.uint8)) == 0
    assert (new[inside & beside] > 0.5).mean() < 0.01


def test_other_light_and_a_head_that_moved_are_nothing_new(expected):
    known, landmarks, rgb = expected
    ramp = np.linspace(0.94, 1.06, rgb.shape[1])[None, :, None]
    moved = cv2.warpAffine(rgb, np.array([[1, 0, 2.0], [0, 1, -2.0]]), rgb.shape[1::-1], borderMode=1)
    view = soft_ycrcb(np.clip(moved * ramp, 0, 255).astype(np.uint8))
    comparison = compare(known, view, SAME_PLACE)
    new = novelty(view, comparison.deviation, landmarks) > 0.5
    assert new[known.inside > 0.5].mean() < 0.03  # flat, painted skin hardly tells where it is


def test_what_was_never_seen_before_is_not_trusted(expected):
    known, _, rgb = expected
    stranger = np.random.default_rng(2).integers(0, 255, rgb.shape, np.uint8)
    assert trust(compare(known, soft_ycrcb(stranger), SAME_PLACE)) == 0


def test_a_picture_is_laid_over_another_in_spite_of_what_covers_a_third_of_it():
    rng = np.random.default_rng(3)
    template = cv2.GaussianBlur(rng.normal(0, 1, (64, 64)).astype(np.float32), (0, 0), 4) * 300 + 128
    truth = np.array([[1.02, 0.01, 1.2], [-0.015, 0.99, -0.8]])
    picture = cv2.warpAffine(template, truth, (64, 64), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=1) + 9
    picture[:, 44:] = 30
    found = fit_affine(template, np.full((64, 64), 0.3, np.float32), np.ones((64, 64), bool), picture)
    corners = np.array([[8, 8, 1], [40, 8, 1], [8, 55, 1], [40, 55, 1]])
    assert np.abs(corners @ (found - truth).T).max() < 0.35

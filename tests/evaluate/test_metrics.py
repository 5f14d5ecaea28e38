"""Each measure on pictures and points whose answer is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from facexcli.evaluate.measures import cosine_similarity, expression_errors, pearson, psnr_db, rotation_angle_deg
from facexcli.evaluate.metrics.change import NOISE_FACTOR, change_of, seam_of
from facexcli.evaluate.metrics.flicker import FlickerMeter
from facexcli.evaluate.metrics.motion import LEAST_FRAMES, motion_series
from facexcli.evaluate.metrics.regions import RegionMeter, label_regions
from facexcli.evaluate.metrics.view import VIEW_PX, beside_face, inside_face, window_of
from facexcli.geometry.model3d import MEAN_SHAPE, Pose, project, rotation_matrix

if TYPE_CHECKING:
    from conftest import View

    from facexcli.types import Array


def _posed(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, shape: Array = MEAN_SHAPE) -> Array:
    return project(shape, Pose(rotation_matrix(yaw, pitch, roll), 100.0, np.array([200.0, 180.0])))


def _moved(picture: Array, x: float, y: float) -> Array:
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def test_arithmetic() -> None:
    assert psnr_db(0) == float("inf")
    assert psnr_db(25) == pytest.approx(34.15, abs=0.01)  # the customary figure for a standard deviation of 5
    assert cosine_similarity(np.array([1, 0]), np.array([3, 3])) == pytest.approx(np.sqrt(0.5))
    assert np.isnan(pearson(np.array([1, 1, 1]), np.array([1, 2, 3])))
    assert pearson(np.array([1, 2, 3]), np.array([-2, -4, -6])) == pytest.approx(-1)
    assert rotation_angle_deg(rotation_matrix(0, 0, 10), rotation_matrix(0, 0, -5)) == pytest.approx(15)
    assert rotation_angle_deg(rotation_matrix(12, 0, 0), rotation_matrix(12, 0, 0)) == pytest.approx(0, abs=1e-5)


def test_an_expression_is_compared_without_the_features() -> None:
    rng = np.random.default_rng(0)
    motion = rng.normal(0, 0.05, (20, 51, 2))
    one, other = rng.normal(0, 1, (2, 51, 2))
    assert expression_errors(one + motion, other + motion).max() < 1e-12
    still = expression_errors(np.repeat(one[None], 20, 0), other + motion).mean()
    half = expression_errors(one + 0.5 * motion, other + motion).mean()
    assert half == pytest.approx(still / 2, rel=1e-6)


@pytest.mark.parametrize("aspect", [1.0, 16 / 15])
def test_a_view_has_the_face_in_its_middle_in_square_pixels(aspect: float) -> None:
    square = _posed()
    window = window_of(square / (aspect, 1), aspect)
    same = window_of(square, 1.0)
    assert np.allclose(window.landmarks_px, same.landmarks_px, atol=0.5)
    assert np.abs(window.landmarks_px.mean(axis=0) - VIEW_PX / 2).max() < 0.15 * VIEW_PX
    inside, beside = inside_face(window.landmarks_px), beside_face(window.landmarks_px)
    assert not (inside & beside).any()
    assert inside.any() and beside.any()


def test_films_that_are_equal_flicker_alike(view: View) -> None:
    rng = np.random.default_rng(0)
    meter = FlickerMeter()
    for index in range(3):
        noisy = np.clip(view.rgb + rng.normal(0, 3, view.rgb.shape), 0, 255).astype(np.uint8)
        one, other = meter.feed(index, 0, view.landmarks_px, (noisy, noisy))
        assert one == other or index == 0
    assert one.all > 2
    assert one.broad < one.all / 3, "grain averages out"


@pytest.mark.parametrize("codes", [1, 3, 8])
def test_a_change_of_brightness_is_measured_in_code_values(view: View, codes: int) -> None:
    meter = FlickerMeter()
    dark = view.rgb // 2  # so that nothing clips
    meter.feed(0, 0, view.landmarks_px, (dark,))
    (found,) = meter.feed(1, 0, view.landmarks_px, (dark + np.uint8(codes),))
    assert found.all == pytest.approx(codes, abs=0.01)
    assert found.broad == pytest.approx(codes, abs=0.01)


def test_motion_of_the_face_is_no_flicker(view: View) -> None:
    meter = FlickerMeter()
    meter.feed(0, 0, view.landmarks_px, (view.rgb, view.rgb))
    shift = np.array([3, -2])
    moved, left_behind = meter.feed(1, 0, view.landmarks_px + shift, (_moved(view.rgb, *shift), view.rgb))
    # What is left of the moved film is where the warp interpolates between pixels.
    assert moved.all < 0.1
    assert left_behind.all > 20 * moved.all


@pytest.mark.parametrize("step", [(2, 0), (1, 1)], ids=["a frame is missing", "another track"])
def test_flicker_needs_the_frame_before(view: View, step: tuple[int, int]) -> None:
    meter = FlickerMeter()
    meter.feed(0, 0, view.landmarks_px, (view.rgb,))
    (found,) = meter.feed(*step, view.landmarks_px, (view.rgb,))
    assert np.isnan(found.all) and np.isnan(found.broad)


def test_a_new_face_differs_more_than_grain(view: View) -> None:
    rng = np.random.default_rng(0)
    grain = np.clip(view.rgb + rng.normal(0, 4, view.rgb.shape), 0, 255).astype(np.uint8)
    same = change_of(grain, view.rgb, view.landmarks_px)
    assert same.face < 1.0
    assert same.face < NOISE_FACTOR * same.noise
    mirrored = np.where(inside_face(view.landmarks_px)[..., None], view.rgb[:, ::-1], view.rgb)
    other = change_of(mirrored, view.rgb, view.landmarks_px)
    assert other.face > 10
    assert other.noise < 0.5, "nothing was changed beside the face"


def _with_patch(view: View, codes: float, blur_px: float = 0.0) -> Array:
    alpha = inside_face(view.landmarks_px).astype(np.float32)
    if blur_px:
        alpha = cv2.GaussianBlur(alpha, (0, 0), blur_px)
    return np.clip(view.rgb - codes * alpha[..., None], 0, 255).astype(np.uint8)


def test_a_seam_grows_with_its_step_and_shrinks_with_a_soft_edge(view: View) -> None:
    seams = [seam_of(_with_patch(view, codes), view.rgb, view.landmarks_px) for codes in (10, 20, 40, 80)]
    assert seams == sorted(seams)
    assert seams[-1] > 1.5
    soft = seam_of(_with_patch(view, 80, blur_px=6), view.rgb, view.landmarks_px)
    assert soft - 1 < 0.4 * (seams[-1] - 1)


def test_a_seam_is_found_wherever_it_is(view: View) -> None:
    hole = np.zeros((VIEW_PX, VIEW_PX), bool)
    hole[90:150, 80:150] = True
    pasted = np.where(hole[..., None], view.rgb // 2, view.rgb)
    assert seam_of(pasted, view.rgb, view.landmarks_px) > 2


def test_no_change_has_no_seam(view: View) -> None:
    assert np.isnan(seam_of(view.rgb, view.rgb, view.landmarks_px))
    speck = view.rgb.copy()
    speck[100:104, 100:104] = 0
    assert np.isnan(seam_of(speck, view.rgb, view.landmarks_px))


def test_errors_are_counted_where_they_are(view: View) -> None:
    rng = np.random.default_rng(0)
    square = np.array([[40, 40], [120, 40], [120, 120], [40, 120]])
    labels = label_regions((VIEW_PX, VIEW_PX), {1: square})
    assert labels[80, 80] == 1 and labels[10, 10] == 0
    grey = np.full_like(view.rgb, 128)
    noisy = np.where(labels[..., None] == 1, np.round(grey + rng.normal(0, 5, grey.shape)), grey).astype(np.uint8)
    meter = RegionMeter(3)
    meter.feed(noisy, grey, labels)
    inside, outside = meter.fidelity([1]), meter.fidelity([0])
    assert inside is not None and outside is not None
    # 20,000 samples: the estimate of sigma is good to 1 per cent; rounding adds 1/12.
    assert inside.rmse == pytest.approx(np.sqrt(25 + 1 / 12), rel=0.02)
    assert inside.psnr_db == pytest.approx(34.13, abs=0.2)
    assert inside.ssim < 0.9
    assert outside.psnr_db == float("inf") and outside.rmse == 0
    assert meter.fidelity([2]) is None, "a region without a pixel has no figure"


def test_equal_motion_has_no_error() -> None:
    film = np.stack([_posed(yaw) for yaw in np.linspace(-20, 20, LEAST_FRAMES)])
    series = motion_series(film, film)
    for key in ("pose_error_deg", "pose_motion_error_deg", "expression_error", "landmark_error"):
        assert series[key].max() < 1e-4


@pytest.mark.parametrize("turn", [{"yaw": 6.0}, {"pitch": -4.0}, {"roll": 9.0}])
def test_a_turn_is_measured_in_degrees(turn: dict[str, float]) -> None:
    reference = np.stack([_posed() for _ in range(4)])
    turned = np.stack([_posed(), *[_posed(**turn)] * 3])
    series = motion_series(turned, reference)
    (degrees,) = (abs(value) for value in turn.values())
    # dlib's mean face is the fit's own, so what is left is the robust fit's tolerance.
    assert series["pose_error_deg"] == pytest.approx([0, degrees, degrees, degrees], abs=0.3)
    assert series["pose_motion_error_deg"] == pytest.approx([degrees, 0, 0, 0], abs=0.3)
    assert "expression_error" not in series, "four frames do not tell"


def test_a_face_that_does_not_move_has_all_of_the_expression_error() -> None:
    opened = MEAN_SHAPE.copy()
    opened[55:60, 1] += 0.15
    opened[65:68, 1] += 0.15
    opening = [MEAN_SHAPE + part * (opened - MEAN_SHAPE) for part in np.linspace(0, 1, 12)]
    talking = np.stack([_posed(shape=shape) for shape in opening])
    still = motion_series(np.repeat(talking[:1], 12, axis=0), talking)
    assert still["expression_error"].mean() == pytest.approx(still["expression_size"].mean(), rel=0.05)
    assert still["expression_error"].mean() > 0.005
    assert motion_series(talking, talking)["expression_error"].max() < 1e-6


def test_a_neighbour_who_was_changed_is_no_noise(view: View) -> None:
    face = inside_face(view.landmarks_px)[..., None]
    crowded = np.where(face, view.rgb[:, ::-1], view.rgb)
    crowded[:, : VIEW_PX // 5] = 255 - crowded[:, : VIEW_PX // 5]
    pictures = (np.where(face, crowded, view.rgb), crowded)
    alone, beside = (change_of(picture, view.rgb, view.landmarks_px) for picture in pictures)
    assert beside.face == pytest.approx(alone.face, rel=0.05)
    assert beside.noise < 0.5

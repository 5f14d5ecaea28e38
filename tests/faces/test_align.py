from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facexcli.affine import transform_points
from facexcli.faces.align import TEMPLATES, crop_from_frame, fit_similarity, take_crop
from facexcli.faces.shape import FOLLOW_WEIGHTS, MEAN_SHAPE, MIRROR, STEADY_WEIGHTS
from facexcli.types import Array, TemplateName

scales = st.floats(0.05, 20)
angles = st.floats(-np.pi, np.pi)
shifts = st.floats(-2000, 2000)
templates = st.sampled_from(list(TEMPLATES))


def similarity(scale: float, angle: float, x: float, y: float) -> Array:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y], [0, 0, 1]])


@given(scales, angles, shifts, shifts)
def test_a_similarity_is_recovered_exactly(scale: float, angle: float, x: float, y: float) -> None:
    truth = similarity(scale, angle, x, y)
    fitted = fit_similarity(MEAN_SHAPE, transform_points(truth, MEAN_SHAPE), STEADY_WEIGHTS)
    np.testing.assert_allclose(fitted, truth, rtol=1e-9, atol=1e-8)


@given(templates, scales, angles, shifts, shifts, st.floats(0.5, 2))
def test_a_face_lands_on_its_template_whatever_its_place_and_pixel_shape(
    template: TemplateName, scale: float, angle: float, x: float, y: float, aspect: float
) -> None:
    square = transform_points(similarity(100 * scale, angle, x, y), MEAN_SHAPE)
    frame_px = square / (aspect, 1.0)
    matrix = crop_from_frame(frame_px, template, 256, aspect)
    np.testing.assert_allclose(transform_points(matrix, frame_px), TEMPLATES[template].points_px(256), atol=1e-6)


@given(templates, scales, angles, shifts, shifts)
def test_crop_and_back_is_the_identity(template: TemplateName, scale: float, angle: float, x: float, y: float) -> None:
    points = transform_points(similarity(100 * scale, angle, x, y), MEAN_SHAPE)
    matrix = crop_from_frame(points, template, 512)
    np.testing.assert_allclose(
        transform_points(np.linalg.inv(matrix), transform_points(matrix, points)), points, atol=1e-6
    )


def test_templates_nest_and_hold_the_whole_face() -> None:
    for template in TEMPLATES.values():
        points = template.points_px(256)
        assert points[17:68].min() > 0
        assert points[17:68].max() < 255
    ffhq, head = TEMPLATES["ffhq"].points_px(256), TEMPLATES["head"].points_px(256)
    assert np.ptp(ffhq[:, 0]) == pytest.approx(2 * np.ptp(head[:, 0]))
    assert ffhq.max() < 255


def test_arcface_template_agrees_with_the_published_points() -> None:
    points = TEMPLATES["arcface"].points_px(112)
    eyes = [points[36:42].mean(axis=0), points[42:48].mean(axis=0)]
    # The mean face has its own proportions, so the five points cannot all be met.
    np.testing.assert_allclose(eyes, [[38.29, 51.70], [73.53, 51.50]], atol=1.5)
    np.testing.assert_allclose(points[[48, 54]], [[41.55, 92.37], [70.73, 92.20]], atol=1.5)


def test_speech_and_blinks_do_not_move_the_crop() -> None:
    face = MEAN_SHAPE * 200
    speaking = face.copy()
    speaking[[*range(55, 60), *range(65, 68)]] += (0, 40)
    speaking[5:12] += (0, 40)
    speaking[[37, 38, 43, 44]] += (0, 8)
    np.testing.assert_array_equal(crop_from_frame(face, "ffhq", 256), crop_from_frame(speaking, "ffhq", 256))


def test_mirror_is_its_own_inverse_and_fits_the_mean_shape() -> None:
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(68))
    np.testing.assert_allclose(MEAN_SHAPE[MIRROR] * (-1, 1) + (1, 0), MEAN_SHAPE, atol=2e-4)
    for weights in (STEADY_WEIGHTS, FOLLOW_WEIGHTS):
        assert weights.sum() == pytest.approx(1)


def test_a_crop_outside_the_picture_shows_its_border_and_no_picture() -> None:
    matrix = np.array([[1.0, 0, 5000], [0, 1.0, 5000], [0, 0, 1]])
    rgb, valid = take_crop(np.full((360, 640, 3), 7, np.uint8), matrix, 64)
    assert valid is not None
    assert valid.max() == 0
    assert (rgb == 7).all()


def test_a_crop_over_the_border_knows_where_the_picture_ends() -> None:
    matrix = np.array([[1.0, 0, 20], [0, 1.0, 10], [0, 0, 1]])
    _, valid = take_crop(np.zeros((360, 640, 3), np.uint8), matrix, 64)
    assert valid is not None
    expected = np.zeros((64, 64), np.uint8)
    expected[10:, 20:] = 255
    np.testing.assert_array_equal(valid, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_an_unmoved_crop_is_the_region_itself(dtype: type) -> None:
    picture = (np.random.default_rng(3).random((90, 120, 3)) * 200).astype(dtype)
    matrix = np.array([[1.0, 0, -30], [0, 1.0, -20], [0, 0, 1]])
    rgb, valid = take_crop(picture, matrix, 64)
    np.testing.assert_allclose(rgb.astype(float), picture[20:84, 30:94].astype(float), atol=1e-3)
    assert rgb.dtype == dtype
    assert valid is None


def test_landmarks_that_coincide_are_an_error() -> None:
    with pytest.raises(ValueError, match="coincide"):
        crop_from_frame(np.ones((68, 2)), "ffhq", 256)

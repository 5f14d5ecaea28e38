"""Affine maps: boxes, and resampling without aliasing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facexcli.affine import crop_box, resample, shift, transform_points
from facexcli.types import Array

scales = st.floats(0.05, 20)
angles = st.floats(-np.pi, np.pi)


def similarity(scale: float, angle: float, x: float, y: float) -> Array:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y], [0, 0, 1]])


@given(scales, angles, st.floats(0, 96), st.floats(0, 54))
def test_the_box_covers_every_frame_pixel_of_the_crop(scale: float, angle: float, x: float, y: float) -> None:
    matrix = np.linalg.inv(similarity(scale, angle, x, y))
    x0, y0, x1, y1 = crop_box(matrix, 64, (96, 54))
    assert 0 <= x0 < x1 <= 96
    assert 0 <= y0 < y1 <= 54
    grid = np.stack(np.meshgrid(np.arange(96), np.arange(54)), axis=-1).reshape(-1, 2)
    inside = (np.abs(transform_points(matrix, grid) - 31.5) <= 32).all(axis=1)
    used = grid[inside]
    if len(used):
        assert (used >= (x0, y0)).all()
        assert (used < (x1, y1)).all()


@pytest.mark.parametrize("factor", [2.5, 4.0, 9.3])
def test_reduction_does_not_alias(factor: float) -> None:
    """Stripes of one pixel become even gray; plain bilinear sampling would show beats of full contrast."""
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    matrix = np.diag([1 / factor, 1 / factor, 1.0])
    small = resample(stripes, matrix, (40, 40))
    assert abs(float(small[2:-2, 2:-2].mean()) - 127.5) < 3
    assert float(small[2:-2, 2:-2].std()) < 16


def test_reduction_keeps_places() -> None:
    y, x = np.mgrid[0:400, 0:600].astype(np.float32)
    ramp = np.stack([x, y, x + y], axis=-1)
    matrix = np.linalg.inv(similarity(5.3, 0.2, 150, 60))
    small = resample(ramp, matrix, (50, 50))
    v, u = np.mgrid[5:45, 5:45]
    expected = transform_points(np.linalg.inv(matrix), np.stack([u, v], axis=-1))
    # 1/32 of a reduced pixel.
    np.testing.assert_allclose(small[5:45, 5:45, :2], expected, atol=0.35)


def test_a_half_is_reduced_by_means_of_blocks() -> None:
    picture = np.random.default_rng(1).random((40, 40)).astype(np.float32)
    half_from_picture = np.diag([0.5, 0.5, 1.0]) @ shift(-0.5, -0.5)
    half = resample(picture, half_from_picture, (20, 20))
    np.testing.assert_allclose(half, picture.reshape(20, 2, 20, 2).mean(axis=(1, 3)), atol=1e-4)

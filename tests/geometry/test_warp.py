"""Warps invert, meet their control points, and leave the picture alone when nothing moves."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facexcli.geometry.warp import ThinPlate, displacement_map, similarity, transform, warp_image, warp_points

SIZE_PX = 128
SEEDS = st.integers(0, 2**32 - 1)


def scattered(seed: int, count: int = 24, gap_px: float = 10.0) -> np.ndarray:
    """Points at least `gap_px` apart, as landmarks of an open face are."""
    rng = np.random.default_rng(seed)
    points: list[np.ndarray] = []
    for candidate in rng.uniform(8, SIZE_PX - 8, (4000, 2)):
        if len(points) < count and all(np.linalg.norm(candidate - p) > gap_px for p in points):
            points.append(candidate)
    return np.array(points)


def sample(maps: np.ndarray, points: np.ndarray) -> np.ndarray:
    xy = points.astype(np.float32).reshape(-1, 1, 2)
    return cv2.remap(maps, xy, None, cv2.INTER_LINEAR).reshape(-1, 2)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_control_points_map_to_their_partners(seed):
    destination = scattered(seed)
    source = destination + np.random.default_rng(seed + 1).uniform(-3, 3, destination.shape)
    exact = ThinPlate(destination).at(destination, source)
    assert np.abs(exact - source).max() < 0.02  # float32 basis and the smoothing that bears coinciding centres
    gridded = sample(displacement_map(source, destination, SIZE_PX, grid_px=2), destination)
    assert np.abs(gridded - source).max() < 0.25  # linear interpolation between nodes 2 px apart


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_warping_there_and_back_returns(seed):
    rng = np.random.default_rng(seed)
    here = scattered(seed)
    there = here + rng.uniform(-2, 2, here.shape)
    probes = rng.uniform(30, SIZE_PX - 30, (200, 2))
    back = warp_points(warp_points(probes, here, there), there, here)
    # A spline's inverse is no spline: between the centres the round trip is off by a part of the 2 px displacements.
    assert np.abs(back - probes).mean() < 0.35
    assert np.abs(warp_points(warp_points(here, here, there), there, here) - here).max() < 0.05


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(3, 17))
def test_equal_points_leave_the_picture_alone(seed, grid_px):
    points = scattered(seed)
    maps = displacement_map(points, points, SIZE_PX, grid_px)
    identity = np.stack(np.meshgrid(np.arange(SIZE_PX), np.arange(SIZE_PX)), axis=-1)
    assert np.abs(maps - identity).max() < 0.02
    image = np.random.default_rng(seed).integers(0, 256, (SIZE_PX, SIZE_PX, 3), np.uint8)
    assert np.abs(warp_image(image, np.round(maps)).astype(int) - image).max() == 0


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(0.5, 2.0), st.floats(-3.1, 3.1))
def test_affine_motion_is_kept_everywhere(seed, scale, angle):
    points = scattered(seed)
    matrix = np.eye(3)
    matrix[:2] = [[scale * np.cos(angle), -scale * np.sin(angle), 7], [scale * np.sin(angle), scale * np.cos(angle), 3]]
    np.testing.assert_allclose(similarity(points, transform(points, matrix)), matrix, atol=1e-9)
    maps = displacement_map(transform(points, matrix), points, (SIZE_PX, SIZE_PX - 40))
    y, x = np.mgrid[: SIZE_PX - 40, :SIZE_PX]
    expected = transform(np.stack((x, y), axis=-1).reshape(-1, 2), matrix)
    assert np.abs(maps.reshape(-1, 2) - expected).max() < 0.05  # float32 at about 250 px


def test_coinciding_centres_are_averaged():
    points = np.vstack([scattered(3), scattered(3)[:1]])
    values = points.copy()
    values[-1] += 2
    assert np.allclose(ThinPlate(points).at(points[:1], values), points[0] + 1, atol=0.05)


def test_values_may_be_exchanged_without_a_new_spline():
    plate = ThinPlate(scattered(5))
    first, second = scattered(6), scattered(7)
    plate.map(first, SIZE_PX)
    np.testing.assert_allclose(plate.map(second, SIZE_PX), displacement_map(second, scattered(5), SIZE_PX), atol=1e-4)


@pytest.mark.parametrize("points", [np.zeros((2, 2)), np.outer(np.arange(9.0), (1, 2)), np.zeros((5, 3))])
def test_points_that_span_no_plane_are_refused(points):
    with pytest.raises(ValueError, match="centres_xy"):
        ThinPlate(points)


def test_point_sets_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="source points"):
        displacement_map(scattered(1)[:5], scattered(1), SIZE_PX)

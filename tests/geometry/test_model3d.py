"""The embedded face: its proportions, the poses that are read with it, and the rest of a talking, blinking clip."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facexcli.geometry.face_shape import EYES, MEAN_SHAPE, MIRRORED
from facexcli.geometry.model3d import (
    Pose,
    eye_openings,
    fit_pose,
    fit_poses,
    neutral_of,
    personal_shape,
    project,
    reprojection_error,
    rotation_matrix,
    unpose,
)
from facexcli.types import Array, Motion

SCALE_PX = 100.0
poses = st.builds(
    lambda yaw, pitch, roll, scale, x, y: Pose(rotation_matrix(yaw, pitch, roll), scale, np.array([x, y])),
    st.floats(-60, 60), st.floats(-25, 25), st.floats(-40, 40),
    st.floats(20, 400), st.floats(-500, 2000), st.floats(-500, 2000),
)  # fmt: skip


def pose_at(yaw: float = 0, pitch: float = 0, roll: float = 0) -> Pose:
    return Pose(rotation_matrix(yaw, pitch, roll), SCALE_PX, np.array([320.0, 240.0]))


def with_open_mouth(shape: Array, gap: float) -> Array:
    moved = shape.copy()
    moved[[65, 66, 67, 55, 56, 57, 58, 59], 1] += gap
    moved[5:12, 1] += 0.8 * gap
    return moved


def with_shut_eyes(shape: Array) -> Array:
    moved = shape.copy()
    for eye in EYES:
        moved[eye, 1] = moved[eye.start, 1]
    return moved


def test_mean_face_has_the_proportions_of_a_face() -> None:
    # Unit: distance of the outer eye corners, about 90 mm in adults.
    assert np.linalg.norm(MEAN_SHAPE[36] - MEAN_SHAPE[45]) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(MEAN_SHAPE[MIRRORED] * (-1, 1, 1), MEAN_SHAPE, atol=2e-4)
    assert MEAN_SHAPE[:, 2].argmin() == 30, "the tip of the nose is nearest to the camera"
    assert 0.12 < MEAN_SHAPE[33, 2] - MEAN_SHAPE[30, 2] < 0.25, "11 to 22 mm of nose before its base"
    assert 0.35 < MEAN_SHAPE[36, 2] - MEAN_SHAPE[30, 2] < 0.6, "outer eye corners 32 to 54 mm behind the tip"
    assert 0.3 < MEAN_SHAPE[0, 2] - MEAN_SHAPE[36, 2] < 0.8, "temples farther back than the eyes"


@given(poses)
def test_pose_of_a_projection_is_found_again(pose: Pose) -> None:
    found = fit_pose(project(MEAN_SHAPE, pose))
    np.testing.assert_allclose(found.angles_deg, pose.angles_deg, atol=1e-3)
    assert found.scale == pytest.approx(pose.scale, rel=1e-5)
    np.testing.assert_allclose(found.translation_px, pose.translation_px, atol=1e-3 * pose.scale)
    assert reprojection_error(project(MEAN_SHAPE, pose), found) < 1e-4


@pytest.mark.parametrize("yaw", [-60, -40, -20, 0, 20, 40, 60])
def test_pose_is_within_a_degree_under_noise(yaw: float) -> None:
    # 0.5 % of the eyes' distance is what landmarks of a sharp face jitter by.
    noise = np.random.default_rng(0).normal(0, 0.005 * SCALE_PX, (40, 68, 2))
    pose = pose_at(yaw, 8, -12)
    errors = [found.angles_deg - pose.angles_deg for found in fit_poses(project(MEAN_SHAPE, pose) + noise)]
    assert np.abs(errors).max() < 1


@given(poses)
def test_mirrored_face_has_the_mirrored_pose(pose: Pose) -> None:
    bumps = np.random.default_rng(1).normal(0, 0.02, (68, 3))
    landmarks = project(MEAN_SHAPE + bumps, pose)
    angles, mirrored = fit_pose(landmarks).angles_deg, fit_pose(landmarks[MIRRORED] * (-1, 1)).angles_deg
    np.testing.assert_allclose(mirrored, angles * (-1, 1, -1), atol=0.05)


def test_angles_have_the_signs_that_faces_promise() -> None:
    tip, chin = 30, 8
    ahead = project(MEAN_SHAPE, pose_at())
    assert project(MEAN_SHAPE, pose_at(yaw=20))[tip, 0] > ahead[tip, 0] + 5, "yaw > 0 turns to the right"
    assert project(MEAN_SHAPE, pose_at(pitch=20))[tip, 1] > ahead[tip, 1] + 5, "pitch > 0 looks down"
    assert project(MEAN_SHAPE, pose_at(roll=20))[chin, 0] < ahead[chin, 0] - 5, "roll > 0 tilts clockwise"
    assert rotation_matrix(20, -10, 30) == pytest.approx(Pose(rotation_matrix(20, -10, 30), 1, np.zeros(2)).rotation)


def test_open_mouth_and_shut_eyes_leave_the_pose_alone() -> None:
    pose = pose_at(15, -5, 10)
    moved = with_shut_eyes(with_open_mouth(MEAN_SHAPE, 0.3))
    np.testing.assert_allclose(fit_pose(project(moved, pose)).angles_deg, pose.angles_deg, atol=1.0)


@given(poses)
def test_unposed_points_do_not_know_the_pose(pose: Pose) -> None:
    face = with_open_mouth(MEAN_SHAPE, 0.2)
    np.testing.assert_allclose(unpose(project(face, pose), pose), face, atol=1e-6)


@given(poses)
def test_personal_shape_projects_to_the_portrait(pose: Pose) -> None:
    landmarks = project(MEAN_SHAPE, pose) + np.random.default_rng(2).normal(0, 0.03 * pose.scale, (68, 2))
    found = fit_pose(landmarks)
    np.testing.assert_allclose(project(personal_shape(landmarks, found), found), landmarks, atol=1e-6 * pose.scale)


def test_landmarks_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="68"):
        fit_poses(np.zeros((4, 5, 2)))


def talking_clip(yaw_deg: float) -> Motion:
    """A person who starts with an open mouth, talks for two thirds of the clip, blinks twice and sways."""
    frames = []
    for i in range(60):
        gap = 0.25 * abs(np.sin(0.7 * i + 1)) if i < 40 else 0.0
        face = with_open_mouth(MEAN_SHAPE, gap)
        if i % 25 in (10, 11, 12):
            face = with_shut_eyes(face)
        frames.append(project(face, pose_at(yaw_deg + 3 * np.sin(0.2 * i), 2 * np.cos(0.3 * i))))
    return Motion(np.arange(60), np.array(frames, np.float32))


def test_neutral_is_shut_lips_and_open_eyes_whatever_the_first_frame_shows() -> None:
    neutral = neutral_of(talking_clip(0))
    np.testing.assert_allclose(neutral.points, MEAN_SHAPE, atol=0.01)
    np.testing.assert_allclose(neutral.eye_opening_open, eye_openings(MEAN_SHAPE), rtol=0.05)
    assert (neutral.eye_opening_closed < 0.5 * neutral.eye_opening_open).all()


@pytest.mark.parametrize("yaw", [-30.0, 15.0, 30.0])
def test_neutral_does_not_depend_on_the_pose(yaw: float) -> None:
    turned = neutral_of(talking_clip(yaw))
    np.testing.assert_allclose(turned.points, neutral_of(talking_clip(0)).points, atol=0.02)
    assert turned.pose.yaw_deg == pytest.approx(yaw, abs=1.5)


def test_neutral_of_one_frame_is_that_frame() -> None:
    face = with_open_mouth(MEAN_SHAPE, 0.1)
    neutral = neutral_of(Motion(np.array([7]), project(face, pose_at(10))[None].astype(np.float32)))
    np.testing.assert_allclose(neutral.points, face, atol=0.02)

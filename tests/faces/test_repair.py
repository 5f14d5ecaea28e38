from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facexcli import tracks
from facexcli.faces.repair import repair_track
from facexcli.faces.shape import MEAN_SHAPE
from facexcli.faces.tracklet import face_box
from facexcli.geometry.model3d import fit_poses, reprojection_error
from facexcli.types import Array, Face, Track

WIDTH_PX = 120.0
COUNT = 40


def misfit(landmarks_px: Array) -> Array:
    poses = fit_poses(landmarks_px)
    return np.array([reprojection_error(points, pose) for points, pose in zip(landmarks_px, poses, strict=True)])


def make_track(landmarks: Array) -> Track:
    good = next(points for points in landmarks if np.isfinite(points).all())
    boxes = [face_box(points if np.isfinite(points).all() else good) for points in landmarks]
    faces = tuple(Face(box, points.astype(np.float32)) for box, points in zip(boxes, landmarks, strict=True))
    return Track(0, 0, tuple(range(len(faces))), faces, None)


def moving_face() -> Array:
    """A head that walks and nods, with the predictor's trembling and a blink."""
    steps = np.arange(COUNT)
    truth = np.tile(MEAN_SHAPE * WIDTH_PX + (200, 100), (COUNT, 1, 1))
    truth += np.stack([3 * steps, 6 * np.sin(steps / 4)], axis=-1)[:, None]
    for upper, lower in {37: 41, 38: 40, 43: 47, 44: 46}.items():
        truth[20:22, upper] += 0.9 * (truth[20:22, lower] - truth[20:22, upper])
    return truth + np.random.default_rng(3).normal(0, 0.1, truth.shape)


def repaired(track: Track) -> list[int]:
    return [index for index, face in zip(track.frame_indices, track.faces, strict=True) if face.repaired]


def collapsed(points: Array) -> Array:
    return points.mean(axis=0) + 0.2 * (points - points.mean(axis=0))[::-1]


def shuffled(points: Array) -> Array:
    return np.random.default_rng(1).permutation(points)


def stretched(points: Array) -> Array:
    return points.mean(axis=0) + (points - points.mean(axis=0)) * (2.2, 0.6)


def elsewhere(points: Array) -> Array:
    return points + np.array([40, -25])


def missing(points: Array) -> Array:
    return np.full_like(points, np.nan)


@pytest.mark.parametrize("failure", [collapsed, shuffled, stretched, elsewhere, missing])
@pytest.mark.parametrize("frames", [[12], [12, 13, 14], [5, 12, 13, 33]])
def test_what_cannot_be_true_is_replaced_and_marked(failure: object, frames: list[int]) -> None:
    truth = moving_face()
    wrong = truth.copy()
    for index in frames:
        wrong[index] = failure(wrong[index])  # type: ignore[operator]
    given_track = make_track(wrong)
    mended = repair_track(given_track, 25, misfit)
    assert repaired(mended) == frames
    for index in frames:
        face = mended.faces[index]
        # As far as a nod in three frames bends away from a straight line.
        assert np.abs(face.landmarks_px - truth[index]).max() < 0.03 * WIDTH_PX
        np.testing.assert_allclose(face.box_px, face_box(face.landmarks_px), atol=0.01)
    for index in set(range(COUNT)) - set(frames):
        left, given_face = mended.faces[index], given_track.faces[index]
        np.testing.assert_array_equal(left.landmarks_px, given_face.landmarks_px)
        assert replace(left, landmarks_px=given_face.landmarks_px) == given_face


@pytest.mark.parametrize("part", [1, 5, 13])
def test_a_long_track_is_repaired_in_parts_that_do_not_show(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    landmarks = moving_face()
    for index, failure in {0: missing, 4: shuffled, 5: elsewhere, 12: missing, 13: missing, 26: stretched}.items():
        landmarks[index] = failure(landmarks[index])
    track = make_track(landmarks)
    whole = repair_track(track, 25, misfit)
    assert repaired(whole) == [0, 4, 5, 12, 13, 26]
    monkeypatch.setattr(tracks, "_AT_ONCE", part)
    for reuse in (False, True):
        again = repair_track(track, 25, misfit, reuse=reuse)
        assert np.shares_memory(again.faces.landmarks_px, track.faces.landmarks_px) == reuse
        for name in ("landmarks_px", "box_px", "repaired"):
            np.testing.assert_array_equal(getattr(again.faces, name), getattr(whole.faces, name))


def test_a_good_track_is_left_as_it_is() -> None:
    track = make_track(moving_face())
    assert repair_track(track, 25, misfit) is track


def test_blinks_and_fast_motion_are_no_failures() -> None:
    truth = moving_face()
    truth[:, :, 0] += 0.8 * WIDTH_PX * np.sin(2 * np.pi * np.arange(COUNT) / 20)[:, None]
    truth[25:28, 55:60, 1] += 0.15 * WIDTH_PX
    assert repaired(repair_track(make_track(truth), 25, misfit)) == []


def test_a_person_who_moves_on_is_no_failure() -> None:
    truth = moving_face()
    truth[18:] += (60, 0)
    assert repaired(repair_track(make_track(truth), 25, misfit)) == []


def test_the_ends_are_held() -> None:
    wrong = moving_face()
    wrong[0], wrong[-1] = shuffled(wrong[0]), missing(wrong[-1])
    mended = repair_track(make_track(wrong), 25, misfit)
    assert repaired(mended) == [0, COUNT - 1]
    np.testing.assert_array_equal(mended.faces[0].landmarks_px, mended.faces[1].landmarks_px)


def test_what_is_wrong_for_long_is_left() -> None:
    """Nobody knows what it should have been."""
    wrong = moving_face()
    for index in range(10, 25):
        wrong[index] = stretched(wrong[index])
    assert repaired(repair_track(make_track(wrong), 25, misfit)) == []


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_short_tracks_are_handled(count: int) -> None:
    track = make_track(moving_face()[:count])
    assert repair_track(track, 25, misfit) is track


def test_nothing_but_failures_is_an_error() -> None:
    track = make_track(moving_face()[:3])
    broken = Track(7, 0, (0,), (Face((0, 0, 1, 1), np.full((68, 2), np.nan, np.float32)),), None)
    with pytest.raises(ValueError, match="track 7"):
        repair_track(broken, 25, misfit)
    assert repair_track(track, 25, misfit) is track


@given(st.floats(0.2, 5), st.floats(-800, 800), st.integers(2, COUNT - 3))
def test_repairs_move_with_the_picture(scale: float, shift: float, index: int) -> None:
    wrong = moving_face()
    wrong[index] = elsewhere(wrong[index])
    expected = repair_track(make_track(wrong), 25, misfit)
    mended = repair_track(make_track(wrong * scale + shift), 25, misfit)
    assert repaired(mended) == repaired(expected)
    for one, other in zip(mended.faces, expected.faces, strict=True):
        np.testing.assert_allclose(one.landmarks_px, other.landmarks_px * scale + shift, atol=2e-3 * (1 + scale))


def test_lost_faces_between_two_that_fit_badly_are_finite_all_the_same():
    landmarks = np.tile(MEAN_SHAPE * WIDTH_PX + (200, 100), (9, 1, 1))
    landmarks[1:-1] = np.nan
    mended = repair_track(make_track(landmarks), 25, lambda faces: np.repeat((1.0, 0.0, 1.0), (1, len(faces) - 2, 1)))
    assert np.isfinite(mended.faces.landmarks_px).all()
    assert repaired(mended) == list(range(1, 8))

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facexcli import tracks
from facexcli.affine import transform_points
from facexcli.evaluate.measures import eye_opening, landmark_error, mouth_opening
from facexcli.faces.align import crop_from_frame
from facexcli.faces.shape import MEAN_SHAPE
from facexcli.faces.smooth import smooth_track, steady_alignments
from facexcli.faces.tracklet import face_box
from facexcli.types import Array, Face, Track

WIDTH_PX = 120.0
LIDS = {37: 41, 38: 40, 43: 47, 44: 46}


def make_track(landmarks: Array) -> Track:
    faces = tuple(Face(face_box(points), points.astype(np.float32)) for points in landmarks)
    return Track(0, 0, tuple(range(len(faces))), faces, None)


def points_of(track: Track) -> Array:
    return np.stack([face.landmarks_px for face in track.faces]).astype(np.float64)


def still_face(frames: int) -> Array:
    return np.tile(MEAN_SHAPE * WIDTH_PX + (200, 100), (frames, 1, 1))


def close_eyes(points: Array, amount: float) -> None:
    for upper, lower in LIDS.items():
        points[upper] += amount * (points[lower] - points[upper])


def noise(frames: int, seed: int = 1) -> Array:
    """The predictor's trembling: about 0.15 per cent of the interocular distance."""
    return np.random.default_rng(seed).normal(0, 0.0015 * 0.588 * WIDTH_PX, (frames, 68, 2))


def test_a_long_track_is_smoothed_in_parts_that_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    landmarks = still_face(40) + noise(40) + 3 * np.sin(np.arange(40) / 5)[:, None, None]
    track = make_track(landmarks)
    whole = smooth_track(track, 25, 0.7)
    crops = steady_alignments(track, "ffhq", 256, 25, 0.7)
    for part in (1, 9):
        monkeypatch.setattr(tracks, "_AT_ONCE", part)
        for reuse in (False, True):
            given_track = make_track(landmarks)
            again = smooth_track(given_track, 25, 0.7, reuse=reuse)
            np.testing.assert_array_equal(again.faces.landmarks_px, whole.faces.landmarks_px)
            np.testing.assert_array_equal(again.faces.box_px, whole.faces.box_px)
            assert np.shares_memory(again.faces.landmarks_px, given_track.faces.landmarks_px) == reuse
        np.testing.assert_array_equal(steady_alignments(track, "ffhq", 256, 25, 0.7), crops)


def test_strength_zero_changes_nothing() -> None:
    track = make_track(still_face(10) + noise(10))
    assert smooth_track(track, 25, 0.0) is track


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_short_tracks_are_handled(frames: int, strength: float) -> None:
    landmarks = still_face(frames) + noise(frames)
    smoothed = points_of(smooth_track(make_track(landmarks), 25, strength))
    assert smoothed.shape == landmarks.shape
    assert np.abs(smoothed - landmarks).max() < 1
    assert steady_alignments(make_track(landmarks), "ffhq", 256, 25, strength).shape == (frames, 3, 3)


@pytest.mark.parametrize(("frame_rate", "left"), [(12, 0.75), (25, 0.6), (60, 0.4)])
def test_trembling_is_reduced(frame_rate: int, left: float) -> None:
    """The more, the more frames there are in the time in which a face cannot change."""
    truth = still_face(60)
    smoothed = points_of(smooth_track(make_track(truth + noise(60)), frame_rate, 0.7))
    assert np.std(smoothed - truth) < left * np.std(noise(60))


@pytest.mark.parametrize("length", [2, 3])
def test_a_blink_keeps_its_depth_and_its_moment(length: int) -> None:
    truth = still_face(50)
    for index in range(20, 20 + length):
        close_eyes(truth[index], 0.9)
    before = [eye_opening(points) for points in truth + noise(50)]
    after = [eye_opening(points) for points in points_of(smooth_track(make_track(truth + noise(50)), 25, 0.7))]
    depth = np.median(before) - np.min(before)
    assert np.median(after) - np.min(after) > 0.9 * depth
    assert abs(int(np.argmin(after)) - int(np.argmin(before))) < length


def test_fast_speech_is_kept() -> None:
    """Five openings a second, the fastest that lips do."""
    truth = still_face(50)
    for index, points in enumerate(truth):
        points[[*range(55, 60), *range(65, 68)], 1] += 12 * (1 + np.sin(2 * np.pi * 5 * index / 25))
    after = [mouth_opening(points) for points in points_of(smooth_track(make_track(truth + noise(50)), 25, 0.7))]
    before = [mouth_opening(points) for points in truth]
    assert np.corrcoef(before, after)[0, 1] > 0.99
    assert np.std(after) > 0.93 * np.std(before)


def test_there_is_no_lag_and_the_ends_stay() -> None:
    steps = np.arange(40)
    truth = still_face(40) + np.stack([1.5 * steps, 8 * np.sin(steps / 6)], axis=-1)[:, None]
    smoothed = points_of(smooth_track(make_track(truth + noise(40)), 25, 0.7))
    drift = (smoothed - truth).mean(axis=1)
    assert np.abs(drift.mean(axis=0)).max() < 0.03
    assert np.abs(drift[[0, -1]]).max() < 0.35
    reversed_track = make_track((truth + noise(40))[::-1])
    np.testing.assert_allclose(points_of(smooth_track(reversed_track, 25, 0.7))[::-1], smoothed, atol=1e-3)


@given(st.floats(0.2, 5), st.floats(-3, 3), st.floats(-500, 500), st.floats(0.05, 1))
def test_smoothing_moves_with_the_picture(scale: float, angle: float, shift: float, strength: float) -> None:
    landmarks = still_face(8) + noise(8)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    matrix = np.array([[c, -s, shift], [s, c, -shift], [0, 0, 1]])
    moved = np.stack([transform_points(matrix, points) for points in landmarks])
    expected = transform_points(matrix, points_of(smooth_track(make_track(landmarks), 25, strength)))
    np.testing.assert_allclose(
        points_of(smooth_track(make_track(moved), 25, strength)), expected, atol=2e-3 * (1 + scale)
    )


def test_the_box_goes_along() -> None:
    track = make_track(still_face(12) + 40 * noise(12)[:, :1])
    for face in smooth_track(track, 25, 0.8).faces:
        np.testing.assert_allclose(face.box_px, face_box(face.landmarks_px), atol=1e-2)


def test_alignments_are_steadier_than_landmarks_and_stay_similarities() -> None:
    landmarks = still_face(50) + noise(50)
    track = make_track(landmarks)
    raw = np.stack([crop_from_frame(face.landmarks_px, "ffhq", 256, 1.5) for face in track.faces])
    np.testing.assert_allclose(steady_alignments(track, "ffhq", 256, 25, 0.0, 1.5), raw)
    steady = steady_alignments(track, "ffhq", 256, 25, 0.5, 1.5)
    square = steady @ np.diag([1 / 1.5, 1, 1])
    np.testing.assert_allclose(square[:, 0, 0], square[:, 1, 1], atol=1e-12)
    np.testing.assert_allclose(square[:, 0, 1], -square[:, 1, 0], atol=1e-12)
    corner = np.array([0.0, 0.0, 1.0])
    assert np.std(steady @ corner, axis=0).max() < 0.4 * np.std(raw @ corner, axis=0).max()
    assert landmark_error(transform_points(steady[25], landmarks[25]), transform_points(raw[25], landmarks[25])) < 0.01


def test_strength_out_of_range_is_an_error() -> None:
    with pytest.raises(ValueError, match="strength"):
        smooth_track(make_track(still_face(3)), 25, 1.5)

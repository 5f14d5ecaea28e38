from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.relocate import moved_landmarks
from facexcli.faces.select import merge_people
from facexcli.faces.shots import ShotDetector
from facexcli.faces.track import FaceTracker
from facexcli.faces.tracklet import face_box
from facexcli.types import Array, Track

Clips = Callable[[str], list[Array]]
GRID = ["brbk7n", "lbax4n", "lrwp9a", "lwbsza", "sbia1a", "swiz3n"]
ALICE, BOB = "grid_brbk7n.mpg", "grid_swiz3n.mpg"


def track(analyzer: DlibAnalyzer, frames: list[Array], scale: tuple[float, float] | float = 1.0) -> list[Track]:
    tracker, shots = FaceTracker(analyzer, 25), ShotDetector(25)
    for index, frame in enumerate(frames):
        tracker.feed(index, frame, scale, shots.feed(index, frame))
    return tracker.finish()


def centres(item: Track) -> Array:
    return np.array([(face.box_px[0] + face.box_px[2]) / 2 for face in item.faces])


@pytest.mark.parametrize("name", GRID)
def test_every_frame_of_a_talker_has_the_face_in_one_track(analyzer: DlibAnalyzer, clip: Clips, name: str) -> None:
    frames = clip(f"grid_{name}.mpg")
    (only,) = track(analyzer, frames)
    assert only.frame_indices == range(len(frames))
    assert all(face.measured for face in only.faces)
    assert only.embedding is not None


@pytest.mark.parametrize("name", ["asl_want.mkv", "asl_eat.mkv", "head-pose-face-detection-female.gif"])
def test_glasses_hands_and_turned_heads_do_not_lose_the_face(analyzer: DlibAnalyzer, clip: Clips, name: str) -> None:
    frames = clip(name)
    (only,) = track(analyzer, frames)
    assert only.frame_indices == range(len(frames))


def test_two_people_side_by_side_stay_apart(analyzer: DlibAnalyzer, clip: Clips) -> None:
    frames = [np.hstack(pair) for pair in zip(clip(ALICE)[:50], clip(BOB)[:50], strict=True)]
    left, right = sorted(track(analyzer, frames), key=lambda item: float(centres(item)[0]))
    assert left.frame_indices == right.frame_indices == range(50)
    assert centres(left).max() < 360 < centres(right).min()
    assert len(set(merge_people([left, right]).values())) == 2


def test_people_who_cross_keep_their_identity(analyzer: DlibAnalyzer, clip: Clips) -> None:
    """Bob passes in front of Alice: his track is unbroken, and no track of hers ends up on him."""
    frames = []
    for step, (a, b) in enumerate(zip(clip(ALICE)[:60], clip(BOB)[:60], strict=True)):
        frame = np.full((288, 720, 3), 110, np.uint8)
        for picture, x in ((a, 60 + 8 * step), (b, 440 - 8 * step)):
            low, high = max(0, x), min(720, x + 220)
            frame[:, low:high] = picture[:, 70 + low - x : 70 + high - x]
        frames.append(frame)
    tracks = track(analyzer, frames)
    people = merge_people(tracks)
    bob = next(item for item in tracks if centres(item)[0] > 500)
    assert bob.frame_indices == range(60)
    expected = 440 + 96 - 8 * np.arange(60)
    assert np.abs(centres(bob) - expected).max() < 30
    others = [item for item in tracks if item is not bob]
    assert {people[item.id] for item in others} == {people[others[0].id]} != {people[bob.id]}
    for item in others:
        assert np.abs(centres(item) - (60 + 99 + 8 * np.array(item.frame_indices))).max() < 30


def test_a_cut_ends_the_track_and_the_person_is_known_again(analyzer: DlibAnalyzer, clip: Clips) -> None:
    alice, bob = clip(ALICE), clip(BOB)
    tracks = track(analyzer, alice[:20] + bob[:20] + alice[20:40])
    assert [(item.shot, item.frame_indices[0], item.frame_indices[-1]) for item in tracks] == [
        (0, 0, 19),
        (1, 20, 39),
        (2, 40, 59),
    ]
    assert merge_people(tracks) == {0: 0, 1: 1, 2: 0}


def widened(frame: Array) -> Array:
    """With a wall beside it, so that what happens to the face is not a cut."""
    return cv2.copyMakeBorder(frame, 0, 0, 0, 360, cv2.BORDER_REPLICATE)


def covered(frame: Array) -> Array:
    copy = frame.copy()
    cv2.rectangle(copy, (95, 105), (245, 275), (60, 90, 80), -1)
    return copy


def test_a_short_loss_is_bridged(analyzer: DlibAnalyzer, clip: Clips) -> None:
    frames = [widened(frame) for frame in clip(ALICE)[:50]]
    hidden = range(20, 28)
    (only,) = track(analyzer, [covered(frame) if i in hidden else frame for i, frame in enumerate(frames)])
    assert only.frame_indices == range(50)
    made_up = [index for index, face in zip(only.frame_indices, only.faces, strict=True) if not face.measured]
    assert set(made_up) <= set(hidden)
    assert len(made_up) >= 6


def test_a_long_loss_is_not_bridged(analyzer: DlibAnalyzer, clip: Clips) -> None:
    frames = [widened(frame) for frame in clip(ALICE)[:60]]
    hidden = range(15, 40)
    tracks = track(analyzer, [covered(frame) if i in hidden else frame for i, frame in enumerate(frames)])
    seen = {index for item in tracks for index in item.frame_indices}
    assert not seen & set(range(18, 39))
    assert seen >= {*range(15), *range(41, 60)}
    assert set(merge_people(tracks).values()) == {0}


def test_a_face_that_appears_between_detections_is_followed_back(analyzer: DlibAnalyzer, clip: Clips) -> None:
    """Alice is there from the start, Bob comes in at frame 13, between two detections."""
    pairs = zip(clip(ALICE)[:40], clip(BOB)[:40], strict=True)
    frames = [np.hstack([a, b if i >= 13 else covered(b)]) for i, (a, b) in enumerate(pairs)]
    tracks = track(analyzer, frames)
    bob = next(item for item in tracks if centres(item)[0] > 360)
    assert bob.frame_indices == range(13, 40)


def test_fast_motion_is_followed(analyzer: DlibAnalyzer, clip: Clips) -> None:
    """Up to a quarter of the face's width a frame, twice what the predictor can reach by itself."""
    frames, places = [], []
    for index, picture in enumerate(clip(ALICE)[:40]):
        x = int(160 + 100 * np.sin(2 * np.pi * index / 20))
        frame = np.full((288, 640, 3), 110, np.uint8)
        frame[:, x : x + 220] = picture[:, 70:290]
        frames.append(frame)
        places.append(x + 99)
    (only,) = track(analyzer, frames)
    assert only.frame_indices == range(40)
    assert np.abs(centres(only) - places).max() < 8


def test_landmarks_are_in_frame_pixels_also_where_these_are_not_square(analyzer: DlibAnalyzer, clip: Clips) -> None:
    frames = clip(ALICE)[:6]
    (plain,) = track(analyzer, frames)
    (scaled,) = track(analyzer, frames, (1.5, 3.0))
    for a, b in zip(plain.faces, scaled.faces, strict=True):
        np.testing.assert_allclose(b.landmarks_px, (a.landmarks_px + 0.5) * (1.5, 3.0) - 0.5, atol=1e-2)
        x0, y0, x1, y1 = b.box_px
        # The box is a square of the picture, so twice as high as wide in these pixels.
        assert (y1 - y0) / (x1 - x0) == pytest.approx(2, rel=1e-6)


def test_a_video_without_faces_has_no_tracks(analyzer: DlibAnalyzer) -> None:
    frames = [np.full((120, 160, 3), 90, np.uint8)] * 8
    assert track(analyzer, frames) == []
    assert FaceTracker(analyzer, 25).finish() == []


def test_one_frame_is_a_track(analyzer: DlibAnalyzer, clip: Clips) -> None:
    (only,) = track(analyzer, clip(ALICE)[:1])
    assert only.frame_indices == range(1)
    assert only.faces[0].score > 0


def test_a_shifted_picture_is_relocated(analyzer: DlibAnalyzer, clip: Clips) -> None:
    frame = clip(ALICE)[0]
    points = analyzer.landmarks(frame, analyzer.detect(frame)[0].box_px).landmarks_px
    shifted = np.roll(frame, (-25, 60), axis=(0, 1))
    moved = moved_landmarks(frame, shifted, points)
    assert moved is not None
    # The search is on a face of 24 pixels, so half of its pixel is 1/48 of the face.
    assert np.abs(moved - points - (60, -25)).max() < (face_box(points)[2] - face_box(points)[0]) / 40
    assert moved_landmarks(frame, np.random.default_rng(0).integers(0, 255, frame.shape, np.uint8), points) is None


def test_the_data_has_all_talkers(eval_data: Path) -> None:
    assert sorted(path.stem for path in (eval_data / "talking").glob("grid_*.mpg")) == [f"grid_{n}" for n in GRID]

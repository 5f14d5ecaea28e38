from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from facexcli.faces.dissolve import DissolveDetector
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.select import merge_people
from facexcli.faces.shots import ShotDetector
from facexcli.faces.smooth import smooth_track
from facexcli.faces.track import FaceTracker
from facexcli.types import Array, Track

Clips = Callable[[str], list[Array]]
ALICE, BOB = "grid_brbk7n.mpg", "grid_swiz3n.mpg"


def faded(first: list[Array], second: list[Array], start: int, length: int) -> list[Array]:
    """The first clip, mixed into the second from frame `start` on; both run on meanwhile."""
    shares = np.clip((np.arange(len(first)) - start) / length, 0, 1)
    return [cv2.addWeighted(a, 1 - s, b, s, 0) for a, b, s in zip(first, second, shares, strict=True)]


def crossfades(frames: list[Array]) -> list[tuple[int, int]]:
    detector, cuts = DissolveDetector(25), ShotDetector(25)
    told = [detector.feed(index, frame, cuts.feed(index, frame)) for index, frame in enumerate(frames)]
    return [item for item in told if item is not None]


def followed(analyzer: DlibAnalyzer, frames: list[Array]) -> tuple[list[Track], list[int]]:
    """The tracks, and the frames at which shots begin."""
    tracker, cuts, dissolves, starts = FaceTracker(analyzer, 25), ShotDetector(25), DissolveDetector(25), [0]
    for index, frame in enumerate(frames):
        is_cut = cuts.feed(index, frame)
        tracker.feed(index, frame, 1.0, is_cut)
        crossfade = dissolves.feed(index, frame, is_cut)
        middle = tracker.dissolved(*crossfade) if crossfade else None
        starts += [index] * is_cut + ([middle] if middle is not None else [])
    return tracker.finish(), starts


@pytest.mark.parametrize("length", [8, 12, 25])
@pytest.mark.parametrize("pair", [(ALICE, BOB), ("grid_lbax4n.mpg", "grid_lrwp9a.mpg")])
def test_a_crossfade_is_found_where_it_is(clip: Clips, pair: tuple[str, str], length: int) -> None:
    ((first, last),) = crossfades(faded(clip(pair[0])[:60], clip(pair[1])[:60], 15, length))
    assert abs(first - 15) <= 4
    assert abs(last - 15 - length) <= 4


@pytest.mark.parametrize(
    "name", ["asl_book.mkv", "asl_want.mkv", "grid_lwbsza.mpg", "head-pose-face-detection-female.gif"]
)
def test_gestures_and_speech_are_no_crossfades(clip: Clips, name: str) -> None:
    assert crossfades(clip(name)) == []


def test_a_hard_cut_is_no_crossfade(clip: Clips) -> None:
    assert crossfades(clip(ALICE)[:20] + clip(BOB)[:20]) == []


def test_no_track_goes_from_one_person_to_another(analyzer: DlibAnalyzer, clip: Clips) -> None:
    tracks, starts = followed(analyzer, faded(clip(ALICE)[:50], clip(BOB)[:50], 15, 16))
    assert [item.shot for item in tracks] == [0, 1]
    assert starts == [0, tracks[1].frame_indices[0]]
    assert abs(starts[1] - 23) <= 3
    assert tracks[0].frame_indices == range(starts[1])
    assert tracks[1].frame_indices == range(starts[1], 50)
    assert len(set(merge_people(tracks).values())) == 2
    (alone,), _ = followed(analyzer, clip(BOB)[:12])
    people = merge_people([*tracks, replace(alone, id=9)])
    assert people[9] == people[tracks[1].id], "pictures of the mixture do not count"


def test_light_that_changes_slowly_ends_no_track(analyzer: DlibAnalyzer, clip: Clips) -> None:
    """It looks like a crossfade, but the face is still the same person's."""
    frames = clip(ALICE)[:45]
    dimmed = [cv2.convertScaleAbs(frame, alpha=0.55) for frame in frames]
    lit = faded(frames, dimmed, 12, 15)
    assert crossfades(lit) != []
    (only,), starts = followed(analyzer, lit)
    assert only.frame_indices == range(45)
    assert starts == [0]


def test_a_flash_costs_at_most_its_own_frame(analyzer: DlibAnalyzer, clip: Clips) -> None:
    frames = list(clip(ALICE)[:30])
    frames[14] = np.full_like(frames[14], 250)
    tracks, _ = followed(analyzer, frames)
    seen = [index for item in tracks for index in item.frame_indices]
    assert sorted({*range(30)} - set(seen)) in ([], [14])
    assert len(seen) == len(set(seen))
    assert set(merge_people(tracks).values()) == {0}


def test_a_cut_carries_nothing_over(analyzer: DlibAnalyzer, clip: Clips) -> None:
    """Also with smoothing, a shot looks as if it were a clip of its own."""
    alice, bob = clip(ALICE)[:18], clip(BOB)[:18]
    joined, _ = followed(analyzer, alice + bob)
    for own, frames in zip(joined, (alice, bob), strict=True):
        (alone,), _ = followed(analyzer, frames)
        for one, other in zip(smooth_track(own, 25, 1).faces, smooth_track(alone, 25, 1).faces, strict=True):
            np.testing.assert_array_equal(one.landmarks_px, other.landmarks_px)


def test_motion_blur_does_not_drop_a_face(analyzer: DlibAnalyzer, clip: Clips) -> None:
    frames = list(clip(ALICE)[:30])
    for index in range(10, 16):
        frames[index] = cv2.blur(frames[index], (25, 3))
    (only,), _ = followed(analyzer, frames)
    assert only.frame_indices == range(30)


def test_a_head_turned_by_45_degrees_is_kept(analyzer: DlibAnalyzer, clip: Clips) -> None:
    frames = clip("head-pose-face-detection-female.gif")
    (only,), _ = followed(analyzer, frames)
    assert only.frame_indices == range(len(frames))
    assert all(face.measured for face in only.faces)

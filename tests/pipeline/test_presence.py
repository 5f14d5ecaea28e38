"""Faces fade where they come and go, behind somebody else, and where the source has no view of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facexcli.faces.shape import MEAN_SHAPE
from facexcli.faces.tracklet import face_box
from facexcli.pipeline.painter import CropShape
from facexcli.pipeline.presence import Presence, presences, spans_of, turned_faces
from facexcli.types import Analysis, Array, Face, MediaInfo, Person, Shot, Track

WIDTH_PX = 100.0
INFO = MediaInfo(Path("clip.mkv"), "video", 640, 360)


def face(x: float = 300, yaw: float = 0, pitch: float = 0, measured: bool = True) -> Face:
    points = (MEAN_SHAPE * WIDTH_PX + (x - WIDTH_PX / 2, 100)).astype(np.float32)
    return Face(face_box(points), points, yaw_deg=yaw, pitch_deg=pitch, measured=measured)


def track(faces: list[Face], start: int = 0, number: int = 0, shot: int = 0) -> Track:
    return Track(number, shot, tuple(range(start, start + len(faces))), tuple(faces))


def analysis(*tracks: Track, shots: tuple[Shot, ...] = (Shot(0, 30),)) -> Analysis:
    people = tuple(Person(item.id + 1, f"person {item.id + 1}", (item.id,)) for item in tracks)
    return Analysis(INFO, shots[-1].stop, shots, tracks, "dlib", people=people)


def presence(item: Track, known: Analysis, smooth: float = 0.5, reach: tuple[float, float] | None = None) -> Presence:
    return presences([item], known, smooth, reach, {item.id: [face()]})[item.id]


def test_a_face_fades_in_and_out_within_a_shot() -> None:
    item = track([face()] * 10, start=5)
    assert presence(item, analysis(item)).strength.tolist() == [0.25, 0.5, 0.75, 1, 1, 1, 1, 0.75, 0.5, 0.25]


def test_at_cuts_and_at_the_ends_of_the_clip_it_is_simply_there() -> None:
    first, second = track([face()] * 12), track([face()] * 18, 12, 1, 1)
    known = analysis(first, second, shots=(Shot(0, 12), Shot(12, 30)))
    for item in (first, second):
        assert presence(item, known).strength.min() == 1


@pytest.mark.parametrize(("smooth", "first"), [(0, 1.0), (0.2, 0.5), (0.35, 1 / 3), (1, 0.25)])
def test_the_fade_goes_with_the_steadiness_asked_for(smooth: float, first: float) -> None:
    item = track([face()] * 10, start=5)
    assert presence(item, analysis(item), smooth).strength[0] == pytest.approx(first)


def test_a_track_that_was_split_by_hand_does_not_fade_there() -> None:
    one, other = track([face()] * 10), track([face()] * 20, 10, 1)
    known = analysis(one, other)
    assert presence(one, known).strength.min() == presence(other, known).strength.min() == 1
    elsewhere = track([face(x=500)] * 20, 10, 1)
    assert presence(elsewhere, analysis(one, elsewhere)).strength[0] == 0.25


def crossing(count: int = 30) -> tuple[Track, Track]:
    """The first passes behind the second; it is not seen while it is covered."""
    places = np.linspace(-150, 150, count)
    behind = [face(300 + x, measured=abs(x) > 25) for x in places]
    return track(behind), track([face(300 - x) for x in places], number=1)


def test_whoever_passes_in_front_is_not_painted_over() -> None:
    behind, front = crossing()
    known = analysis(behind, front)
    assert presence(front, known).strength.min() == 1
    assert not any(presence(front, known).in_front)
    found = presence(behind, known)
    distance_px = np.abs(np.linspace(-300, 300, 30))
    assert (found.strength[distance_px < 30] == 0).all()
    assert (found.strength[distance_px > 90] == 1).all()
    for place in np.flatnonzero((distance_px > 60) & (distance_px < 90)):
        (landmarks,) = found.in_front[place]
        np.testing.assert_array_equal(landmarks, front.faces[place].landmarks_px)
    assert found.in_front[0] == ()


def test_a_bystander_who_is_not_painted_covers_as_well() -> None:
    behind, front = crossing()
    only = presences([behind], analysis(behind, front), 0.5, None, {})
    assert set(only) == {0}
    assert only[0].strength.min() == 0


def test_people_cheek_to_cheek_do_not_hide_each_other() -> None:
    one, other = track([face(300)] * 20), track([face(300 + 0.9 * WIDTH_PX)] * 20, number=1)
    known = analysis(one, other, shots=(Shot(0, 20),))
    assert presence(one, known).strength.min() == presence(other, known).strength.min() == 1


def test_other_shots_do_not_cover() -> None:
    behind, front = crossing()
    later = replace(front, shot=1, frame_indices=tuple(range(30, 60)))
    known = analysis(behind, later, shots=(Shot(0, 30), Shot(30, 60)))
    assert presence(behind, known).strength.min() == 1


def test_strength_falls_smoothly_with_the_turn_away_from_the_nearest_view() -> None:
    item = track([face(yaw=yaw) for yaw in range(0, 90, 3)])
    known = analysis(item)
    found = presence(item, known, reach=(30, 60))
    assert (found.strength[:11] == 1).all()
    assert (found.strength[20:] == 0).all()
    assert (np.diff(found.strength) <= 0).all()
    assert np.diff(found.strength).min() > -0.16
    assert found.turned.tolist() == (found.strength < 0.95).tolist()
    profile = presences([item], known, 0.5, (30, 60), {0: [face(), face(yaw=80)]})[0]
    assert profile.strength[25:].min() == 1
    assert presence(item, known).strength.min() == 1, "an engine for any pose"


def test_pitch_counts_less_than_yaw() -> None:
    item = track([face(yaw=50), face(pitch=50), face(pitch=-90)])
    found = presence(item, analysis(item, shots=(Shot(0, 3),)), reach=(30, 60))
    assert 0 < found.strength[0] < 1 == found.strength[1]
    assert found.strength[2] < 1


def test_the_frames_are_named() -> None:
    yaws = [0, 70, 70, 0, 0, 50, 0, 0]
    item = track([face(yaw=yaw) for yaw in yaws])
    known = analysis(item, shots=(Shot(0, 8),))
    found = {0: presence(item, known, reach=(30, 60))}
    (line,) = turned_faces(known, found, range(8))
    assert "person 1" in line
    assert "3 of 8 frames: 1-2, 5" in line
    assert "1 of 2 frames: 2" in turned_faces(known, found, range(2, 4))[0]
    assert turned_faces(known, found, range(3, 5)) == []
    spans = [(span["first_frame"], span["last_frame"], span["reason"]) for span in found[0].as_json()]
    assert spans == [(1, 2, "turned"), (5, 5, "turned")]


def test_many_places_do_not_make_an_endless_line() -> None:
    item = track([face(yaw=70 * (index % 2)) for index in range(200)])
    known = analysis(item, shots=(Shot(0, 200),))
    (line,) = turned_faces(known, {0: presence(item, known, reach=(30, 60))}, range(200))
    assert "100 of 200 frames: 1, 3, 5" in line
    assert line.endswith("and 92 more places")


def test_spans() -> None:
    assert spans_of([]) == []
    assert spans_of([3, 4, 5, 9, 11, 12]) == [(3, 5), (9, 9), (11, 12)]


def test_a_placed_face_shows_where_nobody_is_in_front() -> None:
    behind, front = crossing()
    present = presences([behind], analysis(behind, front), 0.5, None, {})
    shape = CropShape.of(INFO, "ffhq", 128)
    frames = shape.place([behind], INFO.frame_rate or 25, 0.5, present)  # type: ignore[arg-type]
    hidden = {index for index, strength in zip(range(30), present[0].strength, strict=True) if strength == 0}
    assert hidden
    assert set(frames) == set(range(30)) - hidden
    (placed,) = frames[0]
    whole = np.ones((128, 128), np.float32)
    assert placed.shown(whole) is whole
    partly = next(placed for index in sorted(frames) for placed in frames[index] if placed.in_front)
    alpha = partly.shown(whole)
    other = next(face for face in front.faces if np.array_equal(face.landmarks_px, partly.in_front[0]))
    assert alpha.max() == pytest.approx(partly.strength)
    assert _at(alpha, partly.crop_from_frame, other.landmarks_px[30]) < 0.05 * partly.strength


def _at(alpha: Array, crop_from_frame: Array, point_px: Array) -> float:
    x, y = np.round(crop_from_frame @ (*point_px, 1))[:2].astype(int)
    return float(alpha[np.clip(y, 0, 127), np.clip(x, 0, 127)])

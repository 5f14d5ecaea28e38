from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facexcli.errors import UsageError
from facexcli.faces.embed import embedding_distance, identity_distance, mean_embedding, unit
from facexcli.faces.select import (
    merge_people,
    nearest_person,
    person_called,
    select_tracks,
    who_is_there,
    with_people,
)
from facexcli.faces.shape import MEAN_SHAPE
from facexcli.types import Analysis, Array, Face, MediaInfo, Person, Shot, Track

ALICE, BOB = unit(np.eye(8)[0]), unit(np.eye(8)[1])


def near(person: Array, seed: int = 0) -> Array:
    return unit(person + np.random.default_rng(seed).normal(0, 0.05, 8))


def make(track_id: int, frames: range, width: float, who: Array | None, shot: int = 0) -> Track:
    face = Face((0.0, 0.0, width, width), (MEAN_SHAPE * width).astype(np.float32))
    return Track(track_id, shot, tuple(frames), (face,) * len(frames), who)


CAST = [
    make(0, range(0, 10), 100, near(BOB, 1), shot=0),
    make(1, range(0, 10), 60, near(ALICE, 2), shot=0),
    make(2, range(10, 60), 90, near(ALICE, 3), shot=1),
    make(3, range(60, 70), 30, near(BOB, 4), shot=2),
    make(4, range(60, 70), 80, None, shot=2),
]


def analysed(*tracks: Track) -> Analysis:
    shots = (Shot(0, 10), Shot(10, 60), Shot(60, 70))
    return with_people(Analysis(MediaInfo(Path("clip.mp4"), "video", 640, 480), 70, shots, tracks, "test"))


SCENE = analysed(*CAST)


def ids(tracks: list[Track]) -> list[int]:
    return [track.id for track in tracks]


def test_people_are_merged_across_shots() -> None:
    assert merge_people(CAST) == {0: 0, 1: 1, 2: 1, 3: 0, 4: 4}


def test_faces_of_one_frame_are_never_one_person() -> None:
    twins = [make(0, range(5), 50, ALICE), make(1, range(3, 9), 50, ALICE), make(2, range(9, 12), 50, ALICE)]
    people = merge_people(twins)
    assert people[0] != people[1]
    assert people[2] in (people[0], people[1])


def test_no_tracks_are_no_people() -> None:
    assert merge_people([]) == {}
    assert analysed().people == ()
    assert select_tracks(analysed()) == []
    assert select_tracks(analysed(), "2") == []


def test_people_are_numbered_by_their_presence() -> None:
    """Bob is larger in the first shot, but Alice is seen longer."""
    assert SCENE.people == (Person(1, "person 1", (1, 2)), Person(2, "person 2", (0, 3)), Person(3, "person 3", (4,)))


def test_largest_is_a_person_not_a_track() -> None:
    assert ids(select_tracks(SCENE)) == [1, 2]


def test_first_is_the_larger_of_those_who_come_first() -> None:
    assert ids(select_tracks(SCENE, "first")) == [0, 3]


def test_all_and_people_by_number_and_name() -> None:
    assert ids(select_tracks(SCENE, "all")) == [0, 1, 2, 3, 4]
    assert ids(select_tracks(SCENE, "3, 1")) == [1, 2, 4]
    named = replace(SCENE, people=(replace(SCENE.people[0], name="Alice"), *SCENE.people[1:]))
    assert ids(select_tracks(named, "alice")) == [1, 2]
    assert ids(select_tracks(named, "Person 2,Alice")) == [0, 1, 2, 3]


def test_small_faces_are_left_out_unless_their_person_is_named() -> None:
    assert ids(select_tracks(SCENE, "all", min_face_px=40)) == [0, 1, 2, 4]
    assert ids(select_tracks(SCENE, "2", min_face_px=40)) == [0, 3]


def test_a_track_that_belongs_to_nobody_is_not_selected() -> None:
    without = replace(SCENE, people=SCENE.people[:1])
    assert ids(select_tracks(without, "all")) == [1, 2]
    assert ids(select_tracks(without, "first")) == [1, 2]


def test_a_reference_still_picks_its_person() -> None:
    assert ids(select_tracks(SCENE, match=near(BOB, 9))) == [0, 3]
    assert select_tracks(SCENE, match=unit(np.eye(8)[5])) == []
    assert nearest_person(SCENE, near(ALICE, 9)) == SCENE.people[0]
    assert nearest_person(SCENE, unit(np.eye(8)[5])) is None


@pytest.mark.parametrize("who", ["7", "Carol", "0", "person", ""])
def test_a_person_who_is_not_there_is_named_with_those_who_are(who: str) -> None:
    with pytest.raises(UsageError, match="7" if who == "7" else "nobody|no person") as caught:
        person_called(SCENE.people, who)
    assert "person 1, person 2, person 3" in caught.value.hint


def test_a_mistyped_rule_is_understood() -> None:
    with pytest.raises(UsageError, match="'larget'") as caught:
        select_tracks(SCENE, "larget")
    assert "'largest'" in caught.value.hint
    named = [replace(SCENE.people[0], name="Alice"), *SCENE.people[1:]]
    with pytest.raises(UsageError, match="'alcie'") as caught:
        person_called(named, "alcie")
    assert caught.value.hint == "did you mean 'Alice'? there are 1 (Alice), person 2, person 3"


def test_a_crowd_is_not_listed_in_full() -> None:
    crowd = [Person(number, f"person {number}", (number,)) for number in range(1, 30)]
    assert who_is_there(crowd).endswith("person 8 and 21 more")
    assert who_is_there([Person(2, "Bob", ())]) == "2 (Bob)"


def test_embedding_arithmetic() -> None:
    assert mean_embedding([]) is None
    mean = mean_embedding([ALICE, BOB])
    assert mean is not None
    assert np.linalg.norm(mean) == pytest.approx(1)
    assert embedding_distance(ALICE, BOB) == pytest.approx(np.sqrt(2))
    assert identity_distance(3 * ALICE, 3 * BOB) == pytest.approx(3 * np.sqrt(2))
    with pytest.raises(ValueError, match="direction"):
        unit(np.zeros(4))

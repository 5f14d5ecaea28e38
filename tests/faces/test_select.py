from __future__ import annotations

import numpy as np
import pytest

from facexcli.errors import UsageError
from facexcli.faces.embed import embedding_distance, identity_distance, mean_embedding, unit
from facexcli.faces.select import merge_people, select_tracks
from facexcli.faces.shape import MEAN_SHAPE
from facexcli.types import Array, Face, Track

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
    assert select_tracks([]) == []


def test_largest_is_a_person_not_a_track() -> None:
    """Bob is larger in the first shot, but Alice is seen longer: she is taken there too."""
    assert ids(select_tracks(CAST)) == [1, 2]


def test_first_is_the_larger_of_those_who_come_first() -> None:
    assert ids(select_tracks(CAST, "first")) == [0, 3]


def test_all_and_ids() -> None:
    assert ids(select_tracks(CAST, "all")) == [0, 1, 2, 3, 4]
    assert ids(select_tracks(CAST, "3, 1")) == [1, 3]


def test_small_faces_are_left_out_unless_named() -> None:
    assert ids(select_tracks(CAST, "all", min_face_px=40)) == [0, 1, 2, 4]
    assert ids(select_tracks(CAST, "3", min_face_px=40)) == [3]


def test_a_reference_still_picks_its_person() -> None:
    assert ids(select_tracks(CAST, match=near(BOB, 9))) == [0, 3]
    assert select_tracks(CAST, match=unit(np.eye(8)[5])) == []


def test_an_id_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(UsageError) as caught:
        select_tracks(CAST, "1,7,9")
    assert "7, 9" in caught.value.message
    assert "0, 1, 2, 3, 4" in caught.value.hint


def test_an_unknown_rule_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="'bigest'"):
        select_tracks(CAST, "bigest")


def test_embedding_arithmetic() -> None:
    assert mean_embedding([]) is None
    mean = mean_embedding([ALICE, BOB])
    assert mean is not None
    assert np.linalg.norm(mean) == pytest.approx(1)
    assert embedding_distance(ALICE, BOB) == pytest.approx(np.sqrt(2))
    assert identity_distance(3 * ALICE, 3 * BOB) == pytest.approx(3 * np.sqrt(2))
    with pytest.raises(ValueError, match="direction"):
        unit(np.zeros(4))

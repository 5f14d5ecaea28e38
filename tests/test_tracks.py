"""Faces in columns are the faces that were put in, and cost what their columns do."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from facexcli.tracks import COLUMNS, Face, Faces, Track, in_parts


def face(number: int, **facts: object) -> Face:
    points = np.full((68, 2), number, np.float32) + np.arange(68, dtype=np.float32)[:, None]
    return Face((0.1 * number, 1.0, 2.5, 3.0), points, **facts)  # type: ignore[arg-type]


def assert_same(one: Face, other: Face) -> None:
    for field in fields(Face):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b and type(a) is type(b), field.name


def test_what_is_put_in_comes_out() -> None:
    given = [
        face(0),
        face(1, score=0.3, yaw_deg=-1.5, pitch_deg=2.0, roll_deg=4.0, measured=False),
        face(2, repaired=True, embedding=np.ones(3, np.float32)),
    ]
    faces = Faces.of(given)
    assert len(faces) == 3
    for one, other in zip(given, faces, strict=True):
        assert_same(one, other)
    assert_same(faces[-1], given[2])
    assert_same(faces[1:][1], given[2])
    assert Faces.of(faces) is faces
    with pytest.raises(IndexError):
        _ = faces[3]


def test_what_is_not_said_is_as_a_face_has_it() -> None:
    given = face(1)
    (found,) = Faces.at(np.array([given.box_px]), given.landmarks_px[None])
    assert_same(found, given)


def test_columns_fit_each_other() -> None:
    faces = Faces.of([face(0), face(1)])
    for name in COLUMNS:
        with pytest.raises(ValueError, match=f"{name} must be"):
            replace(faces, **{name: np.zeros((2, 3))})


def test_a_slice_is_a_view() -> None:
    faces = Faces.of([face(number) for number in range(4)])
    assert np.shares_memory(faces[1:3].landmarks_px, faces.landmarks_px)
    assert np.shares_memory(faces[1].landmarks_px, faces.landmarks_px)


@pytest.mark.parametrize(
    ("given", "kept"),
    [((3, 4, 5), range(3, 6)), ((3, 5), (3, 5)), ((0, 2, 1, 3), (0, 2, 1, 3)), ((7,), range(7, 8)), ((), ())],
)
def test_frames_of_which_none_is_missing_are_a_range(given: tuple[int, ...], kept: object) -> None:
    track = Track(0, 0, given, Faces.of([face(0)] * len(given)))
    assert track.frame_indices == kept
    assert list(track.frame_indices) == list(given)


def test_there_is_a_face_for_each_frame() -> None:
    with pytest.raises(ValueError, match="2 frame indices for 1 faces"):
        Track(0, 0, (0, 1), Faces.of([face(0)]))


def test_parts_follow_each_other() -> None:
    parts = list(in_parts(2500))
    assert [place for part in parts for place in range(part.start, part.stop)] == list(range(2500))
    assert list(in_parts(0)) == []

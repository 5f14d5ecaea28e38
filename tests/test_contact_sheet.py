"""The contact sheet: everybody with their own faces, at the right times, whatever the clip."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from facexcli.contact_sheet import clock, contact_sheet
from facexcli.errors import InputError, NoFaceError
from facexcli.faces.select import with_people
from facexcli.faces.shape import MEAN_SHAPE
from facexcli.media.frames import frame_from_rgb
from facexcli.media.probe import probe
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.types import Analysis, Array, Face, Shot, Track

RED, GREEN = (200, 40, 40), (40, 160, 60)
WIDTH, HEIGHT, FRAMES = 320, 240, 30


def _face(left: float, top: float = 80.0, side: float = 60.0) -> Face:
    landmarks = (MEAN_SHAPE * side + (left, top)).astype(np.float32)
    return Face((left, top, left + side, top + side), landmarks)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The left half is red, the right half green."""
    path = tmp_path_factory.mktemp("clip") / "a long name of a clip that does not end so soon.mkv"
    rgb = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    rgb[:, : WIDTH // 2], rgb[:, WIDTH // 2 :] = RED, GREEN
    with VideoWriter(path, VideoFormat(WIDTH, HEIGHT, "rgb24", Fraction(1, 25)), EncodeOptions("ffv1")) as writer:
        for index in range(FRAMES):
            writer.write(frame_from_rgb(rgb, index, index, Fraction(1, 25), 1))
        writer.commit()
    return path


@pytest.fixture
def analysis(clip: Path) -> Analysis:
    """One person on the left throughout, one on the right in the second shot."""
    left = Track(0, 0, tuple(range(20)), (_face(20, side=70),) * 20)
    right = Track(1, 1, tuple(range(20, FRAMES)), (_face(230),) * 10)
    return with_people(Analysis(probe(clip), FRAMES, (Shot(0, 20), Shot(20, FRAMES)), (left, right), "test"))


def _rows_of(sheet: Array, color: tuple[int, int, int]) -> Array:
    """Rows of the sheet in which there is much of a colour."""
    return np.flatnonzero((np.abs(sheet.astype(int) - color).max(axis=2) < 12).sum(axis=1) > 300)


def test_each_person_has_a_row_of_their_own_faces(analysis: Analysis) -> None:
    sheet = contact_sheet(analysis)
    assert sheet.dtype == np.uint8
    red, green = _rows_of(sheet, RED), _rows_of(sheet, GREEN)
    assert 80 < len(red) < 140
    assert 80 < len(green) < 140
    assert red.max() < green.min(), "the larger person is person 1, and comes first"


def test_the_line_shows_when_somebody_is_there(analysis: Analysis) -> None:
    sheet = contact_sheet(analysis)
    blue = (np.abs(sheet.astype(int) - (0x25, 0x63, 0xEB)).max(axis=2) < 12).any(axis=0)
    pink = (np.abs(sheet.astype(int) - (0xDB, 0x27, 0x77)).max(axis=2) < 12).any(axis=0)
    rail = slice(280, None)  # right of the numbers' discs
    first, second = np.flatnonzero(blue[rail]), np.flatnonzero(pink[rail])
    assert np.ptp(first) == pytest.approx(2 * np.ptp(second), rel=0.05), "20 of the 30 frames, and 10"
    assert first.max() == pytest.approx(second.min(), abs=8)


def test_the_sheet_stays_small_for_a_crowd_and_says_so(analysis: Analysis) -> None:
    tracks = tuple(Track(number, 0, (0,), (_face(10 + number),)) for number in range(50))
    crowd = with_people(replace(analysis, tracks=tracks))
    assert len(crowd.people) == 50
    assert contact_sheet(crowd).shape[0] < 41 * 190 + 120


def test_faces_at_the_border_and_larger_than_the_picture_are_drawn(analysis: Analysis) -> None:
    faces = (_face(-20), _face(WIDTH - 30, HEIGHT - 20), _face(-100, -100, 600), _face(5, 5, 3))
    tracks = tuple(Track(number, 0, (number,), (face,)) for number, face in enumerate(faces))
    sheet = contact_sheet(with_people(replace(analysis, tracks=tracks)))
    assert len(_rows_of(sheet, RED)) + len(_rows_of(sheet, GREEN)) == 0, "a thumbnail each is less than 300 pixels"
    assert (np.abs(sheet.astype(int) - RED).max(axis=2) < 12).sum() > 2 * 110**2


def test_a_name_that_is_too_long_stays_in_its_column(analysis: Analysis) -> None:
    long = replace(analysis, people=(replace(analysis.people[0], name="W" * 60), analysis.people[1]))
    short = replace(analysis, people=(replace(analysis.people[0], name="W"), analysis.people[1]))
    changed = np.argwhere((contact_sheet(long) != contact_sheet(short)).any(axis=2))
    assert len(changed) > 50
    assert changed[:, 1].max() < 28 + 268


def test_names_of_other_scripts_are_legible(analysis: Analysis) -> None:
    """Letters that a font lacks all look the same."""
    drawn = [
        contact_sheet(replace(analysis, people=(replace(analysis.people[0], name=name), analysis.people[1])))
        for name in ("Анна", "Инна", "Жанна")
    ]
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_somebody_without_a_track_has_no_row(analysis: Analysis) -> None:
    emptied = replace(analysis, people=(analysis.people[0], replace(analysis.people[1], track_ids=())))
    assert len(_rows_of(contact_sheet(emptied), GREEN)) == 0
    with pytest.raises(NoFaceError, match="no face to draw"):
        contact_sheet(replace(analysis, people=()))


def test_a_clip_that_ends_too_soon_is_an_input_error(analysis: Analysis) -> None:
    late = Track(0, 0, (500,), (_face(20),))
    with pytest.raises(InputError, match="no frame 500"):
        contact_sheet(with_people(replace(analysis, tracks=(late,))))


def test_clock() -> None:
    assert [clock(value) for value in (0, 3.2, 59.99, 61, 3723)] == [
        "0:00.00",
        "0:03.20",
        "0:59.99",
        "1:01.00",
        "1:02:03",
    ]

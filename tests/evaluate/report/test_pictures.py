"""Pictures show the frames that belong together, small enough for a page."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facexcli.errors import InputError
from facexcli.evaluate.report.choice import Span
from facexcli.evaluate.report.pictures import Origin, take_pictures
from facexcli.media.image import write_image
from facexcli.types import Array

WriteClip = Callable[..., Path]


def _level(jpeg: bytes) -> float:
    return float(_pixels(jpeg).mean())


def _pixels(jpeg: bytes) -> Array:
    return np.asarray(Image.open(BytesIO(jpeg)))


def _flat(level: int, size: tuple[int, int] = (64, 48)) -> Array:
    return np.full((size[1], size[0], 3), level, np.uint8)


@pytest.fixture(scope="module")
def canvas(write_clip: WriteClip) -> Path:
    """Frame i is of the grey 5 i."""
    return write_clip("greys", [_flat(5 * index) for index in range(20)])


@pytest.fixture(scope="module")
def result(write_clip: WriteClip) -> Path:
    """What became of frames 6 to 15 of the canvas: they are lighter by 100."""
    return write_clip("lighter", [_flat(100 + 5 * index) for index in range(6, 16)])


def test_a_frame_stands_beside_the_one_that_it_was_made_from(canvas: Path, result: Path) -> None:
    read = []
    pictures = take_pictures(Origin(result, canvas, start=6), [0, 4, 9], [], lambda: read.append(1))
    for pair in pictures.samples:
        assert _level(pair.before) == pytest.approx(5 * (6 + pair.frame_index), abs=1)
        assert _level(pair.after) == pytest.approx(100 + 5 * (6 + pair.frame_index), abs=1)
        assert pair.time_s == pytest.approx(pair.frame_index / 25)
        assert pair.size_px == (64, 48)
    assert len(read) == 6


def test_a_reenactment_stands_beside_its_portrait_and_its_driver(canvas: Path, result: Path, tmp_path: Path) -> None:
    portrait = tmp_path / "portrait.png"
    write_image(portrait, _flat(33))
    origin = Origin(result, portrait, driving=canvas, start=6)
    for pair in take_pictures(origin, [0, 9], []).samples:
        assert _level(pair.before) == pytest.approx(33, abs=1)
        assert pair.driving is not None
        assert _level(pair.driving) == pytest.approx(5 * (6 + pair.frame_index), abs=1)


def test_numbered_pictures_are_read_by_their_numbers(canvas: Path, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write_image(tmp_path / f"{number:03}.png", _flat(200 + number))
    write_image(tmp_path / "000_other.png", _flat(1))
    (first, last) = take_pictures(Origin(tmp_path / "%03d.png", canvas), [0, 2], []).samples
    assert (_level(first.after), _level(last.after)) == pytest.approx((201, 203), abs=1)
    assert first.time_s is None


def test_a_look_is_at_the_face(write_clip: WriteClip) -> None:
    frame = _flat(20, (320, 240))
    frame[100:140, 200:240] = 250
    clip = write_clip("spot", [frame, frame])
    span = Span("A", 1, 1, 0.04, 0.04, 1, ("?",), 1, (200.0, 100.0, 240.0, 140.0))
    before, after = take_pictures(Origin(clip, clip), [], [span]).looks[span]
    seen = _pixels(after)
    assert seen.shape[0] == seen.shape[1]
    middle = seen.shape[0] // 2
    assert seen[middle, middle].min() > 240
    assert seen[4, 4].max() < 30, "and at some of what is around it"
    assert before == after


def test_of_an_unknown_place_the_whole_frame_is_shown(canvas: Path) -> None:
    span = Span("A", 1, 1, 0.04, 0.04, 1, ("no face found in the result",), 1, None)
    (before, _) = take_pictures(Origin(canvas, canvas), [], [span]).looks[span]
    assert _pixels(before).shape == (48, 64, 3)


def test_noise_is_made_small_enough(write_clip: WriteClip) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1080, 1920, 3), np.uint8)
    clip = write_clip("noise", [noise])
    (pair,) = take_pictures(Origin(clip, clip), [0], []).samples
    assert len(pair.before) <= 140_000
    assert _pixels(pair.before).shape[1] >= 240


def test_a_missing_frame_is_an_error(canvas: Path, result: Path) -> None:
    with pytest.raises(InputError):
        take_pictures(Origin(result, canvas), [12], [])

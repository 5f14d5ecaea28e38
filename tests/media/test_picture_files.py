"""Numbered pictures: all at once or not at all, and nobody else's file is touched."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from facexcli.errors import OutputError
from facexcli.media.image import read_picture
from facexcli.media.picture_files import PicturePattern, PictureWriter, check_folder, output_path
from facexcli.types import Array


def picture(value: int) -> Array:
    return np.full((8, 8, 3), value, np.uint8)


def pattern_of(path: Path) -> PicturePattern:
    pattern = PicturePattern.of(path)
    assert pattern is not None
    return pattern


def write(path: Path, count: int, first: int = 0) -> None:
    with PictureWriter(pattern_of(path)) as writer:
        for number in range(count):
            writer.write(picture(first + number))


@pytest.mark.parametrize(
    ("name", "first", "hundredth"),
    [
        ("%05d.png", "00001.png", "00100.png"),
        ("%d.jpg", "1.jpg", "100.jpg"),
        ("shot_%02d_v2.webp", "shot_01_v2.webp", "shot_100_v2.webp"),
    ],
)
def test_a_pattern_names_pictures_from_one_on(name: str, first: str, hundredth: str) -> None:
    pattern = pattern_of(Path(name))
    assert (pattern.name(1), pattern.name(100)) == (first, hundredth)
    assert pattern.matches(first)
    assert pattern.matches(hundredth)


@pytest.mark.parametrize("other", ["1.png", "000001.png", "0001.png", "x00001.png", "00001.jpg", ".png", "0000a.png"])
def test_other_names_do_not_match(other: str) -> None:
    assert not pattern_of(Path("%05d.png")).matches(other)


@pytest.mark.parametrize("name", ["a.png", "100%done.mp4", "%d.mkv", "%d_%d.png", "%s.png"])
def test_what_is_no_pattern(name: str) -> None:
    assert PicturePattern.of(Path(name)) is None


def test_a_slash_at_the_end_means_pictures() -> None:
    assert output_path("frames/") == Path("frames/%05d.png")
    assert output_path("frames") == Path("frames")
    assert output_path("a/%d.jpg") == Path("a/%d.jpg")


def test_a_new_folder_appears_complete(tmp_path: Path) -> None:
    with PictureWriter(pattern_of(tmp_path / "new" / "%03d.png")) as writer:
        writer.write(picture(1))
        writer.write(picture(2))
        assert not (tmp_path / "new").exists()
        assert all(path.name.startswith(".") for path in tmp_path.iterdir())
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["001.png", "002.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_pictures_can_lie_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("./", "%d.png"):
        write(output_path(text), 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00001.png", "00002.png", "1.png", "2.png"]


def test_a_failed_run_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), PictureWriter(pattern_of(tmp_path / "new" / "%03d.png")) as writer:
        writer.write(picture(1))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_old_pictures_of_the_pattern_are_replaced_and_other_files_stay(tmp_path: Path) -> None:
    write(tmp_path / "%03d.png", 5)
    for name in ("notes.txt", "1.png", "001.jpg", "cover.png"):
        (tmp_path / name).write_text("precious")
    write(tmp_path / "%03d.png", 2, first=100)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["001.jpg", "001.png", "002.png", "1.png", "cover.png", "notes.txt"]
    assert read_picture(tmp_path / "002.png")[0, 0, 0] == 101
    assert (tmp_path / "1.png").read_text() == "precious"


@pytest.mark.parametrize("fails_at", [1, 3, 4])
@pytest.mark.parametrize("error", [OSError(28, "no space"), KeyboardInterrupt()])
def test_a_failure_while_pictures_are_put_in_place_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int, error: BaseException
) -> None:
    write(tmp_path / "%03d.png", 2)
    rename, calls = os.rename, 0

    def failing(origin: Path, place: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise error
        rename(origin, place)

    monkeypatch.setattr("facexcli.media.picture_files.os.rename", failing)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        write(tmp_path / "%03d.png", 3, first=100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["001.png", "002.png"]
    assert [int(read_picture(tmp_path / name)[0, 0, 0]) for name in ("001.png", "002.png")] == [0, 1]


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("file/%d.png", "no/such/%d.png", "part%d/%d.png"):
        with pytest.raises(OutputError):
            check_folder(pattern_of(tmp_path / place))


def test_every_picture_is_marked(tmp_path: Path) -> None:
    with PictureWriter(pattern_of(tmp_path / "a" / "%d.png"), xmp="<marked/>") as writer:
        writer.write(picture(1))
    assert b"<marked/>" in (tmp_path / "a" / "1.png").read_bytes()
    assert read_picture(tmp_path / "a" / "1.png").shape == (8, 8, 3)

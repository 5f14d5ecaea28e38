"""A folder of pictures is a video."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from facexcli.errors import InputError
from facexcli.media.image import read_image, read_picture
from facexcli.media.probe import fingerprint, probe
from facexcli.media.reader import FrameReader, Position
from facexcli.media.scan import AnalysisReader, read_frames_rgb
from facexcli.media.sequence import natural_key
from facexcli.types import Array, Frame


def grey(value: int, size: tuple[int, int] = (48, 32)) -> Image.Image:
    return Image.new("RGB", size, (value, value, value))


def frames_of(folder: Path, start: Position | None = None, stop: Position | None = None) -> list[Frame]:
    with FrameReader(folder, probe(folder), start=start, stop=stop) as reader:
        return list(reader)


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    """Twelve pictures, each as bright as its number times ten, and what else lies about in such a folder."""
    folder = tmp_path / "shot"
    folder.mkdir()
    for number in range(1, 13):
        grey(10 * number).save(folder / f"frame{number}.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / "._frame1.png").write_text("what macOS leaves")
    (folder / "thumbs").mkdir()
    return folder


def test_names_are_sorted_as_people_count() -> None:
    names = ["b1.png", "a10.png", "a2.png", "A1.png", "a2b3.png", "7.png"]
    assert sorted(names, key=natural_key) == ["7.png", "A1.png", "a2.png", "a2b3.png", "a10.png", "b1.png"]


def test_the_pictures_are_its_frames_in_natural_order(shot: Path) -> None:
    info = probe(shot, Fraction(30000, 1001))
    assert (info.kind, info.width_px, info.height_px, info.pix_fmt) == ("sequence", 48, 32, "rgb24")
    assert (info.frame_rate, info.frame_count_from_header) == (Fraction(30000, 1001), 12)
    frames = frames_of(shot)
    assert [int(frame.planes[0][0, 0, 0]) for frame in frames] == [10 * number for number in range(1, 13)]
    assert [(frame.index, frame.time_s) for frame in frames] == [(index, Fraction(index, 25)) for index in range(12)]


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [(3, 6, [3, 4, 5]), (Fraction(1, 5), Fraction(7, 25), [5, 6]), (10, None, [10, 11]), (20, None, [])],
)
def test_a_range_is_cut_by_frame_and_by_time(
    shot: Path, start: Position, stop: Position | None, expected: list[int]
) -> None:
    assert [frame.index for frame in frames_of(shot, start, stop)] == expected


def test_analysis_and_thumbnails_see_the_same_frames(shot: Path) -> None:
    with AnalysisReader(shot, probe(shot)) as reader:
        assert [(index, int(rgb[0, 0, 0])) for index, _, rgb, _ in reader] == [(n, 10 * n + 10) for n in range(12)]
    assert [int(rgb[0, 0, 0]) for rgb in read_frames_rgb(shot, [11, 0])] == [120, 10]


def test_a_missing_number_is_told(shot: Path) -> None:
    (shot / "frame7.png").unlink()
    with FrameReader(shot, probe(shot)) as reader:
        assert len(list(reader)) == 11
        assert any("skip 7" in warning for warning in reader.warnings)


def test_the_picture_of_another_size_is_named(shot: Path) -> None:
    grey(5, (40, 32)).save(shot / "frame4.png")
    with pytest.raises(InputError, match=r"frame4\.png has 40x32 pixels"):
        probe(shot)


def test_a_damaged_picture_in_the_middle_is_named(shot: Path) -> None:
    whole = np.random.default_rng(1).integers(0, 255, (32, 48, 3), np.uint8)
    Image.fromarray(whole).save(shot / "frame5.png")
    content = (shot / "frame5.png").read_bytes()
    (shot / "frame5.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"frame5\.png"):
        frames_of(shot)


def test_a_folder_without_pictures_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture"):
        probe(tmp_path)


def test_the_fingerprint_is_that_of_all_pictures(shot: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(shot, twin)
    (twin / "notes.txt").unlink()
    assert fingerprint(twin) == fingerprint(shot)
    grey(3).save(twin / "frame9.png")
    assert fingerprint(twin) != fingerprint(shot)


def deep(seed: int = 0, channels: int = 3) -> Array:
    return np.random.default_rng(seed).integers(0, 65536, (32, 48, channels)).astype(np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_are_kept(tmp_path: Path, suffix: str, channels: int) -> None:
    samples = deep(channels=channels)
    swapped = cv2.cvtColor(samples, cv2.COLOR_RGB2BGR if channels == 3 else cv2.COLOR_RGBA2BGRA)
    cv2.imwrite(str(tmp_path / f"a{suffix}"), swapped)
    assert probe(tmp_path).pix_fmt == ("rgb48le" if channels == 3 else "rgba64le")
    (frame,) = frames_of(tmp_path)
    assert np.array_equal(frame.planes[0], samples)


def test_grey_of_sixteen_bits_becomes_rgb_of_sixteen(tmp_path: Path) -> None:
    Image.fromarray(deep()[..., 0]).save(tmp_path / "a.png")
    (frame,) = frames_of(tmp_path)
    assert np.array_equal(frame.planes[0], np.repeat(deep()[..., :1], 3, axis=2))


def test_pictures_of_several_kinds_are_read_alike(tmp_path: Path) -> None:
    grey(100).save(tmp_path / "1.bmp")
    Image.new("RGBA", (48, 32), (100, 100, 100, 50)).save(tmp_path / "2.webp", lossless=True)
    cv2.imwrite(str(tmp_path / "3.tiff"), np.full((32, 48, 3), 100 * 257, np.uint16))
    assert probe(tmp_path).pix_fmt == "rgba64le"
    pixels = [frame.planes[0][0, 0].tolist() for frame in frames_of(tmp_path)]
    assert pixels == [[25700] * 3 + [65535], [25700] * 3 + [50 * 257], [25700] * 3 + [65535]]


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "late png", "deep png"])
def test_exif_orientation_is_applied_to_every_kind(tmp_path: Path, number: int, kind: str) -> None:
    upright = np.arange(4 * 6 * 3).reshape(4, 6, 3).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    exif, path = Image.Exif(), tmp_path / f"a.{kind.split()[-1]}"
    exif[0x0112] = number
    Image.fromarray(upright).save(path, exif=exif, quality=95)
    if kind != "jpg":
        chunks = path.read_bytes()
        place = chunks.index(b"eXIf") - 4
        length = 12 + int.from_bytes(chunks[place : place + 4], "big")
        chunk = chunks[place : place + length]
        if kind == "late png":
            path.write_bytes(chunks[:place] + chunks[place + length : -12] + chunk + chunks[-12:])
        if kind == "deep png":
            made = cv2.imencode(".png", cv2.cvtColor(upright.astype(np.uint16) * 257, cv2.COLOR_RGB2BGR))[1].tobytes()
            path.write_bytes(made[:33] + chunk + made[33:])
    expected = read_image(path)
    found = read_picture(path)
    info = probe(tmp_path)
    assert found.shape == expected.shape == (info.height_px, info.width_px, 3)
    if kind == "deep png":
        assert np.array_equal(found // 257, expected)
    else:
        assert np.array_equal(found, expected)


def test_the_header_of_a_png_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grey(1).save(tmp_path / "1.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("a picture was decoded"))
    assert probe(tmp_path).width_px == 48

"""Every kind of input through the whole pipeline, into every kind of output."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from facexcli.api import reenact, swap
from facexcli.config import resolve
from facexcli.errors import InputError, OutputError, UsageError
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.source import find_faces
from facexcli.media.frames import frame_from_rgb
from facexcli.media.image import read_picture
from facexcli.media.orient import unoriented
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.upright import upright_pixels
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.settings import Settings
from facexcli.types import Array
from tests.media.test_probe import matrix_of

FRAMES = 3
MIN_CHANGE_CODES = 8.0
"""Mean change of 8 bits that a swap makes between the eyes and the mouth; recompression and dithering make less."""


def with_flags(**flags: object) -> Settings:
    nowhere = Path("/nonexistent")
    return resolve(flags, cwd=nowhere, home=nowhere)


@pytest.fixture(scope="module")
def pictures(talking_clip: Path) -> list[Array]:
    """The first frames of a talker, uint8 (H, W, 3)."""
    with FrameReader(talking_clip, probe(talking_clip), stop=FRAMES) as reader:
        return [upright_pixels(frame) for frame in reader]


@pytest.fixture(scope="module")
def face(pictures: list[Array]) -> tuple[slice, slice]:
    """Where the middle of the face is: rows and columns."""
    x0, y0, x1, y1 = find_faces(pictures[0], DlibAnalyzer())[0].box_px
    third = (x1 - x0) / 3, (y1 - y0) / 3
    return slice(int(y0 + third[1]), int(y1 - third[1])), slice(int(x0 + third[0]), int(x1 - third[0]))


def shown(path: Path) -> list[Array]:
    """Every frame, upright, uint8 (H, W, 3 or 4)."""
    with FrameReader(path, probe(path)) as reader:
        return [_eight_bits(upright_pixels(frame)) for frame in reader]


def _eight_bits(pixels: Array) -> Array:
    return pixels if pixels.dtype == np.uint8 else cv2.convertScaleAbs(pixels, alpha=255 / 65535)


def is_swapped(before: Array, after: Array, face: tuple[slice, slice], elsewhere_codes: float = 4.0) -> bool:
    """Whether the face was changed, and nothing but the face."""
    change = np.abs(before[..., :3].astype(float) - after[..., :3]).mean(axis=2)
    corners = np.concatenate([change[:40, :60].ravel(), change[:40, -60:].ravel()])
    return bool(change[face].mean() > MIN_CHANGE_CODES and corners.mean() < elsewhere_codes)


def sequence(folder: Path, pictures: list[Array], suffix: str, *, deep: bool = False, clear: bool = False) -> Path:
    folder.mkdir()
    for number, rgb in enumerate(pictures, start=9):  # 9, 10, 11: natural order matters
        pixels = rgb
        if clear:
            alpha = np.full((*rgb.shape[:2], 1), 255, np.uint8)
            alpha[:40] = 0
            pixels = np.concatenate([rgb, alpha], axis=2)
        if deep:
            pixels = pixels.astype(np.uint16) * 257
            code = cv2.COLOR_RGBA2BGRA if clear else cv2.COLOR_RGB2BGR
            cv2.imwrite(str(folder / f"{number}{suffix}"), cv2.cvtColor(pixels, code))
        else:
            Image.fromarray(pixels).save(folder / f"{number}{suffix}", quality=95)
    return folder


@pytest.mark.parametrize(
    ("suffix", "deep", "clear"), [(".png", True, False), (".png", False, True), (".jpg", False, False)]
)
def test_pictures_become_pictures(
    portrait: Path, pictures: list[Array], face: tuple[slice, slice], tmp_path: Path, suffix: str, deep: bool,
    clear: bool,
) -> None:  # fmt: skip
    shot = sequence(tmp_path / "shot", pictures, suffix, deep=deep, clear=clear)
    result = swap(portrait, shot, f"{tmp_path}/out/")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"{number:05}.png" for number in range(1, FRAMES + 1)]
    assert result.frames == FRAMES
    for number, name in enumerate(names):
        before, after = read_picture(shot / f"{9 + number}{suffix}"), read_picture(tmp_path / "out" / name)
        assert (after.dtype, after.shape) == (before.dtype, before.shape)
        assert np.array_equal(before[:40], after[:40]), "not a bit far from the face"
        assert is_swapped(_eight_bits(before), _eight_bits(after), face)
        assert not clear or np.array_equal(before[..., 3], after[..., 3])
        assert b"compositeSynthetic" in (tmp_path / "out" / name).read_bytes()


def test_a_video_becomes_pictures_without_its_sound(
    portrait: Path, talking_clip: Path, pictures: list[Array], face: tuple[slice, slice], tmp_path: Path
) -> None:
    settings = with_flags(trim=f"#0..#{FRAMES}")
    result = swap(portrait, talking_clip, tmp_path / "frames" / "%03d.jpg", settings=settings)
    assert any("audio stream 1" in warning for warning in result.warnings)
    found = [read_picture(tmp_path / "frames" / f"{number:03}.jpg") for number in range(1, FRAMES + 1)]
    assert all(is_swapped(before, after, face) for before, after in zip(pictures, found, strict=True))
    with pytest.raises(OutputError, match="such pictures already"):
        swap(portrait, talking_clip, tmp_path / "frames" / "%03d.jpg", settings=settings)


@pytest.mark.parametrize("deep", [False, True])
def test_a_still_keeps_its_depth_and_its_clear_parts(
    portrait: Path, pictures: list[Array], face: tuple[slice, slice], tmp_path: Path, deep: bool
) -> None:
    target = sequence(tmp_path / "still", pictures[:1], ".png", deep=deep, clear=True) / "9.png"
    swap(portrait, target, tmp_path / "out.png")
    before, after = read_picture(target), read_picture(tmp_path / "out.png")
    assert (after.dtype, after.shape) == (before.dtype, before.shape)
    assert np.array_equal(before[:40], after[:40])
    assert is_swapped(_eight_bits(before), _eight_bits(after), face)
    result = swap(portrait, target, tmp_path / "out.jpg")
    assert any("laid on white" in warning for warning in result.warnings)
    assert read_picture(tmp_path / "out.jpg")[:32].min() > 245


def test_pictures_without_a_face_can_pass_as_they_are(portrait: Path, tmp_path: Path) -> None:
    ramp: Array = np.linspace(0, 65535, 320).astype(np.uint16)[None, :, None].repeat(240, 0).repeat(3, 2)
    shot = tmp_path / "shot"
    shot.mkdir()
    for number in range(2):
        cv2.imwrite(str(shot / f"{number}.png"), ramp)
    result = swap(portrait, shot, tmp_path / "out" / "%d.png", settings=with_flags(no_face="pass"))
    assert (result.frames, result.provenance) == (2, {})
    assert np.array_equal(read_picture(tmp_path / "out" / "2.png"), ramp)
    assert b"compositeSynthetic" not in (tmp_path / "out" / "2.png").read_bytes()


@pytest.mark.parametrize("fps", ["", "23.976"])
def test_a_sequence_becomes_a_video_of_the_rate_that_was_asked_for(
    portrait: Path, pictures: list[Array], tmp_path: Path, fps: str
) -> None:
    shot = sequence(tmp_path / "shot", pictures, ".png")
    swap(portrait, shot, tmp_path / "out.mp4", settings=with_flags(fps=fps or None, trim="#1.."))
    info = probe(tmp_path / "out.mp4")
    assert info.frame_rate == (Fraction(24000, 1001) if fps else 25)
    assert len(shown(tmp_path / "out.mp4")) == FRAMES - 1


def test_a_sequence_drives(portrait: Path, pictures: list[Array], tmp_path: Path) -> None:
    shot = sequence(tmp_path / "shot", pictures, ".bmp")
    assert reenact(portrait, shot, tmp_path / "out.mkv", settings=with_flags(fps="30")).frames == FRAMES
    assert probe(tmp_path / "out.mkv").frame_rate == 30


@pytest.mark.parametrize(
    ("target", "output", "error", "match"),
    [
        ("clip", "out.png", OutputError, "a video, not one picture"),
        ("still", "out.mp4", OutputError, "one picture"),
        ("still", "out/%05d.png", OutputError, "one picture"),
        ("still", "-", OutputError, "one picture"),
        ("shot", "out.png", OutputError, "a video, not one picture"),
        ("shot", "shot/", OutputError, "would replace an input"),
        ("shot", "shot/new_%d.png", OutputError, "would replace an input"),
        ("shot", "missing/out/%d.png", OutputError, "no folder"),
        ("shot", "shot", OutputError, "is a folder"),
    ],
)
def test_outputs_that_cannot_be_are_refused_before_any_work(
    portrait: Path, talking_clip: Path, pictures: list[Array], tmp_path: Path, target: str, output: str,
    error: type[Exception], match: str,
) -> None:  # fmt: skip
    shot = sequence(tmp_path / "shot", pictures, ".png")
    before = sorted(tmp_path.rglob("*"))
    path = {"clip": talking_clip, "still": portrait, "shot": shot}[target]
    with pytest.raises(error, match=match):
        swap(portrait, path, output if output == "-" else f"{tmp_path}/{output}", overwrite=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_rate_is_for_folders_only(portrait: Path, talking_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--fps"):
        swap(portrait, talking_clip, tmp_path / "out.mp4", settings=with_flags(fps="24"))


@pytest.mark.parametrize("text", ["0", "-3", "fast", "25/0", "1e9", "2000"])
def test_what_is_no_rate_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="frame rate"):
        with_flags(fps=text)


def test_a_damaged_picture_stops_the_run_and_leaves_nothing(
    portrait: Path, pictures: list[Array], tmp_path: Path
) -> None:
    shot = sequence(tmp_path / "shot", pictures, ".jpg")
    content = (shot / "10.jpg").read_bytes()
    (shot / "10.jpg").write_bytes(content[: len(content) // 3])
    with pytest.raises(InputError, match=r"10\.jpg"):
        swap(portrait, shot, f"{tmp_path}/out/")
    assert [path.name for path in tmp_path.iterdir()] == ["shot"]


def animation(path: Path, pictures: list[Array], durations_ms: list[int]) -> Path:
    first, *rest = [Image.fromarray(picture) for picture in pictures]
    first.save(path, save_all=True, append_images=rest, duration=durations_ms, loop=0)
    return path


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
@pytest.mark.parametrize("output", ["out.gif", "out.mp4", "out.webm"])
def test_animations_keep_their_times(
    portrait: Path, pictures: list[Array], face: tuple[slice, slice], tmp_path: Path, suffix: str, output: str
) -> None:
    target = animation(tmp_path / f"target{suffix}", pictures, [40, 100, 200])
    swap(portrait, target, tmp_path / output)
    with FrameReader(tmp_path / output, probe(tmp_path / output)) as reader:
        assert [round(frame.time_s * 1000) for frame in reader] == [0, 40, 140]
    for before, after in zip(shown(target), shown(tmp_path / output), strict=True):
        assert is_swapped(before, after, face, elsewhere_codes=7.0)  # 256 colours


@pytest.mark.parametrize(
    ("output", "sound"), [("out.mov", True), ("out.webm", True), ("out.mkv", True), ("out.gif", False)]
)
def test_containers_hold_picture_and_sound(
    portrait: Path, talking_clip: Path, pictures: list[Array], face: tuple[slice, slice], tmp_path: Path, output: str,
    sound: bool,
) -> None:  # fmt: skip
    swap(portrait, talking_clip, tmp_path / output, settings=with_flags(trim=f"#0..#{FRAMES}"))
    found = shown(tmp_path / output)
    assert all(is_swapped(before, after, face, 6.0) for before, after in zip(pictures, found, strict=True))
    with av.open(str(tmp_path / output)) as container:
        assert bool(container.streams.audio) is sound
        if sound:
            samples = sum(frame.samples for frame in container.decode(audio=0))
            rate = container.streams.audio[0].rate
            assert abs(samples / rate - FRAMES / 25) < 0.06  # a packet


GEOMETRIES = [
    pytest.param({"turn_deg": turn_deg, "mirrored": mirrored}, id=f"{turn_deg}{' mirrored' if mirrored else ''}")
    for turn_deg, mirrored in [(90, False), (180, False), (270, False), (0, True), (90, True)]
]


@pytest.mark.parametrize(
    "geometry", [*GEOMETRIES, pytest.param({"odd": True}, id="odd"), pytest.param({"aspect": 2}, id="aspect")]
)
@pytest.mark.parametrize("output", ["out.mp4", "out/"])
def test_a_face_is_found_and_painted_however_the_picture_is_stored(
    portrait: Path, pictures: list[Array], face: tuple[slice, slice], tmp_path: Path, geometry: dict[str, int],
    output: str,
) -> None:  # fmt: skip
    target = _stored(tmp_path / "target.mkv", pictures, **geometry)
    swap(portrait, target, f"{tmp_path}/{output}")
    path = tmp_path / "out" if output == "out/" else tmp_path / output
    before, after = shown(target), shown(path)
    assert len(after) == FRAMES
    assert after[0].shape[:2] == before[0].shape[:2]
    where = (face[0], slice(face[1].start // 2, face[1].stop // 2)) if "aspect" in geometry else face
    assert all(is_swapped(old, new, where, 6.0) for old, new in zip(before, after, strict=True))
    if "aspect" in geometry and output == "out.mp4":
        assert probe(path).sample_aspect_ratio == 2


def _stored(
    path: Path, pictures: list[Array], turn_deg: int = 0, mirrored: bool = False, odd: bool = False, aspect: int = 1
) -> Path:
    """The pictures as a lossless video that shows them upright, however it has them."""
    shaped = [cv2.resize(each, None, fx=1 / aspect, fy=1, interpolation=cv2.INTER_AREA) for each in pictures]
    shaped = [each[: each.shape[0] - 1, : each.shape[1] - 1] if odd else each for each in shaped]
    turned = [np.ascontiguousarray(unoriented(each, turn_deg, mirrored)) for each in shaped]
    height, width = turned[0].shape[:2]
    tick_s = Fraction(1, 25)
    video = VideoFormat(
        width,
        height,
        "rgb24",
        tick_s,
        sample_aspect_ratio=Fraction(aspect),
        display_matrix=matrix_of(turn_deg, mirrored),
    )
    with VideoWriter(path, video, EncodeOptions("h264", crf=4)) as writer:
        for index, pixels in enumerate(turned):
            writer.write(frame_from_rgb(pixels, index, index, tick_s, 1))
    return path

"""GIF and animated WebP: times, clear parts and composed pictures; and what GIF makes of a video."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from facexcli.media.encoders import EncodeOptions, VideoFormat
from facexcli.media.frames import frame_from_rgb
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.upright import upright_pixels
from facexcli.media.writer import VideoWriter
from facexcli.types import Array, ColorDescription, Frame
from tests.media.test_probe import matrix_of

DURATIONS_MS = [40, 80, 30, 200]


def frames_of(path: Path) -> list[Frame]:
    with FrameReader(path, probe(path)) as reader:
        return list(reader)


def quadrants(number: int) -> Image.Image:
    """Four colours, one of them with the number; clear below."""
    pixels = np.zeros((40, 60, 4), np.uint8)
    pixels[:20, :30] = (255, 0, 0, 255)
    pixels[:20, 30:] = (0, 255, 0, 255)
    pixels[20:, :30] = (0, 0, 60 * number, 255)
    return Image.fromarray(pixels)


def animation(path: Path, durations_ms: list[int], disposal: int = 2) -> Path:
    first, *rest = [quadrants(number) for number in range(len(durations_ms))]
    kind = {"disposal": disposal} if path.suffix == ".gif" else {"lossless": True, "exact": True}
    first.save(path, save_all=True, append_images=rest, duration=durations_ms, loop=0, **kind)
    return path


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_every_frame_has_its_own_time(tmp_path: Path, suffix: str) -> None:
    path = animation(tmp_path / f"a{suffix}", DURATIONS_MS)
    info, frames = probe(path), frames_of(path)
    assert (info.kind, info.is_vfr) == ("animation", True)
    assert [frame.time_s * 1000 for frame in frames] == [0, 40, 120, 150]
    assert [frame.duration * frame.time_base * 1000 for frame in frames] == DURATIONS_MS


def test_webp_says_its_length_and_mean_rate(tmp_path: Path) -> None:
    info = probe(animation(tmp_path / "a.webp", DURATIONS_MS))
    assert (info.duration_s, info.frame_count_from_header) == (Fraction(350, 1000), 4)
    assert info.frame_rate == Fraction(4 * 1000, 350)


def test_a_frame_without_a_duration_lasts_as_long_as_in_browsers(tmp_path: Path) -> None:
    frames = frames_of(animation(tmp_path / "a.webp", [40, 0, 40]))
    assert [frame.duration for frame in frames] == [40, 100, 40]


@pytest.mark.parametrize(("suffix", "disposal"), [(".webp", 0), (".gif", 2), (".gif", 1)])
def test_pictures_are_composed_and_clear_parts_stay_clear(tmp_path: Path, suffix: str, disposal: int) -> None:
    for number, frame in enumerate(frames_of(animation(tmp_path / f"a{suffix}", DURATIONS_MS, disposal))):
        found = upright_pixels(frame)
        assert found[5, 5].tolist() == [255, 0, 0, 255]
        assert found[5, 55].tolist() == [0, 255, 0, 255]
        assert found[35, 5, 3] == 255
        assert abs(int(found[35, 5, 2]) - 60 * number) < 4  # a palette entry
        assert found[35, 55, 3] == 0


def gif_of(path: Path, count: int, tick_s: Fraction, **changes: object) -> list[str]:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    video = replace(VideoFormat(64, 48, "rgb24", tick_s, 1 / tick_s), **changes)  # type: ignore[arg-type]
    with VideoWriter(path, video, EncodeOptions(), tags={"comment": "marked"}) as writer:
        for index in range(count):
            rgb: Array = np.stack([np.tile(ramp, (48, 1)), np.full((48, 64), index * 2), np.full((48, 64), 90)], axis=2)
            writer.write(frame_from_rgb(rgb.astype(np.uint8), index, index, tick_s, 1))
    return writer.warnings


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(50)])
def test_a_gif_keeps_every_frame_and_does_not_drift(tmp_path: Path, rate: Fraction) -> None:
    assert gif_of(tmp_path / "a.gif", 100, 1 / rate) == []
    times_s = [frame.time_s for frame in frames_of(tmp_path / "a.gif")]
    assert len(times_s) == 100
    assert all(abs(time_s - index / rate) <= Fraction(1, 200) for index, time_s in enumerate(times_s))


@pytest.mark.parametrize("rate", [60, 120])
def test_a_gif_leaves_out_what_players_would_slow_down_for(tmp_path: Path, rate: int) -> None:
    warnings = gif_of(tmp_path / "a.gif", 60, Fraction(1, rate))
    times_s = [frame.time_s for frame in frames_of(tmp_path / "a.gif")]
    assert all(after - before >= Fraction(1, 50) for before, after in pairwise(times_s))
    assert abs(times_s[-1] - Fraction(59, rate)) < Fraction(1, 40)
    assert any(f"{60 - len(times_s)} frames were left out" in warning for warning in warnings)


def test_a_gif_loops_is_marked_and_near_the_picture(tmp_path: Path) -> None:
    gif_of(tmp_path / "a.gif", 3, Fraction(1, 25))
    with Image.open(tmp_path / "a.gif") as picture:
        assert (picture.info["loop"], picture.n_frames) == (0, 3)
    with av.open(str(tmp_path / "a.gif")) as container:
        assert container.metadata["comment"] == "marked"
    found = upright_pixels(frames_of(tmp_path / "a.gif")[1])[..., 0].astype(float)
    blurred = found.reshape(12, 4, 16, 4).mean(axis=(1, 3))  # dithering is right on average
    assert np.abs(blurred - np.linspace(0, 255, 64).reshape(16, 4).mean(axis=1)).max() < 6


@pytest.mark.parametrize("suffix", [".gif", ".avi"])
@pytest.mark.parametrize(("turn_deg", "mirrored"), [(90, False), (180, False), (270, True), (0, True)])
def test_pixels_are_turned_where_a_container_cannot_say_so(
    tmp_path: Path, suffix: str, turn_deg: int, mirrored: bool
) -> None:
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[:24, :32], rgb[24:, :32] = (250, 20, 20), (20, 20, 250)
    frame = replace(frame_from_rgb(rgb, 0, 0, Fraction(1, 25), 1), rotation_deg=turn_deg, mirrored=mirrored)
    video = VideoFormat(64, 48, "rgb24", Fraction(1, 25), display_matrix=matrix_of(turn_deg, mirrored))
    path = tmp_path / f"a{suffix}"
    with VideoWriter(path, video) as writer:
        writer.write(frame)
        writer.write(replace(frame, index=1, pts=1))
    assert any("turned" in warning for warning in writer.warnings)
    expected, found = upright_pixels(frame).astype(int), upright_pixels(frames_of(path)[0])[..., :3]
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 12  # chroma edges of 4:2:0, where any other turn differs by 60


def test_hdr_is_shown_as_sdr_in_a_gif(tmp_path: Path) -> None:
    pq = ColorDescription(primaries=9, transfer=16, matrix=0, range=2)
    path, frame = tmp_path / "a.gif", frame_from_rgb(np.full((48, 64, 3), 148, np.uint8), 0, 0, Fraction(1, 25), 1)
    hdr = replace(frame, color=pq)
    with VideoWriter(path, VideoFormat(64, 48, "rgb24", Fraction(1, 25), color=pq)) as writer:
        writer.write(hdr)
    assert any("shown as SDR" in warning for warning in writer.warnings)
    shown = upright_pixels(hdr)
    assert shown.min() > 180, "148 of 255 is 203 cd/m2, the reference white"
    assert np.abs(upright_pixels(frames_of(path)[0])[..., :3].astype(int) - shown).max() < 6


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "h264"), ("a.mkv", "hevc"), ("a.mov", "prores"), ("a.mp4", "av1"), ("a.webm", "vp9"), ("a.mkv", "av1"),
     ("a.gif", "auto")],
)  # fmt: skip
def test_the_shape_of_pixels_is_kept_or_its_loss_told(tmp_path: Path, name: str, codec: str) -> None:
    video = VideoFormat(64, 48, "rgb24", Fraction(1, 25), sample_aspect_ratio=Fraction(16, 11))
    rgb = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    with VideoWriter(tmp_path / name, video, EncodeOptions(codec)) as writer:
        for index in range(2):
            writer.write(frame_from_rgb(rgb, index, index, Fraction(1, 25), 1))
    told = any("not square" in warning for warning in writer.warnings)
    assert told or probe(tmp_path / name).sample_aspect_ratio == Fraction(16, 11)

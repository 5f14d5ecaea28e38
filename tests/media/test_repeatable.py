"""The same frames become the same packets, whatever the memory held before."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from facexcli.media import repeatable
from facexcli.media.encoders import EncodeOptions, VideoFormat, choose_encoder
from facexcli.media.frames import frame_from_rgb
from facexcli.media.writer import VideoWriter
from facexcli.types import Frame, HdrMetadata

SIZE, FRAMES = (352, 288), 15
_M_PERTURB = -6  # mallopt(3): allocated memory is filled with one byte, freed memory with another


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """A picture that moves, with noise: motion is what x264 weighs blocks by."""
    chance = np.random.default_rng(3)
    blocks = chance.integers(16, 235, (48, 56, 3)).repeat(8, axis=0).repeat(8, axis=1)
    width_px, height_px = SIZE
    moving = []
    for index in range(FRAMES):
        seen = blocks[index * 2 :, index * 3 :][:height_px, :width_px]
        rgb = (seen + chance.normal(0, 2, seen.shape)).clip(0, 255).astype(np.uint8)
        moving.append(frame_from_rgb(rgb, index, index, Fraction(1, 25), 1))
    return moving


@pytest.fixture
def fill() -> Iterator[Callable[[int], object]]:
    """fill(byte) makes the C library fill memory that is handed out, and another way what is given back."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc can be told to fill memory")
    libc = ctypes.CDLL(None)
    yield lambda byte: libc.mallopt(_M_PERTURB, byte)
    libc.mallopt(_M_PERTURB, 0)


def _packets(path: Path, frames: list[Frame], options: EncodeOptions) -> list[bytes]:
    with VideoWriter(path, VideoFormat(*SIZE, "rgb24", Fraction(1, 25)), options) as writer:
        for frame in frames:
            writer.write(frame)
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0)]


@pytest.mark.parametrize(
    ("codec", "preset", "pix_fmt"),
    [("h264", "veryfast", "yuv420p"), ("h264", "medium", "yuv420p"), ("h264", "fast", "yuv420p10le"),
     ("hevc", "veryfast", "yuv420p"),
     ("hevc", "veryfast", "yuv420p10le"), ("av1", "veryfast", "yuv420p"), ("vp9", "veryfast", "yuv420p"),
     ("prores", "veryfast", "yuv422p10le"), ("ffv1", "veryfast", "yuv420p")],
)  # fmt: skip
def test_packets_do_not_depend_on_what_memory_held(
    frames: list[Frame], fill: Callable[[int], object], tmp_path: Path, codec: str, preset: str, pix_fmt: str
) -> None:
    options = EncodeOptions(codec, 18, preset, pix_fmt)
    made = []
    for byte in (0x00, 0x55, 0xAA):
        fill(byte)
        made.append(_packets(tmp_path / f"{byte}.mkv", frames, options))
    assert len(made[0]) >= FRAMES
    assert made[1] == made[0]
    assert made[2] == made[0]


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4", ".mov", ".avi"])
def test_the_same_frames_become_the_same_file(frames: list[Frame], tmp_path: Path, suffix: str) -> None:
    options = EncodeOptions("vp9" if suffix == ".webm" else "h264", 30, "ultrafast")
    made = []
    for name in ("one", "two"):
        _packets(tmp_path / f"{name}{suffix}", frames[:3], options)
        made.append((tmp_path / f"{name}{suffix}").read_bytes())
    assert made[0] == made[1]


def _cpu(monkeypatch: pytest.MonkeyPatch, *features: int) -> None:
    monkeypatch.setattr(cv2, "checkHardwareSupport", lambda feature: feature in features)


def test_a_processor_is_never_told_to_use_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    avx2, fma3, avx512 = repeatable._AVX2, repeatable._FMA3, repeatable._AVX512F
    names = [cv2.getHardwareFeatureName(number) for number in (avx2, fma3, avx512)]
    assert names == ["AVX2", "FMA3", "AVX512F"]
    for features in ((), (avx2, fma3), (avx512, avx2)):
        _cpu(monkeypatch, *features)
        assert repeatable.repeatable_options("libx264") == {}
    _cpu(monkeypatch, avx2, fma3, avx512)
    assert repeatable.repeatable_options("libx264") == {"x264-params": "asm=AVX2,FMA3"}
    assert repeatable.repeatable_options("libx265") == {}


def test_what_repeats_does_not_cost_hdr_its_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    _cpu(monkeypatch, repeatable._AVX2, repeatable._FMA3, repeatable._AVX512F)
    video = VideoFormat(*SIZE, "yuv420p10le", Fraction(1, 25), hdr=HdrMetadata(None, 1000, 400))
    options = choose_encoder(video, EncodeOptions("h264"), ".mkv").options
    assert options["x264-params"] == "asm=AVX2,FMA3:cll=1000,400"

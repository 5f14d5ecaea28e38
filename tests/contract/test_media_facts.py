"""Every file of the evaluation folder: the decodable ones give their known facts, the others one clear line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import facexcli
from facexcli.faces.base import Analyzer
from facexcli.media.image import read_image
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.types import MediaInfo

_FOLDER = Path(os.environ.get("FACEX_TEST_DATA", Path(__file__).parents[2].parent / "shared/data/eval")) / "media"
_EXPECTED: dict[str, Any] = (
    json.loads((_FOLDER / "EXPECTED.json").read_text("utf-8"))["files"] if _FOLDER.is_dir() else {}
)
VIDEOS = sorted(name for name, facts in _EXPECTED.items() if facts.get("video_decodable"))
IMAGES = sorted(name for name, facts in _EXPECTED.items() if "image" in facts)
NO_PICTURE = sorted(set(_EXPECTED) - set(VIDEOS) - set(IMAGES))
# FFmpeg's names of the code points that occur (H.273).
_PRIMARIES = {"bt709": 1, "unspecified": 2, "bt470bg": 5, "bt2020": 9}
_TRANSFERS = {"bt709": 1, "unspecified": 2, "smpte170m": 6, "bt2020-12": 15, "smpte2084": 16, "arib-std-b67": 18}
_MATRICES = {"bt709": 1, "unspecified": 2, "bt470bg": 5, "smpte170m": 6, "bt2020nc": 9}
_RANGES = {"unspecified": 0, "tv": 1, "pc": 2}
_DECODERS = {"libdav1d": "av1", "mp3float": "mp3", None: ""}

pytestmark = pytest.mark.skipif(not _EXPECTED, reason=f"no evaluation media at {_FOLDER}; set FACEX_TEST_DATA")


def declared_color(facts: dict[str, Any]) -> tuple[int, int, int, int]:
    color = facts["color"]
    return (
        _PRIMARIES[color["primaries"]], _TRANSFERS[color["trc"]], _MATRICES[color["space"]], _RANGES[color["range"]]
    )  # fmt: skip


@cache
def frames_of(path: Path) -> list[tuple[int, int, str]]:
    """(index, pts, pixel format) of every frame."""
    with FrameReader(path, probe(path)) as reader:
        return [(frame.index, frame.pts, frame.pix_fmt) for frame in reader]


@pytest.mark.parametrize("name", VIDEOS)
def test_a_decodable_file_gives_its_facts(name: str) -> None:
    whole = _EXPECTED[name]
    facts = whole["video"]
    info = probe(_FOLDER / name)
    assert (info.width_px, info.height_px) == (facts["width"], facts["height"])
    assert (info.display_width_px, info.display_height_px) == (facts["display_width"], facts["display_height"])
    assert info.rotation_deg == -facts["rotation_deg_ccw"] % 360
    assert not info.mirrored
    assert info.pix_fmt == facts["frame_pix_fmts"][0]
    assert info.bit_depth == (10 if "10" in info.pix_fmt else 8)
    color = info.color
    assert (color.primaries, color.transfer, color.matrix, color.range) == declared_color(facts)
    assert info.time_base == Fraction(facts["time_base"])
    assert info.sample_aspect_ratio == Fraction(facts["sample_aspect_ratio"] or 1)
    assert info.is_vfr == facts["is_vfr"]
    assert info.frame_count_from_header == (facts["declared_frames"] or None)
    assert info.video_codec == _DECODERS.get(facts["codec"], facts["codec"])
    assert info.stream_index == facts["stream_index"]
    expected = [(stream["index"], stream["type"], _DECODERS.get(stream["codec"], stream["codec"]))
                for stream in whole["streams"]]  # fmt: skip
    assert [(stream.index, stream.kind, stream.codec) for stream in info.streams] == expected
    rate = (facts["frames_decoded"] - 1) / (info.duration_s or 1)
    assert info.frame_rate is not None
    assert float(info.frame_rate) == pytest.approx(facts["measured_fps"], rel=0.03), rate
    frames = frames_of(info.path)
    assert [index for index, _, _ in frames] == list(range(facts["frames_decoded"]))
    assert [pts for _, pts, _ in frames[:5]] == facts["first_5_pts"]
    assert info.start_pts == facts["first_5_pts"][0]
    assert {pix_fmt for _, _, pix_fmt in frames} == set(facts["frame_pix_fmts"])


@pytest.mark.parametrize("name", VIDEOS)
def test_a_decodable_file_comes_out_of_a_swap_as_it_went_in(
    name: str, portrait: Path, blind: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a swap that finds nobody, the whole way: analysed, decoded, encoded, every stream beside it."""
    monkeypatch.setattr("facexcli.pipeline.models.choose_analyzer", lambda *_: (blind, "for the test"))
    facts = _EXPECTED[name]["video"]
    info = probe(_FOLDER / name)
    # The small ones with the encoder of their own kind, the others with a fast one.
    small = facts["width"] * facts["height"] * facts["frames_decoded"] < 5e6
    encoder = {} if small else {"codec": "h264", "encoder_preset": "ultrafast"}
    settings = facexcli.resolve({"no_face": "pass", "cache": 0, "crf": 30, **encoder})
    result = facexcli.swap(portrait, info.path, tmp_path / "out.mp4", settings=settings)
    made = probe(result.output)
    assert result.frames == facts["frames_decoded"]
    times = [[pts * each.time_base for _, pts, _ in frames_of(each.path)] for each in (info, made)]
    assert times[0] == times[1]
    assert (made.width_px, made.height_px, made.rotation_deg) == (info.width_px, info.height_px, info.rotation_deg)
    assert (made.sample_aspect_ratio, made.mirrored) == (info.sample_aspect_ratio, False)
    odd = info.width_px % 2 or info.height_px % 2
    assert (made.bit_depth, made.pix_fmt) == (info.bit_depth, "yuv444p" if odd and not small else info.pix_fmt)
    before, after = info.color, made.color
    assert (after.primaries, after.transfer, after.matrix) == (before.primaries, before.transfer, before.matrix)
    # Limited range is what the encoders mean by saying nothing.
    assert (after.range or 1) == (before.range or 1)
    assert made.hdr.mastering_display == info.hdr.mastering_display
    assert (made.hdr.max_cll_nits, made.hdr.max_fall_nits) == (info.hdr.max_cll_nits, info.hdr.max_fall_nits)
    check_other_streams(info, made, result.warnings)


def check_other_streams(info: MediaInfo, made: MediaInfo, warnings: Sequence[str]) -> None:
    """Sound and subtitles are all there, in order, by packet; what was left out is named."""
    old, new = ([item for item in each.streams if item.kind in ("audio", "subtitle")] for each in (info, made))
    assert [(stream.kind, stream.language or "und") for stream in new] == [
        (stream.kind, stream.language or "und") for stream in old
    ]
    for before, after in zip(old, new, strict=True):
        if after.codec == before.codec:
            assert packets(made.path, after.index) == packets(info.path, before.index)
        else:
            assert any(f"stream {before.index} ({before.codec}) was converted" in warning for warning in warnings)
    for stream in info.streams:
        if stream.kind == "data" or (stream.kind == "video" and stream.index != info.stream_index):
            assert any("left out" in warning and str(stream.index) in warning for warning in warnings)


def packets(path: Path, index: int) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams[index]) if packet.size]


@pytest.mark.parametrize("name", IMAGES)
def test_a_still_gives_its_upright_size(name: str) -> None:
    facts = _EXPECTED[name]["image"]
    info = probe(_FOLDER / name)
    size = (facts["upright_width"], facts["upright_height"])
    assert (info.kind, info.width_px, info.height_px, info.rotation_deg) == ("image", *size, 0)
    assert read_image(_FOLDER / name).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("name", IMAGES)
def test_a_still_comes_out_upright(
    name: str, portrait: Path, blind: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facexcli.pipeline.models.choose_analyzer", lambda *_: (blind, "for the test"))
    facts = _EXPECTED[name]["image"]
    # An option of the output: without any, the file itself is copied.
    settings = facexcli.resolve({"no_face": "pass", "cache": 0, "crf": 30})
    result = facexcli.swap(portrait, _FOLDER / name, tmp_path / "out.png", settings=settings)
    info = probe(result.output)
    assert (info.width_px, info.height_px) == (facts["upright_width"], facts["upright_height"])
    assert np.array_equal(read_image(result.output), read_image(_FOLDER / name))


@pytest.mark.parametrize("name", NO_PICTURE)
def test_a_file_without_a_picture_ends_the_command_with_one_clear_line(name: str, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    portrait = _FOLDER.parent / "london" / "087_neutral.jpg"
    command = [sys.executable, "-m", "facexcli", "swap", str(portrait), str(_FOLDER / name), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    error, hint = done.stderr.splitlines()
    assert error.startswith("facex: error: ") and name in error
    assert hint.startswith("hint: ")
    has_sound = any(stream["type"] == "audio" for stream in _EXPECTED[name].get("streams", ()))
    assert ("sound but no picture" in error) == has_sound
    assert list(tmp_path.iterdir()) == []

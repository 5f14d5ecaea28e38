"""Every file of the evaluation folder: the decodable ones give their known facts, the others one clear line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from facexcli.errors import InputError
from facexcli.media.image import read_image
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.writer import VideoFormat, VideoWriter

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
    with FrameReader(info.path, info) as reader:
        frames = [(frame.index, frame.pts, frame.pix_fmt) for frame in reader]
    assert [index for index, _, _ in frames] == list(range(facts["frames_decoded"]))
    assert [pts for _, pts, _ in frames[:5]] == facts["first_5_pts"]
    assert info.start_pts == facts["first_5_pts"][0]
    assert {pix_fmt for _, _, pix_fmt in frames} == set(facts["frame_pix_fmts"])


@pytest.mark.parametrize("name", [name for name in VIDEOS if "10" not in _EXPECTED[name]["video"]["frame_pix_fmts"][0]])
def test_a_decodable_file_comes_out_as_it_went_in(name: str, tmp_path: Path) -> None:
    facts = _EXPECTED[name]["video"]
    info = probe(_FOLDER / name)
    target = tmp_path / "out.mp4"
    with (
        FrameReader(info.path, info) as reader,
        VideoWriter(target, VideoFormat.from_media(info), audio_from=info.path) as writer,
    ):
        times = []
        for frame in reader:
            times.append(frame.time_s)
            writer.write(frame)
    made = probe(target)
    with FrameReader(target, made) as reader:
        assert [frame.time_s for frame in reader] == times
    assert len(times) == facts["frames_decoded"]
    assert (made.width_px, made.height_px, made.rotation_deg) == (info.width_px, info.height_px, info.rotation_deg)
    assert made.sample_aspect_ratio == info.sample_aspect_ratio
    old, new = info.color, made.color
    assert (new.primaries, new.transfer, new.matrix) == (old.primaries, old.transfer, old.matrix)
    # Limited range is what H.264 means by saying nothing.
    assert (new.range or 1) == (old.range or 1)
    kinds = [stream.kind for stream in info.streams if stream.kind in ("audio", "subtitle")]
    assert [stream.kind for stream in made.streams if stream.kind in ("audio", "subtitle")] == kinds
    assert sum(1 for _ in sound_packets(target)) == sum(1 for _ in sound_packets(info.path))


def sound_packets(path: Path) -> Iterator[bytes]:
    import av

    with av.open(str(path)) as container:
        for packet in container.demux(*container.streams.audio) if container.streams.audio else ():
            if packet.size:
                yield bytes(packet)


@pytest.mark.parametrize("name", IMAGES)
def test_a_still_gives_its_upright_size(name: str) -> None:
    facts = _EXPECTED[name]["image"]
    info = probe(_FOLDER / name)
    size = (facts["upright_width"], facts["upright_height"])
    assert (info.kind, info.width_px, info.height_px, info.rotation_deg) == ("image", *size, 0)
    assert read_image(_FOLDER / name).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("name", NO_PICTURE)
def test_a_file_without_a_picture_ends_with_one_clear_line(name: str) -> None:
    with pytest.raises(InputError) as caught:
        probe(_FOLDER / name)
    assert name in caught.value.message
    assert "\n" not in caught.value.message
    has_sound = any(stream["type"] == "audio" for stream in _EXPECTED[name].get("streams", ()))
    assert ("sound but no picture" in caught.value.message) == has_sound

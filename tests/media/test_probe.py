"""What a file is, by its content; and one clear line for what is not media."""

from __future__ import annotations

import hashlib
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from facexcli.errors import InputError
from facexcli.media.probe import fingerprint, orientation, probe
from tests.media.conftest import ClipMaker

UNIT = 1 << 16


def matrix_of(turn_deg: int, mirrored: bool) -> tuple[int, ...]:
    """A display matrix as ISO/IEC 14496-12 writes it: a clockwise turn, then left and right changed."""
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[turn_deg]
    a, b, c, d = cos, sin, -sin, cos
    if mirrored:
        a, c = -a, -c
    return (a * UNIT, b * UNIT, 0, c * UNIT, d * UNIT, 0, 0, 0, 1 << 30)


@pytest.mark.parametrize("turn_deg", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_turn_and_mirror_are_read_from_the_display_matrix(make_clip: ClipMaker, turn_deg: int, mirrored: bool) -> None:
    matrix = matrix_of(turn_deg, mirrored)
    assert orientation(matrix) == (turn_deg, mirrored)
    info = probe(make_clip("turned.mp4", codec="libx264", matrix9=matrix))
    assert (info.rotation_deg, info.mirrored) == (turn_deg, mirrored)
    shown = (info.display_width_px, info.display_height_px)
    assert shown == ((48, 64) if turn_deg % 180 else (64, 48))


def test_the_facts_of_a_made_clip(make_clip: ClipMaker) -> None:
    path = make_clip(
        "facts.mp4",
        codec="libx264",
        color=(1, 1, 1, 1),
        sample_aspect_ratio=Fraction(16, 11),
        time_base=Fraction(1, 12800),
        pts=[0, 512, 1024, 1536],
        audio_s=0.2,
        audio_streams=2,
    )
    info = probe(path)
    assert (info.kind, info.width_px, info.height_px, info.pix_fmt, info.bit_depth) == ("video", 64, 48, "yuv420p", 8)
    assert (info.time_base, info.start_pts, info.frame_rate) == (Fraction(1, 12800), 0, Fraction(25))
    assert info.sample_aspect_ratio == Fraction(16, 11)
    assert (info.color.primaries, info.color.transfer, info.color.matrix, info.color.range) == (1, 1, 1, 1)
    assert [stream.kind for stream in info.streams] == ["video", "audio", "audio"]
    assert (info.video_codec, info.streams[1].codec, info.frame_count_from_header) == ("h264", "aac", 4)
    assert not info.is_vfr


def test_uneven_time_stamps_are_variable_rate(make_clip: ClipMaker) -> None:
    assert probe(make_clip("vfr.mkv", time_base=Fraction(1, 1000), pts=[0, 40, 80, 220, 260])).is_vfr


def test_kinds_are_told_by_content(tmp_path: Path, make_clip: ClipMaker) -> None:
    frames = [Image.fromarray(np.full((20, 30, 3), value, np.uint8)) for value in (0, 90, 180)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:], duration=50)
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:], duration=50)
    frames[0].save(tmp_path / "still.gif")
    make_clip("video.mkv").rename(tmp_path / "video.jpg")
    (tmp_path / "still.gif").rename(tmp_path / "still.mp4")
    assert probe(tmp_path / "moving.gif").kind == "animation"
    assert probe(tmp_path / "moving.webp").kind == "animation"
    assert probe(tmp_path / "video.jpg").kind == "video"
    assert probe(tmp_path / "still.mp4").kind == "image"


def test_the_size_of_an_image_is_that_of_the_upright_picture(eval_data: Path) -> None:
    for number in range(1, 9):
        info = probe(eval_data / f"media/exif/Landscape_{number}.jpg")
        assert (info.kind, info.width_px, info.height_px, info.rotation_deg) == ("image", 1800, 1200, 0)


def test_a_name_with_a_colon_is_not_a_protocol(make_clip: ClipMaker) -> None:
    path = make_clip("plain.mkv")
    assert probe(path.rename(path.with_name("http:x y.mkv"))).kind == "video"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"just some text, renamed\n" * 100, "not a media file"),
        (b"1\n00:00:01,000 --> 00:00:02,000\nHello\n\n", "whatever its name says"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "video.mp4"),
        (os.urandom(4096), "video.mp4"),
    ],
)
def test_what_is_not_media_is_one_clear_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        probe(path)
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message


def test_missing_files_and_folders_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        probe(tmp_path / "missing.mp4")
    with pytest.raises(InputError, match="no picture in this folder"):
        probe(tmp_path)


def test_sound_without_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 4096), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="has sound but no picture"):
        probe(path)


def test_a_video_cut_before_its_index_is_an_input_error(make_clip: ClipMaker) -> None:
    path = make_clip("whole.mp4", codec="libx264")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="damaged beyond use"):
        probe(path)


def test_the_fingerprint_is_size_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"abc" * 1000)
    assert fingerprint(path) == f"3000-{hashlib.sha256(b'abc' * 1000).hexdigest()}"


def test_a_file_that_changes_is_looked_at_again(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    for side in (16, 24):
        Image.new("RGB", (side, side)).save(path)
        assert probe(path).width_px == side
        assert probe(path) is probe(path)

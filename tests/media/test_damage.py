"""Damage that was met in the wild or by fuzzing: what is still good is kept, and headers are not believed blindly."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from facexcli.errors import InputError
from facexcli.media.container import MAX_PIXELS
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.writer import VideoFormat, VideoWriter
from tests.media.conftest import ClipMaker


def pass_through(source: Path, target: Path) -> tuple[int, list[str]]:
    """How many frames came out, and what the writer said."""
    info = probe(source)
    with (
        FrameReader(source, info) as reader,
        VideoWriter(target, VideoFormat.from_media(info), audio_from=source) as writer,
    ):
        for frame in reader:
            writer.write(frame)
        writer.commit()
    with FrameReader(target, probe(target)) as reader:
        return sum(1 for _ in reader), writer.warnings


def transport_stream(path: Path, *, with_sound: bool, size: tuple[int, int] = (64, 48)) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        sound: Any = container.add_stream("mp2", rate=48000) if with_sound else None
        for index in range(100):
            frame = av.VideoFrame(*size, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
            if sound is not None:
                quiet = av.AudioFrame("s16", "stereo", 1920)
                quiet.sample_rate, quiet.pts, quiet.time_base = 48000, index * 1920, Fraction(1, 48000)
                for plane in quiet.planes:
                    plane.update(bytes(plane.buffer_size))
                container.mux(sound.encode(quiet))
        container.mux(stream.encode(None))
    return path.read_bytes()


def test_a_stream_that_begins_in_the_middle_is_passed_by(tmp_path: Path) -> None:
    path = tmp_path / "joined.ts"
    silent = transport_stream(tmp_path / "a.ts", with_sound=False)
    # In a place that is not looked at when the file is opened, which is its beginning and its end.
    path.write_bytes(silent * 30 + transport_stream(tmp_path / "b.ts", with_sound=True) + silent * 30)
    info = probe(path)
    assert [stream.kind for stream in info.streams] == ["video"]
    with FrameReader(path, info) as reader:
        assert sum(1 for _ in reader) == 6100


def test_a_picture_that_changes_its_size_ends_with_the_frame_at_which_it_does(tmp_path: Path) -> None:
    for suffix in (".ts", ".mkv"):
        path = tmp_path / f"sizes{suffix}"
        one, other = tmp_path / "a.ts", tmp_path / "b.ts"
        joined = transport_stream(one, with_sound=False) + transport_stream(other, with_sound=False, size=(96, 64))
        (tmp_path / "joined.ts").write_bytes(joined)
        if suffix == ".ts":
            path.write_bytes(joined)
        else:
            repackaged(tmp_path / "joined.ts", path)
        with pytest.raises(InputError, match=r"from 64x48 to 96x64 at frame (99|100)") as caught:
            pass_through(path, tmp_path / "out.mkv")
        assert path.name in caught.value.message
        assert not (tmp_path / "out.mkv").exists()


def repackaged(source: Path, target: Path) -> None:
    with av.open(str(source)) as container, av.open(str(target), "w") as made:
        stream = made.add_stream_from_template(container.streams.video[0])
        last = -1
        for packet in container.demux(video=0):
            if packet.size and packet.dts is not None:
                packet.dts = packet.pts = last = max(packet.dts, last + 3600)
                packet.stream = stream
                made.mux(packet)


def test_a_damaged_subtitle_is_left_out(eval_data: Path, tmp_path: Path) -> None:
    source = tmp_path / "nasa.mp4"
    data = bytearray((eval_data / "media/nasa_13013.mp4").read_bytes())
    with av.open(str(eval_data / "media/nasa_13013.mp4")) as container:
        text = next(packet for packet in container.demux(subtitles=0) if packet.size > 2)
        place = data.index(bytes(text))
    data[place : place + 2] = b"\xff\xff"  # a length beyond its end
    source.write_bytes(data)
    count, warnings = pass_through(source, tmp_path / "out.mkv")
    assert count == 325
    assert any("converted with srt" in warning for warning in warnings)


def test_sound_without_its_header_is_left_out(make_clip: ClipMaker, tmp_path: Path) -> None:
    source = make_clip("in.mp4", codec="libx264", audio_s=0.4)
    source.write_bytes(source.read_bytes().replace(b"esds", b"lost"))
    count, warnings = pass_through(source, tmp_path / "out.mkv")
    assert count == 10
    assert [warning for warning in warnings if "its header is damaged" in warning] != []
    assert [stream.kind for stream in probe(tmp_path / "out.mkv").streams] == ["video"]


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "bmp"])
def test_a_still_that_promises_gigantic_pictures_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"still.{kind}"
    Image.new("RGB", (64, 48)).save(path)
    data = bytearray(path.read_bytes())
    if kind == "png":
        data[16:24] = struct.pack(">II", 65535, 65535)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    elif kind == "jpg":
        frame_header = data.index(b"\xff\xc0")
        data[frame_header + 5 : frame_header + 9] = struct.pack(">HH", 65500, 65500)
    elif kind == "gif":
        data[6:10] = struct.pack("<HH", 65535, 65535)
    else:
        data[18:26] = struct.pack("<ii", 65535, 65535)
    path.write_bytes(data)
    with pytest.raises(InputError, match=path.name):
        probe(path)


@pytest.mark.parametrize("codec", ["ffv1", "rawvideo", "mjpeg", "libx264"])
def test_a_video_that_promises_gigantic_pictures_is_refused(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "video.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        frame = av.VideoFrame(64, 48, stream.pix_fmt)
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    header = data.index(b"strf")
    data[header + 12 : header + 20] = struct.pack("<ii", 65535, 65535)
    for place in [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xc0"]:
        data[place + 5 : place + 9] = struct.pack(">HH", 65500, 65500)  # of a JPEG
    path.write_bytes(data)
    if codec == "libx264":  # which has the size in its own header, too
        assert probe(path).width_px == 64
    else:
        with pytest.raises(InputError, match=r"video\.avi"):
            probe(path)


def test_pictures_larger_than_any_level_of_a_codec_are_refused_by_their_size(make_clip: ClipMaker) -> None:
    with pytest.raises(InputError, match="8256x8192 are too large") as caught:
        probe(make_clip("large.mp4", codec="libx264", size=(8256, 8192), pts=[0], options={"preset": "ultrafast"}))
    assert MAX_PIXELS < 8256 * 8192
    assert "8192x8192" in caught.value.hint


def test_a_damaged_avif_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "still.avif"
    Image.effect_noise((64, 48), 60).convert("RGB").save(path)
    data = path.read_bytes()
    pictures = data.index(b"mdat") + 4
    path.write_bytes(data[:pictures] + b"\xff" * (len(data) - pictures))
    with pytest.raises(InputError, match=r"still\.avif is a damaged image"):
        probe(path)


def test_pictures_with_exif_inside_a_video_are_read(eval_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "photo.mkv"
    with av.open(str(eval_data / "media/exif/Landscape_6.jpg")) as photo, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(photo.streams.video[0])
        for packet in photo.demux():
            if packet.size:
                packet.pts = packet.dts = 0
                packet.stream = stream
                container.mux(packet)
    info = probe(path)
    assert (info.width_px, info.height_px, info.rotation_deg) == (1200, 1800, 0)

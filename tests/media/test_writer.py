"""What goes in comes out: samples, times, description, sound; complete or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from facexcli.errors import OutputError, UsageError
from facexcli.media.color import put_roi, rgb_roi
from facexcli.media.frames import frame_from_rgb
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.types import Frame
from tests.media.conftest import ClipMaker

PTS_90K = [1800, 5400, 9000, 22500, 23400, 27000, 45000]  # variable rate, and a start that is not 0
TURNED = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)


def pass_through(source: Path, target: Path, **arguments: Any) -> VideoWriter:
    info = probe(source)
    options = arguments.pop("options", EncodeOptions())
    start, stop = arguments.pop("start", None), arguments.pop("stop", None)
    with (
        FrameReader(source, info, start=start, stop=stop) as reader,
        VideoWriter(target, VideoFormat.from_media(info), options, audio_from=source, **arguments) as writer,
    ):
        for frame in reader:
            writer.write(frame)
        writer.commit()
    return writer


def frames_of(path: Path) -> Iterator[Frame]:
    with FrameReader(path, probe(path)) as reader:
        yield from reader


def packets_of(path: Path, kind: str, number: int = 0) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        stream = [stream for stream in container.streams if stream.type == kind][number]
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in container.demux(stream) if packet.size]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuv422p10le", "yuv444p", "gbrp10le", "bgra", "gray"])
def test_untouched_frames_are_bit_identical_through_a_lossless_encoder(
    make_clip: ClipMaker, tmp_path: Path, pix_fmt: str
) -> None:
    source = make_clip("in.mkv", pix_fmt=pix_fmt)
    pass_through(source, tmp_path / "out.mkv", options=EncodeOptions(codec="ffv1"))
    for old, new in zip(frames_of(source), frames_of(tmp_path / "out.mkv"), strict=True):
        assert old.pix_fmt == new.pix_fmt == pix_fmt
        assert all(np.array_equal(a, b) for a, b in zip(old.planes, new.planes, strict=True))


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_pasted_frames_are_bit_identical_outside_the_alpha(make_clip: ClipMaker, tmp_path: Path, pix_fmt: str) -> None:
    source = make_clip("in.mkv", pix_fmt=pix_fmt)
    info = probe(source)
    alpha = np.zeros((24, 30), np.float32)
    alpha[6:16, 8:22] = np.linspace(0.1, 1, 14)
    with (
        FrameReader(source, info) as reader,
        VideoWriter(tmp_path / "out.mkv", VideoFormat.from_media(info), EncodeOptions(codec="ffv1")) as writer,
    ):
        for frame in reader:
            region = rgb_roi(frame, (20, 10, 50, 34))
            writer.write(put_roi(frame, (20, 10, 50, 34), 255 - region, alpha))
    for old, new in zip(frames_of(source), frames_of(tmp_path / "out.mkv"), strict=True):
        changed = old.planes[0] != new.planes[0]
        rows, columns = np.nonzero(changed)
        assert rows.min() >= 16 and rows.max() < 26 and columns.min() >= 28 and columns.max() < 42
        assert changed.sum() > 50
        for a, b in zip(old.planes[1:], new.planes[1:], strict=True):
            rows, columns = np.nonzero(a != b)
            assert rows.min() >= 8 and rows.max() < 13 and columns.min() >= 14 and columns.max() < 22


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_time_stamps_turn_shape_and_colours_are_kept(make_clip: ClipMaker, tmp_path: Path, suffix: str) -> None:
    # Matroska stores whole milliseconds; these time stamps are.
    source = make_clip(
        "in.mp4", codec="libx264", pts=PTS_90K, time_base=Fraction(1, 90000), matrix9=TURNED, color=(9, 14, 9, 1),
        sample_aspect_ratio=Fraction(4, 3),
    )  # fmt: skip
    target = tmp_path / f"out{suffix}"
    pass_through(source, target)
    before, after = probe(source), probe(target)
    assert [frame.time_s for frame in frames_of(target)] == [Fraction(ticks, 90000) for ticks in PTS_90K]
    assert (after.rotation_deg, after.mirrored) == (before.rotation_deg, before.mirrored) == (90, False)
    assert after.sample_aspect_ratio == Fraction(4, 3)
    assert after.color == before.color
    assert (after.width_px, after.height_px, after.pix_fmt) == (64, 48, "yuv420p")


def test_the_last_frame_keeps_its_duration(make_clip: ClipMaker, tmp_path: Path) -> None:
    source = make_clip("in.mp4", codec="libx264", rate=Fraction(10), time_base=Fraction(1, 10), pts=range(5))
    pass_through(source, tmp_path / "out.mp4")
    last = list(frames_of(tmp_path / "out.mp4"))[-1]
    assert last.duration * last.time_base == Fraction(1, 10)


def test_all_sound_metadata_and_chapters_come_along(make_clip: ClipMaker, tmp_path: Path) -> None:
    chapters = [{"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}}]
    source = make_clip(
        "in.mkv", codec="libx264", pts=range(50), audio_s=2, audio_streams=2, chapters=chapters,
        metadata={"title": "A clip", "x-own": "kept"},
    )  # fmt: skip
    for suffix in (".mkv", ".mp4"):
        target = tmp_path / f"out{suffix}"
        writer = pass_through(source, target, tags={"comment": "synthetic"})
        assert writer.warnings == []
        for number in range(2):
            old, new = packets_of(source, "audio", number), packets_of(target, "audio", number)
            assert len(old) > 90
            assert [data for _, data in new] == [data for _, data in old]
            assert all(abs(a[0] - b[0]) < Fraction(1, 1000) for a, b in zip(old, new, strict=True))
        with av.open(str(target)) as container:
            tags = {key.lower(): value for key, value in container.metadata.items()}
            assert (tags["title"], tags["x-own"], tags["comment"]) == ("A clip", "kept", "synthetic")
            assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["One"]


def test_sound_that_the_container_refuses_is_converted_and_said(make_clip: ClipMaker, tmp_path: Path) -> None:
    source = make_clip("in.mkv", pts=range(50), audio_s=2)
    writer = pass_through(source, tmp_path / "out.webm")
    assert any("aac" in warning and "libopus" in warning for warning in writer.warnings)
    with av.open(str(tmp_path / "out.webm")) as container:
        rate, samples = 48000, np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert abs(len(samples) / rate - 2) < 0.05
    assert samples[rate // 2 : rate].std() == pytest.approx(0.3 / np.sqrt(2), rel=0.15)
    spectrum = np.abs(np.fft.rfft(samples[:rate]))
    assert spectrum.argmax() == pytest.approx(300, abs=3)  # Hz, for one second


def test_a_trim_cuts_sound_in_step(make_clip: ClipMaker, tmp_path: Path) -> None:
    source = make_clip("in.mkv", pts=range(75), audio_s=3)
    start_s, stop_s = Fraction(1), Fraction(2)
    pass_through(source, tmp_path / "cut.mp4", start=start_s, stop=stop_s, start_s=start_s, stop_s=stop_s)
    assert [frame.time_s for frame in frames_of(tmp_path / "cut.mp4")] == [Fraction(n, 25) for n in range(25)]
    kept = [data for begin, data in packets_of(source, "audio") if 1 <= begin < 2]
    sound = packets_of(tmp_path / "cut.mp4", "audio")
    assert [data for _, data in sound] == kept
    assert 0 <= sound[0][0] < Fraction(1024, 48000)


def test_sound_can_be_left_out(make_clip: ClipMaker, tmp_path: Path) -> None:
    source = make_clip("in.mkv", audio_s=1)
    pass_through(source, tmp_path / "out.mp4", options=EncodeOptions(audio="none"))
    assert [stream.kind for stream in probe(tmp_path / "out.mp4").streams] == ["video"]


def test_odd_sizes_are_kept(make_clip: ClipMaker, tmp_path: Path) -> None:
    writer = pass_through(make_clip("in.mkv", size=(63, 47)), tmp_path / "out.mp4")
    info = probe(tmp_path / "out.mp4")
    assert (info.width_px, info.height_px, info.pix_fmt) == (63, 47, "yuv444p")
    assert any("even sizes" in warning for warning in writer.warnings)


def test_full_range_stays_full_range(make_clip: ClipMaker, tmp_path: Path) -> None:
    source = make_clip("in.mp4", codec="libx264", pix_fmt="yuvj420p", color=(1, 1, 1, 2))
    for codec, pix_fmt in (("h264", "yuvj420p"), ("ffv1", "yuv420p")):
        pass_through(source, tmp_path / "out.mkv", options=EncodeOptions(codec=codec))
        info = probe(tmp_path / "out.mkv")
        assert (info.color.range, info.pix_fmt) == (2, pix_fmt)
    for old, new in zip(frames_of(source), frames_of(tmp_path / "out.mkv"), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(old.planes, new.planes, strict=True))


@pytest.mark.parametrize(
    ("suffix", "codec", "expected"),
    [(".mp4", "hevc", "hevc"), (".mp4", "av1", "av1"), (".mov", "prores", "prores"), (".webm", "auto", "vp9"),
     (".avi", "auto", "ffv1"), (".avi", "h264", "h264"), (".gif", "auto", "gif"), (".mkv", "libx264", "h264")],
)  # fmt: skip
def test_containers_and_codecs(make_clip: ClipMaker, tmp_path: Path, suffix: str, codec: str, expected: str) -> None:
    pass_through(make_clip("in.mkv", size=(96, 64)), tmp_path / f"out{suffix}", options=EncodeOptions(codec=codec))
    info = probe(tmp_path / f"out{suffix}")
    assert (info.video_codec, info.width_px, info.height_px) == (expected, 96, 64)
    assert sum(1 for _ in frames_of(info.path)) == 10


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
def test_the_shortest_videos_are_written(make_clip: ClipMaker, tmp_path: Path, codec: str, count: int) -> None:
    # With a fine time base x265 made up decoding times from memory that nobody had set.
    source = make_clip("in.mp4", codec="libx264", pts=[3000 * n for n in range(count)], time_base=Fraction(1, 90000))
    for _ in range(3):
        pass_through(source, tmp_path / "out.mp4", options=EncodeOptions(codec=codec, preset="ultrafast"))
        assert [frame.time_s for frame in frames_of(tmp_path / "out.mp4")] == [Fraction(n, 30) for n in range(count)]


def test_ten_bits_stay_ten_bits(make_clip: ClipMaker, tmp_path: Path) -> None:
    for codec, expected in (("libx264", "h264"), ("ffv1", "ffv1")):
        source = make_clip(f"{codec}.mkv", codec=codec, pix_fmt="yuv420p10le")
        pass_through(source, tmp_path / "out.mkv")
        info = probe(tmp_path / "out.mkv")
        assert (info.video_codec, info.bit_depth) == (expected, 10)


def test_made_frames_take_times_and_sound_of_another_file(make_clip: ClipMaker, tmp_path: Path) -> None:
    driving = make_clip("driving.mkv", pts=range(25), audio_s=1)
    rgb = np.full((120, 90, 3), (200, 120, 60), np.uint8)
    video = VideoFormat(90, 120, "rgb24", time_base=Fraction(1, 1000), frame_rate=Fraction(25))
    with VideoWriter(tmp_path / "out.mp4", video, audio_from=driving) as writer:
        for frame in frames_of(driving):
            writer.write(frame_from_rgb(rgb, frame.index, frame.pts, frame.time_base, frame.duration))
    frames = list(frames_of(tmp_path / "out.mp4"))
    assert [frame.time_s for frame in frames] == [Fraction(n, 25) for n in range(25)]
    assert len(packets_of(tmp_path / "out.mp4", "audio")) == len(packets_of(driving, "audio"))
    # The matrix that it was converted with is the one that is written: the colour comes back, up to the encoder.
    assert np.abs(rgb_roi(frames[9], (0, 0, 90, 120)).astype(int) - rgb).max() <= 4


def test_an_exception_leaves_nothing_behind_and_the_old_file_alone(make_clip: ClipMaker, tmp_path: Path) -> None:
    source = make_clip("in.mkv", audio_s=1)
    folder = tmp_path / "results"
    folder.mkdir()
    target = folder / "out.mp4"
    target.write_bytes(b"precious")
    info = probe(source)
    for error in (KeyboardInterrupt, ValueError):
        with (
            pytest.raises(error),
            FrameReader(source, info) as reader,
            VideoWriter(target, VideoFormat.from_media(info), audio_from=source) as writer,
        ):
            writer.write(next(reader))
            raise error
    assert target.read_bytes() == b"precious"
    assert [path.name for path in folder.iterdir()] == ["out.mp4"]
    assert [thread.name for thread in threading.enumerate() if thread.name in ("encode", "decode")] == []


def test_an_encoder_error_reaches_the_caller(make_clip: ClipMaker, tmp_path: Path) -> None:
    source = make_clip("in.mkv", pts=range(40))
    frame = next(frames_of(source))
    with (
        pytest.raises(OutputError, match=r"out\.mp4"),
        VideoWriter(tmp_path / "out.mp4", VideoFormat.from_media(probe(source))) as writer,
    ):
        for _ in range(200):
            writer.write(frame)  # the same time stamp again and again
    assert not (tmp_path / "out.mp4").exists()


def test_no_frame_is_an_error(make_clip: ClipMaker, tmp_path: Path) -> None:
    source = make_clip("in.mkv")
    with (
        pytest.raises(OutputError, match="no frame"),
        VideoWriter(tmp_path / "out.mp4", VideoFormat.from_media(probe(source))),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_places_that_cannot_be_written_are_output_errors(make_clip: ClipMaker, tmp_path: Path) -> None:
    video = VideoFormat.from_media(probe(make_clip("in.mkv")))
    with pytest.raises(OutputError, match=r"\.xyz") as caught:
        VideoWriter(tmp_path / "out.xyz", video)
    assert ".mp4" in caught.value.hint
    with pytest.raises(OutputError, match="does not exist"):
        VideoWriter(tmp_path / "nowhere" / "out.mp4", video)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        VideoWriter(tmp_path / "folder.mp4", video)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.mp4", "in.mkv"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EncodeOptions(codec="h266"), "codec 'h266'"),
        (EncodeOptions(codec="aac"), "not for pictures"),
        (EncodeOptions(preset="verfast"), "encoder preset 'verfast'"),
        (EncodeOptions(pix_fmt="yuv42p"), "pixel format"),
        (EncodeOptions(codec="prores"), "cannot hold"),
    ],
)
def test_options_that_are_not_there_are_usage_errors(
    make_clip: ClipMaker, tmp_path: Path, options: EncodeOptions, message: str
) -> None:
    video = VideoFormat.from_media(probe(make_clip("in.mkv")))
    suffix = ".webm" if options.codec == "prores" else ".mp4"
    with pytest.raises(UsageError, match=message):
        VideoWriter(tmp_path / f"out{suffix}", video, options)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_text_subtitles_are_converted_where_the_container_refuses_them(eval_data: Path, tmp_path: Path) -> None:
    source = eval_data / "media/nasa_13013.mp4"
    writer = pass_through(source, tmp_path / "out.mkv")
    assert sum("converted with srt" in warning for warning in writer.warnings) == 2
    # The MP4 muxer fills the gaps with packets of an empty text (two bytes of length 0).
    old = [(begin, data) for begin, data in packets_of(source, "subtitle") if data != b"\0\0"]
    new = packets_of(tmp_path / "out.mkv", "subtitle")
    assert [float(begin) for begin, _ in new] == pytest.approx([float(begin) for begin, _ in old], abs=0.001)
    assert new[0][1].decode().split() == old[0][1][2:].decode().split()


def test_attachments_are_kept_where_there_is_room_for_them(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        container.add_attachment("font.ttf", "font/ttf", b"not really a font")
        frame = av.VideoFrame(32, 32, "yuv420p")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    pass_through(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        (attachment,) = (stream for stream in container.streams if stream.type == "attachment")
        assert (attachment.name, attachment.data) == ("font.ttf", b"not really a font")
    writer = pass_through(source, tmp_path / "out.mp4")
    assert any("attachment" in warning for warning in writer.warnings)


def test_sound_is_written_beside_the_picture_it_belongs_to(make_clip: ClipMaker, tmp_path: Path) -> None:
    # All sound of this file lies behind all of its pictures.
    source = make_clip("in.mkv", pts=range(100), audio_s=4)
    info = probe(source)
    video = VideoFormat.from_media(info)
    with FrameReader(source, info) as reader, VideoWriter(tmp_path / "out.mkv", video, audio_from=source) as writer:
        for frame in reader:
            writer.write(frame)
        writer.commit()
    with av.open(str(tmp_path / "out.mkv")) as container:
        order = [packet.stream.type for packet in container.demux() if packet.size]
    runs = [order[n : n + 60] for n in range(0, 240, 60)]
    assert all({"video", "audio"} <= set(run) for run in runs), "the streams are not interleaved"


@pytest.mark.parametrize("height", [240, 720])
def test_rgb_frames_in_an_unmarked_stream_keep_their_colours(tmp_path: Path, height: int) -> None:
    """Reader and writer take an unmarked stream for the same matrix and range."""
    path, rgb = tmp_path / "red.mp4", np.full((height, 320, 3), (200, 40, 40), np.uint8)
    with VideoWriter(path, VideoFormat(320, height, "yuv420p", Fraction(1, 25)), EncodeOptions(crf=1)) as writer:
        for index in range(2):
            writer.write(frame_from_rgb(rgb, index, index, Fraction(1, 25), 1))
    with FrameReader(path, probe(path)) as reader:
        assert np.abs(rgb_roi(next(iter(reader)), (0, 0, 320, height)).astype(int) - rgb).max() <= 3

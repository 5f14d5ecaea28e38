"""What lies beside the picture, in every container: languages, titles, covers, chapters, timecodes, data."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from facexcli.media.encoders import EncodeOptions, VideoFormat
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.writer import VideoWriter

SIZE = (64, 48)
LENGTH = 50  # frames at 25 a second
CHAPTERS = [
    {"id": 1, "start": 0, "end": 800, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}},
    {"id": 2, "start": 800, "end": 2000, "time_base": Fraction(1, 1000), "metadata": {"title": "Two"}},
]


def jpeg() -> bytes:
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 32, 32, "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.full((48, 32), 90, np.uint8), format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def full_clip(path: Path, *, cover: bool = False, timecode: str = "") -> Path:
    """A clip with two sounds that are told apart by everything, chapters and tags."""
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        video.metadata.update({"language": "ita", "timecode": timecode} if timecode else {"language": "ita"})
        sounds: list[Any] = [container.add_stream("aac", rate=48000) for _ in range(2)]
        sounds[0].metadata.update({"language": "deu", "title": "Main"})
        sounds[1].metadata.update({"language": "fra", "title": "Remarks"})
        sounds[0].disposition, sounds[1].disposition = Disposition.default, Disposition.comment
        if cover:
            container.add_attachment("cover.jpg", "image/jpeg", jpeg())
        container.metadata["title"] = "A clip"
        container.set_chapters(list(CHAPTERS))  # type: ignore[arg-type]
        for index in range(LENGTH):
            frame = av.VideoFrame(*SIZE, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for first in range(0, LENGTH * 1920, 1024):
            for sound in sounds:
                piece = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
                piece.sample_rate, piece.pts, piece.time_base = 48000, first, Fraction(1, 48000)
                container.mux(sound.encode(piece))
        for sound in sounds:
            container.mux(sound.encode(None))
    return path


def copied(source: Path, target: Path, start: Fraction | None = None, **options: Any) -> VideoWriter:
    info = probe(source)
    with FrameReader(source, info, start=start) as reader:
        first = next(reader)
        with VideoWriter(
            target,
            VideoFormat.from_media(info),
            EncodeOptions(preset="ultrafast", **options),
            audio_from=source,
            start_s=first.time_s if start is not None else None,
        ) as writer:
            writer.write(first)
            for frame in reader:
                writer.write(frame)
            writer.commit()
    return writer


def of_kind(path: Path, kind: str) -> list[dict[str, Any]]:
    with av.open(str(path)) as container:
        return [
            {**stream.metadata, "disposition": Disposition(stream.disposition), "type": stream.type}
            for stream in container.streams
            if stream.type == kind
        ]


@pytest.mark.parametrize("source", ["in.mkv", "in.mp4"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_languages_titles_and_dispositions_are_kept(tmp_path: Path, source: str, suffix: str) -> None:
    target = tmp_path / f"out{suffix}"
    copied(full_clip(tmp_path / source), target)
    (video,) = of_kind(target, "video")
    main, remarks = of_kind(target, "audio")
    assert (video["language"], main["language"], remarks["language"]) == ("ita", "deu", "fra")
    title = "name" if suffix == ".mp4" else "title"  # what libav calls it when it reads MP4
    assert (main[title], remarks[title]) == ("Main", "Remarks")
    assert main["disposition"] & Disposition.default
    if suffix != ".webm":  # which has no room for more
        assert remarks["disposition"] & Disposition.comment


def test_quicktime_knows_german_by_its_own_name(tmp_path: Path) -> None:
    copied(full_clip(tmp_path / "in.mkv"), tmp_path / "out.mov")
    assert [sound["language"] for sound in of_kind(tmp_path / "out.mov", "audio")] == ["ger", "fra"]


def test_chapters_are_kept_or_missed_aloud(tmp_path: Path) -> None:
    source = full_clip(tmp_path / "in.mkv")
    for suffix in (".mp4", ".mov", ".mkv", ".webm"):
        copied(source, tmp_path / f"out{suffix}")
        with av.open(str(tmp_path / f"out{suffix}")) as container:
            chapters = [(float(each["start"] * each["time_base"]), each["metadata"]["title"])
                        for each in container.chapters()]  # fmt: skip
        assert chapters == [(0, "One"), (0.8, "Two")]
    writer = copied(source, tmp_path / "out.avi")
    assert any("chapters were left out" in warning for warning in writer.warnings)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_cover_picture_stays_a_cover_picture(tmp_path: Path, suffix: str) -> None:
    source = full_clip(tmp_path / "in.mkv", cover=True)
    for number in range(2):  # there, and from there once more
        target = tmp_path / f"out{number}{suffix}"
        writer = copied(source, target)
        assert writer.warnings == []
        videos = of_kind(target, "video")
        assert [bool(video["disposition"] & Disposition.attached_pic) for video in videos] == [False, True]
        with av.open(str(target)) as container:
            picture = next(packet for packet in container.demux(container.streams.video[1]) if packet.size)
            assert bytes(picture) == jpeg()
        source = target


@pytest.mark.parametrize("suffix", [".mov", ".webm", ".avi"])
def test_a_cover_picture_that_has_no_place_is_missed_aloud(tmp_path: Path, suffix: str) -> None:
    writer = copied(full_clip(tmp_path / "in.mkv", cover=True), tmp_path / f"out{suffix}")
    assert sum("cover picture" in warning for warning in writer.warnings) == 1
    assert len(of_kind(tmp_path / f"out{suffix}", "video")) == 1


def test_a_cover_picture_stays_beside_tags_of_the_users_own(tmp_path: Path) -> None:
    source = full_clip(tmp_path / "in.mkv", cover=True)
    info = probe(source)
    target = tmp_path / "out.mp4"
    with FrameReader(source, info) as reader, VideoWriter(
        target, VideoFormat.from_media(info), audio_from=source, tags={"comment": "synthetic", "x-own": "lost"}
    ) as writer:  # fmt: skip
        for frame in reader:
            writer.write(frame)
        writer.commit()
    assert [bool(video["disposition"] & Disposition.attached_pic) for video in of_kind(target, "video")] == [
        False,
        True,
    ]
    assert any("x-own" in warning for warning in writer.warnings)
    with av.open(str(target)) as container:
        assert (container.metadata["comment"], container.metadata["title"]) == ("synthetic", "A clip")


@pytest.mark.parametrize(("source", "target"), [("in.mov", "out.mov"), ("in.mp4", "out.mov"), ("in.mov", "out.mp4")])
def test_the_timecode_track_is_made_again(tmp_path: Path, source: str, target: str) -> None:
    clip = full_clip(tmp_path / source, timecode="01:00:00:00")
    assert any("timecode" in data for data in of_kind(clip, "data"))
    writer = copied(clip, tmp_path / target)
    assert writer.warnings == []
    assert [data["timecode"] for data in of_kind(tmp_path / target, "data") if "timecode" in data] == ["01:00:00:00"]
    copied(clip, tmp_path / target, start=Fraction(6, 5))
    assert [data["timecode"] for data in of_kind(tmp_path / target, "data") if "timecode" in data] == ["01:00:01:05"]


def test_data_streams_are_named(eval_data: Path, tmp_path: Path) -> None:
    source = eval_data / "media/h265_with_metadata_track.mp4"
    info = probe(source)
    with VideoWriter(tmp_path / "out.mp4", VideoFormat.from_media(info), EncodeOptions(preset="ultrafast"),
                     audio_from=source) as writer:  # fmt: skip
        with FrameReader(source, info, stop=1) as reader:
            writer.write(next(reader))
        writer.commit()
    assert any("data streams were left out: 0 (MetaHandle)" in warning for warning in writer.warnings)


def test_tags_that_players_know_are_written_where_they_look(tmp_path: Path) -> None:
    # Matroska has them in capitals; iTunes' own box has no room for names that it does not know.
    source = full_clip(tmp_path / "in.mkv")
    with av.open(str(source)) as container:
        metadata = dict(container.metadata)
    assert "title" in metadata
    shouting = tmp_path / "shouting.mkv"
    with av.open(str(source)) as old, av.open(str(shouting), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        new.metadata["ARTIST"] = "Me"
        for packet in old.demux(old.streams.video[0]):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    copied(shouting, tmp_path / "out.mp4")
    raw = (tmp_path / "out.mp4").read_bytes()
    assert b"\xa9ART" in raw and b"mdta" not in raw


def test_sound_of_many_kinds_reaches_every_container(tmp_path: Path) -> None:
    for codec in ("aac", "libmp3lame", "libopus", "flac", "ac3", "pcm_s16le", "alac", "libvorbis"):
        source = tmp_path / f"{codec}.mkv"
        if not _sounding(source, codec):
            continue
        for suffix in (".mp4", ".mov", ".mkv", ".webm", ".avi"):
            target = tmp_path / f"{codec}{suffix}{suffix}"
            writer = copied(source, target)
            with av.open(str(target)) as container:
                sound = container.streams.audio[0]
                length_s = sum(f.samples for f in container.decode(sound)) / sound.codec_context.sample_rate
            assert length_s == pytest.approx(2, abs=0.1), (codec, suffix)
            kept = sound.codec_context.codec.canonical_name == source_codec(source)
            assert kept != any("was converted" in warning for warning in writer.warnings), (codec, suffix)


def source_codec(path: Path) -> str:
    with av.open(str(path)) as container:
        return str(container.streams.audio[0].codec_context.codec.canonical_name)


def _sounding(path: Path, codec: str) -> bool:
    """A clip with a sound of that kind; False where this build has no encoder for it."""
    try:
        with av.open(io.BytesIO(), "w", format="matroska") as trial:
            trial.add_stream(codec, rate=48000)
    except ValueError:
        return False
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        sound: Any = container.add_stream(codec, rate=48000)
        for index in range(LENGTH):
            frame = av.VideoFrame(*SIZE, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        resampler: Any = None
        for first in range(0, LENGTH * 1920, 960):
            piece = av.AudioFrame.from_ndarray(np.zeros((2, 960), np.float32), format="fltp", layout="stereo")
            piece.sample_rate, piece.pts, piece.time_base = 48000, first, Fraction(1, 48000)
            context = sound.codec_context
            context.open(strict=False)
            resampler = resampler or av.AudioResampler(context.format.name, "stereo", 48000, context.frame_size or None)
            for converted in resampler.resample(piece):
                container.mux(sound.encode(converted))
        for converted in resampler.resample(None):
            container.mux(sound.encode(converted))
        container.mux(sound.encode(None))
    return True

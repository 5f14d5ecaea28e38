"""Sound stays in step with the picture: a beep at a flash, through every container and cut."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.codec.context import Flags

from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter

RATE = 48000
AAC_PACKET_S = Fraction(1024, RATE)
FLASHES_S = (Fraction(4, 5), Fraction(48, 25))
LENGTH_S = Fraction(3)


def flash_and_beep(
    path: Path, *, video_start_s: Fraction = Fraction(0), sound_start_s: Fraction = Fraction(0), sound: str = "aac"
) -> Path:
    """A black clip, H.264 with B-frames, that flashes white for a frame while a beep of its length is heard."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"bf": "3", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90000)
        stream.codec_context.flags |= Flags.frame_duration
        noise: Any = container.add_stream(sound, rate=RATE)
        for index in range(round(LENGTH_S * 25)):
            time_s = video_start_s + Fraction(index, 25)
            frame = av.VideoFrame.from_ndarray(
                np.full((72, 64), 235 if time_s in FLASHES_S else 16, np.uint8), format="yuv420p"
            )
            for plane in frame.planes[1:]:
                plane.update(bytes([128]) * plane.buffer_size)
            frame.pts, frame.time_base, frame.duration = round(time_s * 90000), Fraction(1, 90000), 3600
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for packet in _beeps(noise, sound_start_s):
            container.mux(packet)
    return path


def _beeps(stream: Any, start_s: Fraction) -> list[Any]:
    times = np.arange(round(start_s * RATE), round(LENGTH_S * RATE))
    wave = np.zeros(len(times), np.float32)
    for flash_s in FLASHES_S:
        during = (times >= flash_s * RATE) & (times < (flash_s + Fraction(1, 25)) * RATE)
        wave[during] = 0.8 * np.sin(times[during] * 2000 * 2 * np.pi / RATE)
    resampler = av.AudioResampler(stream.codec_context.format.name, "stereo", RATE)
    packets = []
    for first in range(0, len(wave), 1024):
        piece = np.ascontiguousarray(np.tile(wave[first : first + 1024], (2, 1)))
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, int(times[0]) + first, Fraction(1, RATE)
        for converted in resampler.resample(frame):
            packets.extend(stream.encode(converted))
    return [*packets, *stream.encode(None)]


def flash_times(path: Path) -> list[Fraction]:
    with FrameReader(path, probe(path)) as reader:
        return [frame.time_s for frame in reader if frame.planes[0].mean() > 120]


def beep_times(path: Path) -> list[Fraction]:
    """When each beep begins, in seconds, as a player that obeys the time stamps would play it."""
    loud: list[tuple[Fraction, bool]] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = np.abs(frame.to_ndarray()).astype(np.float64)
            samples = samples.reshape(-1, len(frame.layout.channels)) if samples.shape[0] == 1 else samples.T
            level = samples.max(axis=1) / (1 if samples.max() <= 4 else 32768)
            begin_s = frame.pts * Fraction(frame.time_base)
            step = max(1, frame.sample_rate // 1000)
            loud.extend(
                (begin_s + Fraction(place, frame.sample_rate), bool(level[place : place + step].max() > 0.25))
                for place in range(0, len(level), step)
            )
    onsets: list[Fraction] = []
    last = Fraction(-1)
    for time_s, is_loud in loud:
        if is_loud:
            if time_s - last > Fraction(1, 10):
                onsets.append(time_s)
            last = time_s
    return onsets


def cut(source: Path, target: Path, start: Fraction | None, stop: Fraction | None = None) -> VideoWriter:
    info = probe(source)
    origin_s = info.start_pts * info.time_base
    with FrameReader(source, info, start=start, stop=stop) as reader:
        first = next(reader)
        with VideoWriter(
            target,
            VideoFormat.from_media(info),
            EncodeOptions(preset="ultrafast"),
            audio_from=source,
            start_s=first.time_s if start is not None else None,
            stop_s=origin_s + stop if stop is not None else None,
        ) as writer:
            writer.write(first)
            for frame in reader:
                writer.write(frame)
            writer.commit()
    return writer


def drift_ms(source: Path, target: Path) -> list[float]:
    """How much later the beeps come after their flashes than they did in the source, in milliseconds."""
    before = [beep - flash for flash, beep in zip(flash_times(source), beep_times(source), strict=True)]
    flashes, beeps = flash_times(target), beep_times(target)
    assert len(flashes) == len(beeps) > 0
    before = before[-len(flashes) :]
    return [float(b - f - d) * 1000 for f, b, d in zip(flashes, beeps, before, strict=True)]


STARTS: dict[str, dict[str, Fraction]] = {
    "together": {},
    "late sound": {"sound_start_s": Fraction(3, 10)},
    "late picture": {"video_start_s": Fraction(2, 5)},
    "both late": {"video_start_s": Fraction(2, 5), "sound_start_s": Fraction(1, 5)},
}


# MP4 has edit lists: for the priming of AAC, for B-frames and for what begins late. Matroska has none.
@pytest.mark.parametrize("source_suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("kind", STARTS)
@pytest.mark.parametrize("start", [None, Fraction(3, 5)])
def test_a_beep_stays_at_its_flash(tmp_path: Path, source_suffix: str, kind: str, start: Fraction | None) -> None:
    source = flash_and_beep(tmp_path / f"in{source_suffix}", **STARTS[kind])
    assert flash_times(source) == list(FLASHES_S)
    assert [float(time_s) for time_s in beep_times(source)] == pytest.approx([0.8, 1.92], abs=0.002)
    for suffix in (".mp4", ".mkv", ".avi", *((".mov", ".webm") if kind == "both late" else ())):
        target = tmp_path / f"out{suffix}"
        cut(source, target, start)
        # To the packet; the AVI reader of libav adds a frame to what has no time stamps.
        limit = float(AAC_PACKET_S) * 1000 + (40 if suffix == ".avi" else 0)
        assert max(abs(each) for each in drift_ms(source, target)) < limit, suffix


def test_a_cut_is_exact_to_the_frame_and_its_sound_to_the_packet(tmp_path: Path) -> None:
    source = flash_and_beep(tmp_path / "in.mp4")
    for suffix in (".mp4", ".mkv"):
        target = tmp_path / f"out{suffix}"
        cut(source, target, Fraction(2, 5), Fraction(6, 5))
        with FrameReader(target, probe(target)) as reader:
            assert [frame.time_s for frame in reader] == [Fraction(n, 25) for n in range(20)]
        with av.open(str(target)) as container:
            packets = [packet for packet in container.demux(audio=0) if packet.size]
            begins = [packet.pts * packet.time_base for packet in packets]
        assert 0 <= begins[0] < AAC_PACKET_S
        assert Fraction(4, 5) - AAC_PACKET_S <= begins[-1] < Fraction(4, 5)


def test_a_hole_in_converted_sound_stays_a_hole(tmp_path: Path) -> None:
    whole = flash_and_beep(tmp_path / "whole.mkv", sound="flac")
    source = tmp_path / "in.mkv"
    with av.open(str(whole)) as old, av.open(str(source), "w") as new:
        targets = {stream.index: new.add_stream_from_template(stream, opaque=True) for stream in old.streams}
        for packet in old.demux():
            time_s = (packet.pts or 0) * packet.time_base
            if packet.size and not (packet.stream.type == "audio" and Fraction(1) < time_s < Fraction(3, 2)):
                packet.stream = targets[packet.stream_index]
                new.mux(packet)
    target = tmp_path / "out.webm"
    cut(source, target, None)
    assert max(abs(each) for each in drift_ms(whole, target)) < 25


def test_damaged_sound_is_counted_when_it_is_converted(tmp_path: Path) -> None:
    whole = flash_and_beep(tmp_path / "whole.mkv", sound="flac")
    source = tmp_path / "in.mkv"
    with av.open(str(whole)) as old, av.open(str(source), "w") as new:
        targets = {stream.index: new.add_stream_from_template(stream, opaque=True) for stream in old.streams}
        for number, packet in enumerate(old.demux()):
            if packet.size:
                copy = av.Packet(b"\0" * 40 if packet.stream.type == "audio" and number % 9 == 0 else bytes(packet))
                copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
                copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
                copy.stream = targets[packet.stream_index]
                new.mux(copy)
    writer = cut(source, tmp_path / "out.webm", None)
    assert any("damaged packets became silence" in warning for warning in writer.warnings)
    assert max(abs(each) for each in drift_ms(whole, tmp_path / "out.webm")) < 30


@pytest.mark.parametrize(("layout", "rate"), [("5.1(side)", 48000), ("7.1", 96000), ("mono", 22050), ("quad", 44100)])
def test_sound_of_any_shape_is_converted(tmp_path: Path, layout: str, rate: int) -> None:
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as container:
        video: Any = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        noise: Any = container.add_stream("pcm_s16le", rate=rate)
        noise.codec_context.layout = layout
        for index in range(10):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        channels = len(noise.codec_context.layout.channels)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, rate * 2 // 5 * channels), np.int16), "s16", layout)
        sound.sample_rate, sound.pts, sound.time_base = rate, 0, Fraction(1, rate)
        container.mux(noise.encode(sound))
        container.mux(noise.encode(None))
    writer = cut(source, tmp_path / "out.webm", None)
    assert any("converted with libopus" in warning for warning in writer.warnings)
    with av.open(str(tmp_path / "out.webm")) as container:
        heard = [frame.samples / frame.sample_rate for frame in container.decode(audio=0)]
        assert sum(heard) == pytest.approx(0.4, abs=0.03)
        assert container.streams.audio[0].codec_context.channels == channels

"""Colour description, HDR10 metadata and chroma location, from the input into every encoder and container."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.codec.context import Flags

from facexcli.media.encoders import EncodeOptions, VideoFormat
from facexcli.media.frames import frame_from_native
from facexcli.media.hardware import encoder_formats
from facexcli.media.hdr import encoder_parameters, read_chroma_location
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.writer import VideoWriter
from facexcli.types import ColorDescription, HdrMetadata, MasteringDisplay, MediaInfo
from tests.media.conftest import noise_planes

P3_D65 = MasteringDisplay(
    red_xy=(Fraction(34, 50), Fraction(32, 100)),
    green_xy=(Fraction(265, 1000), Fraction(69, 100)),
    blue_xy=(Fraction(15, 100), Fraction(6, 100)),
    white_xy=(Fraction(3127, 10000), Fraction(329, 1000)),
    min_nits=Fraction(5, 1000),
    max_nits=Fraction(1000),
)
HDR10 = HdrMetadata(P3_D65, max_cll_nits=987, max_fall_nits=321)
PQ = ColorDescription(primaries=9, transfer=16, matrix=9, range=1, chroma_location=3)
SIZE = (64, 48)
# (container, codec, pixel format) of everything that has a place for HDR10 metadata.
PLACES = [
    (".mp4", "hevc", "yuv420p10le"), (".mkv", "hevc", "yuv420p10le"), (".mov", "hevc", "yuv420p10le"),
    (".mp4", "av1", "yuv420p10le"), (".mkv", "av1", "yuv420p10le"), (".webm", "av1", "yuv420p10le"),
    (".mp4", "h264", "yuv420p10le"), (".mkv", "h264", "yuv420p10le"), (".mov", "prores", "yuv422p10le"),
    (".mkv", "prores", "yuv422p10le"), (".mkv", "ffv1", "yuv420p10le"), (".webm", "vp9", "yuv420p"),
    (".mp4", "vp9", "yuv420p"), (".avi", "h264", "yuv420p10le"),
]  # fmt: skip


def written(
    target: Path, codec: str, pix_fmt: str, *, color: ColorDescription = PQ, hdr: HdrMetadata = HDR10, **format_: Any
) -> tuple[MediaInfo, VideoWriter]:
    """Three made frames in a file, and what the file says of itself."""
    video = VideoFormat(*SIZE, pix_fmt, Fraction(1, 90000), Fraction(25), color, video_codec=codec, hdr=hdr, **format_)
    origin = MediaInfo(target, "video", *SIZE)
    preset = "veryfast" if codec in ("prores", "ffv1", "gif") else "ultrafast"
    with VideoWriter(target, video, EncodeOptions(codec=codec, preset=preset)) as writer:
        for index in range(3):
            native = av.VideoFrame(*SIZE, pix_fmt)
            noise_planes(native, pix_fmt, index)
            writer.write(frame_from_native(native, index, index * 3600, Fraction(1, 90000), 3600, origin, color))
        writer.commit()
    return probe(target), writer


def close(a: MasteringDisplay | None, b: MasteringDisplay) -> bool:
    """AV1 has units of 1/65536, and of 1/16384 and 1/256 for luminance; the others those of HEVC."""
    assert a is not None
    ours = np.array([*a.red_xy, *a.green_xy, *a.blue_xy, *a.white_xy, a.min_nits], float)
    theirs = np.array([*b.red_xy, *b.green_xy, *b.blue_xy, *b.white_xy, b.min_nits], float)
    return bool(np.abs(ours - theirs).max() < 1e-4) and abs(a.max_nits - b.max_nits) < 1


@pytest.mark.parametrize(("suffix", "codec", "pix_fmt"), PLACES)
def test_hdr10_metadata_come_through(tmp_path: Path, suffix: str, codec: str, pix_fmt: str) -> None:
    info, writer = written(tmp_path / f"out{suffix}", codec, pix_fmt)
    assert writer.warnings == []
    assert info.video_codec == codec
    assert close(info.hdr.mastering_display, P3_D65)
    assert (info.hdr.max_cll_nits, info.hdr.max_fall_nits) == (987, 321)
    made = info.color
    assert (made.primaries, made.transfer, made.matrix, made.range) == (9, 16, 9, 1)
    with FrameReader(info.path, info) as reader:
        times = [frame.time_s for frame in reader]
    assert [time_s - times[0] for time_s in times] == [Fraction(n, 25) for n in range(3)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_container_says_it_too(tmp_path: Path, suffix: str) -> None:
    # What only reads headers, as upload sites do, must find it beside what is in the bitstream.
    written(tmp_path / f"out{suffix}", "hevc", "yuv420p10le")
    raw = (tmp_path / f"out{suffix}").read_bytes()
    marks = (b"mdcv", b"clli", b"colr", b"nclx") if suffix == ".mp4" else (b"\x55\xb0", b"\x55\xd0", b"\x55\xbc")
    assert all(mark in raw for mark in marks)
    if suffix == ".mp4":
        assert b"hvc1" in raw


def test_turn_and_shape_stay_beside_hdr_metadata(tmp_path: Path) -> None:
    matrix = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    for suffix in (".mp4", ".mkv"):
        info, _ = written(tmp_path / f"out{suffix}", "hevc", "yuv420p10le", display_matrix=matrix,
                          sample_aspect_ratio=Fraction(4, 3))  # fmt: skip
        assert (info.rotation_deg, info.sample_aspect_ratio, info.frame_rate) == (90, Fraction(4, 3), 25)


def test_light_levels_without_a_display_and_the_other_way_round(tmp_path: Path) -> None:
    for hdr in (HdrMetadata(None, 1000, 200), HdrMetadata(P3_D65)):
        for suffix in (".mp4", ".mkv"):
            info, _ = written(tmp_path / f"out{suffix}", "hevc", "yuv420p10le", hdr=hdr)
            assert (info.hdr.max_cll_nits, info.hdr.max_fall_nits) == (hdr.max_cll_nits, hdr.max_fall_nits)
            assert (info.hdr.mastering_display is None) == (hdr.mastering_display is None)


def test_no_metadata_are_made_up(tmp_path: Path) -> None:
    info, _ = written(tmp_path / "out.mp4", "hevc", "yuv420p10le", hdr=HdrMetadata())
    assert info.hdr == HdrMetadata()
    assert encoder_parameters("libx265", HdrMetadata()) == {}


def test_what_has_no_place_is_said(tmp_path: Path) -> None:
    _, writer = written(tmp_path / "out.avi", "ffv1", "yuv420p10le")
    assert any("mastering display" in warning and ".mkv" in warning for warning in writer.warnings)


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"),
    [(".mp4", "h264", "yuv420p"), (".mkv", "h264", "yuv420p"), (".mov", "h264", "yuv420p"), (".mp4", "hevc", "yuv420p"),
     (".mkv", "hevc", "yuv420p"), (".mp4", "av1", "yuv420p"), (".webm", "av1", "yuv420p"), (".webm", "vp9", "yuv420p"),
     (".mkv", "vp9", "yuv420p"), (".mkv", "ffv1", "yuv420p"), (".mov", "prores", "yuv422p10le")],
)  # fmt: skip
@pytest.mark.parametrize("codes", [(1, 1, 1, 1), (9, 18, 9, 1), (5, 6, 5, 2), (12, 13, 6, 1)])
def test_all_four_codes_come_through(
    tmp_path: Path, suffix: str, codec: str, pix_fmt: str, codes: tuple[int, int, int, int]
) -> None:
    if codec == "prores" and codes[3] == 2:
        codes = (*codes[:3], 1)  # ProRes is always in limited range
    info, _ = written(tmp_path / f"out{suffix}", codec, pix_fmt, color=ColorDescription(*codes), hdr=HdrMetadata())
    made = info.color
    # A HEVC or H.264 stream of limited range may say so by saying nothing.
    assert (made.primaries, made.transfer, made.matrix, made.range or 1) == codes


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", "h264"), (".mp4", "hevc"), (".mkv", "h264"), (".mkv", "hevc"), (".mkv", "ffv1"), (".webm", "vp9"),
     (".webm", "av1"), (".mp4", "av1")],
)  # fmt: skip
def test_the_chroma_location_comes_through(tmp_path: Path, suffix: str, codec: str) -> None:
    for location in (1, 3):
        for hdr in (HdrMetadata(), HDR10):
            pix_fmt = "yuv420p" if codec == "vp9" else "yuv420p10le"
            info, _ = written(
                tmp_path / f"out{suffix}", codec, pix_fmt, color=replace(PQ, chroma_location=location), hdr=hdr
            )
            assert info.color.chroma_location == location


def test_a_stream_that_says_nothing_of_its_chroma_is_taken_at_its_word(tmp_path: Path) -> None:
    path = tmp_path / "plain.avi"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.flags |= Flags.frame_duration
        container.mux(stream.encode(av.VideoFrame(*SIZE, "yuv420p")))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        assert read_chroma_location(container.streams.video[0]) == 0
    assert probe(path).color.chroma_location == 1


# --- files of other people's


def first_frames(source: Path, target: Path, **options: Any) -> VideoWriter:
    info = probe(source)
    with (
        FrameReader(source, info, stop=2) as reader,
        VideoWriter(target, VideoFormat.from_media(info), EncodeOptions(preset="ultrafast", **options)) as writer,
    ):
        for frame in reader:
            writer.write(frame)
        writer.commit()
    return writer


@pytest.mark.parametrize(
    ("name", "codec"),
    [("sample_with_colr_mdcv_and_clli.mp4", "av1"), ("hdr10-video-with-sdr-container.mp4", "hevc"),
     ("sample_with_color_info.mp4", "hevc"), ("h264_10bits.mp4", "h264"), ("h265_10bits.mp4", "hevc")],
)  # fmt: skip
def test_deep_files_come_out_as_they_went_in(eval_data: Path, tmp_path: Path, name: str, codec: str) -> None:
    before = probe(eval_data / "media" / name)
    first_frames(before.path, tmp_path / "out.mp4")
    after = probe(tmp_path / "out.mp4")
    assert (after.video_codec, after.pix_fmt) == (codec, before.pix_fmt)
    assert replace(after.color, range=after.color.range or 1) == replace(before.color, range=before.color.range or 1)
    assert after.display_matrix == before.display_matrix
    assert (after.hdr.max_cll_nits, after.hdr.max_fall_nits) == (before.hdr.max_cll_nits, before.hdr.max_fall_nits)
    if before.hdr.mastering_display is not None:
        assert close(after.hdr.mastering_display, before.hdr.mastering_display)


def test_ten_bits_of_vp9_become_av1_where_libvpx_has_eight(eval_data: Path, tmp_path: Path) -> None:
    source = eval_data / "media/roadtrip-vp92-10bit.webm"
    writer = first_frames(source, tmp_path / "out.webm")
    made = probe(tmp_path / "out.webm")
    assert made.pix_fmt == probe(source).pix_fmt == "yuv420p10le"
    if "yuv420p10le" in encoder_formats("libvpx-vp9"):
        assert (made.video_codec, writer.warnings) == ("vp9", [])
    else:
        (warning,) = writer.warnings
        assert made.video_codec == "av1" and "libvpx-vp9 cannot keep yuv420p10le" in warning


def test_metadata_of_the_container_are_found(eval_data: Path) -> None:
    hdr = probe(eval_data / "media/sample_with_colr_mdcv_and_clli.mp4").hdr
    assert hdr.mastering_display is not None
    assert hdr.mastering_display.green_xy == (Fraction(12250, 50000), Fraction(35150, 50000))
    assert (hdr.mastering_display.max_nits, hdr.max_cll_nits, hdr.max_fall_nits) == (1000, 1100, 180)


def test_metadata_of_the_bitstream_are_found(eval_data: Path) -> None:
    hdr = probe(eval_data / "media/hdr10-video-with-sdr-container.mp4").hdr
    # It names a display whose brightest is darker than its darkest.
    assert (hdr.mastering_display, hdr.max_cll_nits, hdr.max_fall_nits) == (None, 1000, 200)
    assert hdr.dynamic == ("HDR10+",)


def test_dolby_vision_is_lost_by_name(eval_data: Path, tmp_path: Path) -> None:
    writer = first_frames(eval_data / "media/dolbyVision-hdr.MOV", tmp_path / "out.mov")
    (warning,) = writer.warnings
    assert "Dolby Vision" in warning and "plain HLG" in warning
    made = probe(tmp_path / "out.mov")
    assert (made.video_codec, made.bit_depth, made.color.transfer) == ("hevc", 10, 18)
    assert made.hdr.dynamic == ()


def test_dolby_vision_without_a_picture_of_its_own_is_a_strong_warning(tmp_path: Path) -> None:
    unmarked = ColorDescription(range=1)
    _, writer = written(
        tmp_path / "out.mp4", "hevc", "yuv420p10le", color=unmarked, hdr=HdrMetadata(dynamic=("Dolby Vision",))
    )
    assert any("colours will be wrong" in warning for warning in writer.warnings)


def test_hdr_in_a_gif_is_said(tmp_path: Path) -> None:
    _, writer = written(tmp_path / "out.gif", "gif", "yuv420p10le")
    assert any("GIF has no HDR" in warning for warning in writer.warnings)

"""Which encoder is taken, with which options, and what is said about it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.codec import CodecContext

from facexcli.errors import UsageError
from facexcli.media import encoder_formats, hardware
from facexcli.media.encoders import EncodeOptions, EncoderChoice, VideoFormat, choose_encoder
from facexcli.media.hardware import HARDWARE, is_built_in, why_not
from facexcli.media.probe import probe
from facexcli.media.quality import PRESETS, quality_options
from facexcli.media.reader import FrameReader
from facexcli.media.writer import VideoWriter
from facexcli.types import ColorDescription
from tests.media.conftest import ClipMaker

SIZE = (64, 48)


def video(codec: str = "h264", pix_fmt: str = "yuv420p", size: tuple[int, int] = SIZE) -> VideoFormat:
    return VideoFormat(*size, pix_fmt, Fraction(1, 25), video_codec=codec, color=ColorDescription(1, 1, 1, 1, 1))


def automatic(suffix: str, codec: str, pix_fmt: str) -> EncoderChoice:
    return choose_encoder(video(codec, pix_fmt), EncodeOptions(), suffix)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix", "encoder"),
    [("h264", "yuv420p", ".mp4", "libx264"), ("h264", "yuv422p10le", ".mp4", "libx264"),
     ("h264", "yuvj420p", ".mov", "libx264"), ("hevc", "yuv420p", ".mp4", "libx265"),
     ("hevc", "yuv420p10le", ".mov", "libx265"), ("hevc", "yuv444p12le", ".mkv", "libx265"),
     ("av1", "yuv420p", ".mp4", "libsvtav1"), ("av1", "yuv420p10le", ".webm", "libsvtav1"),
     ("vp9", "yuv420p", ".mp4", "libvpx-vp9"), ("vp9", "yuv444p", ".webm", "libvpx-vp9"),
     ("prores", "yuv422p10le", ".mov", "prores_ks"), ("prores", "yuv444p10le", ".mkv", "prores_ks"),
     ("ffv1", "gbrp10le", ".mkv", "ffv1"), ("ffv1", "yuv420p", ".avi", "ffv1")],
)  # fmt: skip
def test_auto_keeps_codec_depth_and_chroma(codec: str, pix_fmt: str, suffix: str, encoder: str) -> None:
    choice = automatic(suffix, codec, pix_fmt)
    assert (choice.encoder, choice.pix_fmt, choice.warnings) == (encoder, pix_fmt, ())


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix", "encoder", "said"),
    [("mpeg4", "yuv420p", ".mp4", "libx264", "no encoder for mpeg4 here: the video becomes h264"),
     ("h263", "yuv420p", ".mkv", "libx264", "becomes h264"), ("wmv3", "yuv420p", ".webm", "libvpx-vp9", "becomes vp9"),
     ("dnxhd", "yuv422p10le", ".mov", "libx265", "becomes hevc"), ("mjpeg", "yuvj422p", ".mp4", "libx264", "mjpeg"),
     ("h264", "yuv420p", ".webm", "libvpx-vp9", "h264 does not belong into .webm: the video becomes vp9"),
     ("prores", "yuv422p10le", ".mp4", "libx265", "becomes hevc"), ("hevc", "yuv420p", ".avi", "libx264", "h264"),
     ("av1", "yuv444p", ".mp4", "libx264", "libsvtav1 cannot keep yuv444p: the video becomes h264; --codec av1"),
     ("av1", "yuv444p10le", ".mkv", "libx265", "becomes hevc")],
)  # fmt: skip
def test_auto_says_once_what_the_video_becomes(codec: str, pix_fmt: str, suffix: str, encoder: str, said: str) -> None:
    choice = automatic(suffix, codec, pix_fmt)
    assert choice.encoder == encoder
    assert choice.pix_fmt == pix_fmt
    (warning,) = choice.warnings
    assert said in warning


@pytest.mark.parametrize("codec", ["", "png", "gif", "webp"])
def test_nobody_is_told_that_a_picture_becomes_a_video(codec: str) -> None:
    choice = choose_encoder(video(codec, "rgb24"), EncodeOptions(), ".mp4")
    assert (choice.encoder, choice.pix_fmt, choice.warnings) == ("libx264", "yuv420p", ())
    assert choice.color == ColorDescription(1, 1, 6, 1, 1)


def test_a_build_without_depth_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # As libvpx and libx265 are often built: for 8 bits only.
    real = hardware.encoder_formats

    def poor(encoder: str) -> tuple[str, ...]:
        return ("yuv420p",) if encoder in ("libvpx-vp9", "libx265") else real(encoder)

    for module in ("facexcli.media.encoders", "facexcli.media.encoder_formats"):
        monkeypatch.setattr(f"{module}.encoder_formats", poor)
    assert automatic(".webm", "vp9", "yuv420p10le").encoder == "libsvtav1"
    assert automatic(".mp4", "hevc", "yuv420p10le").encoder == "libx264"


def test_explicit_codecs_say_what_they_change() -> None:
    choice = choose_encoder(video("av1", "yuv444p"), EncodeOptions(codec="av1"), ".mp4")
    assert (choice.encoder, choice.pix_fmt) == ("libsvtav1", "yuv420p")
    assert choice.warnings == ("libsvtav1 does not take yuv444p: the video is written as yuv420p",)


@pytest.mark.parametrize("name", ["h265", "x265", "libx265", "hevc"])
def test_names_that_people_type(name: str) -> None:
    assert choose_encoder(video(), EncodeOptions(codec=name), ".mp4").encoder == "libx265"


@pytest.mark.parametrize(("suffix", "codec"), [(".webm", "h264"), (".mp4", "prores"), (".mov", "ffv1")])
def test_a_container_that_cannot_hold_the_codec_is_told_before_any_work(suffix: str, codec: str) -> None:
    with pytest.raises(UsageError, match="cannot hold") as caught:
        choose_encoder(video(), EncodeOptions(codec=codec), suffix)
    assert ".mkv" in caught.value.hint


# --- quality and speed


@pytest.mark.parametrize(
    ("crf", "pix_fmt", "profile"),
    [(18, "yuv422p10le", "hq"), (23, "yuv422p10le", "standard"), (30, "yuv422p10le", "lt"),
     (40, "yuv422p10le", "proxy"), (18, "yuv444p10le", "4444"), (10, "yuv444p10le", "4444xq")],
)  # fmt: skip
def test_crf_chooses_the_profile_of_prores(crf: int, pix_fmt: str, profile: str) -> None:
    options, warnings = quality_options("prores_ks", pix_fmt, crf, "veryfast")
    assert (options["profile"], warnings) == (profile, [])


def test_what_has_no_effect_is_said() -> None:
    _, warnings = quality_options("ffv1", "yuv420p", 12, "slow")
    assert any("--crf 12 is without effect" in warning and "lossless" in warning for warning in warnings)
    assert any("--encoder-preset slow is without effect" in warning for warning in warnings)
    assert quality_options("ffv1", "yuv420p", 18, "veryfast")[1] == []
    assert quality_options("prores_ks", "yuv422p10le", 18, "slow")[1] != []
    assert len(quality_options("dnxhd", "yuv422p", 12, "slow")[1]) == 2


def test_a_smaller_crf_makes_a_larger_file(make_clip: ClipMaker, tmp_path: Path) -> None:
    source = make_clip("in.mkv", codec="libx264", pts=range(3))
    for codec in ("h264", "hevc", "av1", "vp9", "prores", "mjpeg"):
        sizes = []
        for crf in (8, 45):
            target = tmp_path / f"{codec}{crf}.mkv"
            _through(source, target, EncodeOptions(codec=codec, crf=crf))
            sizes.append(target.stat().st_size)
        assert sizes[0] > sizes[1] * 1.05, codec


def _through(source: Path, target: Path, options: EncodeOptions) -> VideoWriter:
    info = probe(source)
    with FrameReader(source, info) as reader, VideoWriter(target, VideoFormat.from_media(info), options) as writer:
        for frame in reader:
            writer.write(frame)
        writer.commit()
    return writer


@pytest.mark.parametrize(
    ("encoder", "own"), [("libsvtav1", "6"), ("libvpx-vp9", "4"), ("h264_nvenc", "p5"), ("hevc_amf", "quality")]
)
def test_encoders_take_their_own_presets_and_x264s(encoder: str, own: str) -> None:
    for preset in (*PRESETS, own):
        quality_options(encoder, "yuv420p", 18, preset)
    with pytest.raises(UsageError, match="encoder preset 'p9'"):
        quality_options(encoder, "yuv420p", 18, "p9")


# --- hardware


@pytest.mark.parametrize("kind", ["nvenc", "qsv", "amf"])
@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_options_of_hardware_encoders_are_those_that_they_have(codec: str, kind: str) -> None:
    name = f"{codec}_{kind}"
    if not is_built_in(name):
        pytest.skip(f"PyAV was built without {name}")
    known = CodecContext.create(name, "w").supported_options
    names = {option.name for option in (*known.private, *known.generic)}
    choices = {option.name: {choice.name for choice in option.choices} for option in known.private if option.choices}
    for crf in (0, 18, 63):
        for preset in PRESETS:
            options, _ = quality_options(name, "nv12", crf, preset)
            assert set(options) <= names
            for option, value in options.items():
                assert option not in choices or value in choices[option], (option, value)


def _absent(*_: object) -> str:
    return "Cannot load libcuda.so.1"


@pytest.mark.parametrize(
    ("name", "codec", "software"),
    [("h264_nvenc", "h264", "libx264"), ("hevc_qsv", "h264", "libx265"), ("av1_vaapi", "h264", "libsvtav1"),
     ("hevc_videotoolbox", "h264", "libx265"), ("nvenc", "hevc", "libx265"), ("vaapi", "av1", "libsvtav1"),
     ("videotoolbox", "mpeg4", "libx264"), ("amf", "h264", "libx264")],
)  # fmt: skip
def test_a_hardware_encoder_that_does_not_open_falls_back(
    monkeypatch: pytest.MonkeyPatch, name: str, codec: str, software: str
) -> None:
    monkeypatch.setattr("facexcli.media.encoders.why_not", _absent)
    choice = choose_encoder(video(codec), EncodeOptions(codec=name, preset="slow"), ".mkv")
    assert (choice.encoder, choice.pix_fmt) == (software, "yuv420p")
    (warning,) = choice.warnings
    assert f"{software} encodes instead" in warning
    assert "libcuda" in warning or "not in this build" in warning


def test_a_preset_of_the_hardware_does_not_stop_the_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facexcli.media.encoders.why_not", _absent)
    choice = choose_encoder(video(), EncodeOptions(codec="h264_nvenc", preset="p6", pix_fmt="nv12"), ".mp4")
    assert (choice.encoder, choice.options["preset"], choice.pix_fmt) == ("libx264", "veryfast", "yuv420p")


def test_a_hardware_encoder_that_opens_is_used_with_samples_as_it_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def works(*arguments: object) -> str:
        tried.append(arguments)
        return ""

    monkeypatch.setattr("facexcli.media.encoders.why_not", works)
    options = EncodeOptions(codec="nvenc", crf=21, preset="slow")
    choice = choose_encoder(video("hevc", "yuv420p10le"), options, ".mp4")
    assert (choice.encoder, choice.pix_fmt, choice.warnings) == ("hevc_nvenc", "p010le", ())
    assert {"rc": "vbr", "cq": "21", "preset": "p5", "b": "0"}.items() <= choice.options.items()
    assert tried[0][:4] == ("hevc_nvenc", "p010le", *SIZE)


def test_the_reason_is_libavs_own_words_and_the_log_is_left_as_it_was() -> None:
    broken = next((f"h264_{kind}" for kind in HARDWARE if is_built_in(f"h264_{kind}") and why_not_at(kind)), None)
    if broken is None:
        pytest.skip("every hardware encoder of this build opens here")
    level = av.logging.get_level()
    first = why_not(broken, "nv12", 320, 240, {})
    assert first and "\n" not in first
    assert why_not(broken, "nv12", 322, 240, {}) == first, "libav does not repeat itself unless it is asked to"
    assert av.logging.get_level() == level


def why_not_at(kind: str) -> str:
    return why_not(f"h264_{kind}", "nv12", 320, 240, {})


def test_a_run_with_an_absent_card_ends_with_a_file(make_clip: ClipMaker, tmp_path: Path) -> None:
    if not why_not_at("nvenc"):
        pytest.skip("there is a card that works")
    source = make_clip("in.mkv", codec="libx264", pts=range(3))
    writer = _through(source, tmp_path / "out.mp4", EncodeOptions(codec="nvenc"))
    assert writer.encoder == "libx264"
    assert probe(tmp_path / "out.mp4").video_codec == "h264"
    assert sum("encodes instead" in warning for warning in writer.warnings) == 1


def test_ten_bits_in_one_plane_are_the_same_samples() -> None:
    assert encoder_formats.is_same("yuv420p10le", "p010le")
    assert encoder_formats.is_same("yuvj420p", "nv12")
    assert not encoder_formats.is_same("yuv420p", "yuv420p10le")
    assert not encoder_formats.is_same("yuv420p", "yuv422p")

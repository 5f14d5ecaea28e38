"""What the settings of a run say about its media: the rate of pictures, the encoder, and the canvas on its clock."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from facexcli.errors import UsageError
from facexcli.media.frames import SRGB
from facexcli.media.probe import probe
from facexcli.media.writer import EncodeOptions, VideoFormat
from facexcli.settings import parse_rate

if TYPE_CHECKING:
    from pathlib import Path

    from facexcli.settings import Settings
    from facexcli.types import MediaInfo


def probe_target(path: Path, settings: Settings) -> MediaInfo:
    """What the target or the driving video is. Raises InputError, and UsageError for a rate that it cannot have."""
    rate = parse_rate(settings.range.fps)
    info = probe(path, rate)
    if rate is not None and info.kind != "sequence":
        raise UsageError(f"--fps is for a folder of pictures, and {path} is none", "leave it out: times are kept")
    return info


def encode_options(settings: Settings) -> EncodeOptions:
    """What the user chose for the encoder."""
    chosen = settings.output
    return EncodeOptions(chosen.codec, chosen.crf, chosen.encoder_preset, chosen.pix_fmt, chosen.audio)


def canvas_format(canvas: MediaInfo, timeline: MediaInfo) -> VideoFormat:
    """The canvas's pictures on the timeline's clock."""
    rate = timeline.frame_rate or Fraction(25)
    if canvas.kind == "image":
        size = (canvas.display_width_px, canvas.display_height_px)
        return VideoFormat(*size, "rgb24", timeline.time_base, rate, color=SRGB, is_vfr=timeline.is_vfr)
    video = VideoFormat.from_media(canvas)
    return replace(video, time_base=timeline.time_base, frame_rate=rate, is_vfr=timeline.is_vfr)

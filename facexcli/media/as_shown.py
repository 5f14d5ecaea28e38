"""Frames as players show them, for containers that cannot say how their pictures are meant."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from facexcli.media.frames import SRGB, frame_from_rgb
from facexcli.media.pixels import LAYOUTS
from facexcli.media.probe import orientation
from facexcli.media.tone import is_hdr
from facexcli.media.upright import has_alpha, upright_pixels
from facexcli.types import HdrMetadata

if TYPE_CHECKING:
    from facexcli.media.encoders import VideoFormat
    from facexcli.types import Frame

_WITHOUT_MATRIX = frozenset((".avi", ".gif"))
# Their streams have no sample aspect ratio, and PyAV sets none in the header of Matroska.
_WITHOUT_ASPECT = frozenset(("vp8", "vp9", "av1", "prores"))


def shown_format(video: VideoFormat, suffix: str) -> tuple[VideoFormat, list[str]]:
    """(what has to be written, why it differs) for `video` in a file of this suffix; the same and nothing for most.

    Where it differs, the frames have to go through `as_shown`.
    """
    turn_deg, mirrored = orientation(video.display_matrix) if suffix in _WITHOUT_MATRIX else (0, False)
    reasons = []
    if turn_deg or mirrored:
        reasons.append(f"{suffix} cannot say that its pictures are turned: their pixels are turned instead")
    if suffix == ".gif" and is_hdr(video.color):
        reasons.append("GIF has no HDR: the pictures are shown as SDR")
    if not reasons:
        return video, []
    size = (video.width_px, video.height_px)
    width_px, height_px = reversed(size) if turn_deg % 180 else size
    aspect = 1 / video.sample_aspect_ratio if turn_deg % 180 else video.sample_aspect_ratio
    bits = "48le" if LAYOUTS[video.pix_fmt].bits > 8 else "24"
    return replace(
        video,
        width_px=width_px,
        height_px=height_px,
        pix_fmt={"24": "rgba", "48le": "rgba64le"}[bits] if has_alpha(video.pix_fmt) else f"rgb{bits}",
        color=SRGB,
        sample_aspect_ratio=aspect,
        display_matrix=(),
        hdr=HdrMetadata(),
    ), reasons


def aspect_warnings(video: VideoFormat, codec: str, suffix: str) -> list[str]:
    """What has to be said of pixels that are not square."""
    if video.sample_aspect_ratio == 1:
        return []
    ratio = f"{video.sample_aspect_ratio.numerator}:{video.sample_aspect_ratio.denominator}"
    if suffix == ".gif":
        return [f"its pixels are not square ({ratio}), and most players show those of a GIF as if they were"]
    if codec in _WITHOUT_ASPECT and suffix in (".mkv", ".webm"):
        return [f"its pixels are not square ({ratio}), and {codec} in {suffix} does not say so: "
                "it will look squeezed; .mp4 keeps the ratio"]  # fmt: skip
    return []


def as_shown(frame: Frame) -> Frame:
    """The frame upright and as RGB, HDR as SDR; index and times are kept."""
    return frame_from_rgb(upright_pixels(frame), frame.index, frame.pts, frame.time_base, frame.duration)

"""Frames as pictures, and what is lost on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facexcli.media.tone import is_hdr
from facexcli.media.upright import upright_pixels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from facexcli.media.writer import VideoFormat
    from facexcli.types import Array, Frame, MediaInfo

_JPEG = (".jpg", ".jpeg")
_DEEP = (".png",)


class PictureSink:
    """Takes finished frames, and gives their pixels to `put`. `path` says the kind of the pictures.

    `warnings` tells what the kind cannot hold, as far as the frames so far had it.
    """

    def __init__(self, path: Path, put: Callable[[Array], None]) -> None:
        self._suffix, self._put = path.suffix.lower(), put
        self._lost: dict[str, None] = {}

    @property
    def warnings(self) -> list[str]:
        return list(self._lost)

    def write(self, frame: Frame) -> None:
        """The next picture. Raises what `put` raises."""
        pixels = upright_pixels(frame)
        if self._suffix in _JPEG and pixels.shape[2] == 4 and pixels[..., 3].min() < np.iinfo(pixels.dtype).max:
            self._lost["JPEG has no transparency: clear parts are laid on white; .png and .webp keep it"] = None
        if self._suffix not in _DEEP and pixels.dtype == np.uint16:
            self._lost[f"{self._suffix} pictures have 8 bits a sample; .png keeps 16"] = None
        self._put(pixels)


def losses_in_pictures(timeline: MediaInfo, video: VideoFormat, audio: str) -> list[str]:
    """What of a video has no place in a sequence of pictures, a line each. `audio` is the setting of that name."""
    losses = []
    others = [stream for stream in timeline.streams if stream.kind in ("audio", "subtitle")]
    if others and audio == "copy":
        named = ", ".join(f"{stream.kind} stream {stream.index} ({stream.codec})" for stream in others)
        losses.append(f"pictures have no sound and no subtitles: {named} left out")
    if timeline.is_vfr:
        losses.append("pictures have no times: the uneven ones of its frames are lost")
    if video.sample_aspect_ratio != 1:
        ratio = f"{video.sample_aspect_ratio.numerator}:{video.sample_aspect_ratio.denominator}"
        losses.append(f"its pixels are not square ({ratio}), and pictures do not say so: they look squeezed")
    if is_hdr(video.color):
        losses.append("HDR is shown as SDR in pictures")
    return losses

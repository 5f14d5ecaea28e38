"""Frames in the pixel format of an encoder: as they are wherever possible, converted where not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import av
from av.video.reformatter import Interpolation, VideoReformatter

from facexcli.media.frames import frame_from_rgb
from facexcli.media.gif import GifFrames
from facexcli.media.image import on_white
from facexcli.media.pixels import LAYOUTS, plane_views
from facexcli.media.signal import SWS_MATRIX, assumed_matrix
from facexcli.media.upright import alpha_plane, has_alpha, upright_pixels

if TYPE_CHECKING:
    from facexcli.media.encoders import EncoderChoice
    from facexcli.types import Frame

_ACCURATE = (
    Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND
)
_LIMITED = 1
"""What an unmarked video is taken for."""


class EncoderFormat:
    """Brings frames into the format of an encoder. One object for one stream of frames, used in one thread."""

    def __init__(self, choice: EncoderChoice) -> None:
        self._choice = choice
        self._scaler = VideoReformatter()
        self._gif = GifFrames()
        self._lost_alpha = ""

    @property
    def warnings(self) -> list[str]:
        """What could not be kept so far."""
        told = []
        if self._lost_alpha:
            hint = "--codec ffv1, prores in .mov, vp9 in .webm, and pictures keep it"
            told.append(f"{self._choice.encoder} has no transparency: {self._lost_alpha}; {hint}")
        if self._gif.left_out:
            told.append(f"{self._gif.left_out} frames were left out: players show 50 frames a second of a GIF at most")
        return told

    def apply(self, frame: Frame) -> Any:
        """The frame's own libav frame where its format fits, else a converted one; None for one that is left out."""
        wanted, native = self._choice.pix_fmt, frame.native
        if native.format.name == wanted:
            return native
        if wanted == "pal8":
            return self._gif.apply(frame)
        if self._choice.relabels(native.format.name):
            return _relabelled(frame, wanted)
        color, layout = self._choice.color, LAYOUTS.get(wanted)
        to_yuv = LAYOUTS[frame.pix_fmt].is_rgb and not (layout is not None and layout.is_rgb)
        return self._scaler.reformat(
            native if has_alpha(wanted) else self._opaque(frame),
            format=wanted,
            interpolation=_ACCURATE,
            dst_colorspace=SWS_MATRIX[assumed_matrix(color.matrix, native.height)] if to_yuv else None,
            dst_color_range=color.range or (_LIMITED if to_yuv else None),
        )

    def _opaque(self, frame: Frame) -> Any:
        """The frame without its alpha channel. RGB is laid on white; the values under clear pixels mean nothing."""
        alpha = alpha_plane(frame)
        if alpha is None or alpha.min() == (1 << LAYOUTS[frame.pix_fmt].bits) - 1:
            return frame.native
        if LAYOUTS[frame.pix_fmt].family != "packed":
            self._lost_alpha = self._lost_alpha or "the alpha channel is left out"
            return frame.native
        self._lost_alpha = "clear parts are laid on white"
        pixels = on_white(upright_pixels(replace(frame, rotation_deg=0, mirrored=False)))
        laid = frame_from_rgb(pixels, frame.index, frame.pts, frame.time_base, frame.duration).native
        laid.pts, laid.time_base, laid.duration = frame.pts, frame.time_base, frame.duration
        return laid


def _relabelled(frame: Frame, pix_fmt: str) -> Any:
    """The same samples under the other name of their format (yuvj420p and yuv420p in full range)."""
    native = av.VideoFrame(frame.native.width, frame.native.height, pix_fmt)
    for target, source in zip(plane_views(native, pix_fmt, writable=True), frame.planes, strict=True):
        target[...] = source
    return native

"""Draws the visible label into the frames on their way to the encoder."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from facexcli.errors import UsageError
from facexcli.fusion.label import draw_label
from facexcli.lettering import lacks
from facexcli.media.crops import put_crop

if TYPE_CHECKING:
    from facexcli.pipeline.render import FrameSink
    from facexcli.settings import LabelSettings
    from facexcli.types import Array, Frame

_MARGIN_SHARE = 0.02


def check_label(label: LabelSettings) -> None:
    """Raises UsageError for letters that cannot be drawn."""
    if label.style == "picture" and (missing := lacks(label.text)):
        raise UsageError(f"--label: no font here has {' '.join(missing)}", "write it with --label-as metadata")


class LabelledSink:
    """Passes frames on, with the label in them for as long as it is wanted.

    `pixel_aspect` is the width of a pixel by its height: letters keep their shape where pixels are not square.
    `start_s` is the time of the first frame of all; None for that of the first one that is written here.
    """

    def __init__(
        self, sink: FrameSink, label: LabelSettings, pixel_aspect: float, start_s: Fraction | None = None
    ) -> None:
        self._sink, self._label, self._pixel_aspect = sink, label, pixel_aspect
        self._shown_s = Fraction(str(label.seconds))  # as it was typed: a frame that begins then is without it
        self._start_s = start_s

    def write(self, frame: Frame) -> None:
        """See `FrameSink`."""
        if self._start_s is None:
            self._start_s = frame.time_s
        if not self._shown_s or frame.time_s - self._start_s < self._shown_s:
            size = (frame.native.width, frame.native.height)
            width, height = size[::-1] if frame.rotation_deg % 180 else size
            frame = put_crop(frame, *_placed(self._label, width, height, self._pixel_aspect))
        self._sink.write(frame)


@lru_cache(maxsize=4)
def _placed(label: LabelSettings, width_px: int, height_px: int, pixel_aspect: float) -> tuple[Array, Array, Array]:
    """crop_from_frame (3, 3), RGB and alpha of the label in a picture of this size."""
    shown_width_px = round(width_px * pixel_aspect)
    rgb, alpha = draw_label(label.text, shown_width_px, height_px)
    margin_px = round(_MARGIN_SHARE * min(shown_width_px, height_px))
    left = label.position.endswith("left")
    top = label.position.startswith("top")
    x = margin_px if left else shown_width_px - margin_px - alpha.shape[1]
    y = margin_px if top else height_px - margin_px - alpha.shape[0]
    return np.array([[pixel_aspect, 0, -x], [0, 1, -y], [0, 0, 1]], np.float64), rgb, alpha

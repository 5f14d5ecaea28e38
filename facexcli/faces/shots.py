"""Cuts, by PySceneDetect's content detector, fed with our own small frames."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scenedetect import ContentDetector, FrameTimecode
from scenedetect.detector import FlashFilter

if TYPE_CHECKING:
    from facexcli.types import Array

_WIDTH_PX = 160


class ShotDetector:
    """Says of each frame, as it comes, whether a new shot begins with it.

    The mean change of hue, saturation and value between neighbours (PySceneDetect's content value) has to exceed
    `threshold`; it is computed on 160-pixel-wide frames, where noise and small motion have gone.
    """

    def __init__(self, frame_rate: Fraction | float = Fraction(25), threshold: float = 27.0) -> None:
        self._frame_rate = Fraction(frame_rate).limit_denominator(1_000_000)
        # No minimum length: a shot of one frame must not lend its face to its neighbours.
        self._detector = ContentDetector(threshold, min_scene_len=0, filter_mode=FlashFilter.Mode.SUPPRESS)

    def feed(self, index: int, rgb_small: Array) -> bool:
        """Whether frame `index` (ascending) starts a new shot; the first one never does. rgb_small: uint8 (H, W, 3)."""
        height, width = rgb_small.shape[:2]
        if width > _WIDTH_PX:
            size = (_WIDTH_PX, max(1, round(height * _WIDTH_PX / width)))
            rgb_small = cv2.resize(rgb_small, size, interpolation=cv2.INTER_AREA)
        bgr = np.ascontiguousarray(rgb_small[..., ::-1])
        return bool(self._detector.process_frame(FrameTimecode(index, self._frame_rate), bgr))

"""Cuts, by PySceneDetect's content value, on our own small frames."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scenedetect import ContentDetector, FrameTimecode, StatsManager

if TYPE_CHECKING:
    from facexcli.types import Array

_WIDTH_PX = 160
_CUT, _CUT_RATIO = 27.0, 2.5
_LIKE_CUT, _LIKE_CUT_RATIO = 12.0, 5.0
"""A cut between views that resemble each other: two people before the same wall reach 12; a gesture 10, speech 2."""
_HISTORY = 4


class ShotDetector:
    """Says of each frame, as it comes, whether a new shot begins with it.

    The mean change of hue, saturation and value between neighbours (PySceneDetect's content value, on 160-pixel-wide
    frames, where noise and small motion have gone) has to be large, and large compared with the frames before, so that
    a fast camera or person is not a cut. PySceneDetect's own adaptive detector compares with the frames after as well,
    and can only tell two frames later.
    """

    def __init__(self, frame_rate: Fraction | float = Fraction(25)) -> None:
        self._frame_rate = Fraction(frame_rate).limit_denominator(1_000_000)
        self._detector = ContentDetector()
        self._before: deque[tuple[float, bool]] = deque(maxlen=_HISTORY)

    def feed(self, index: int, rgb_small: Array) -> bool:
        """Whether frame `index` (ascending) starts a new shot; the first one never does. rgb_small: uint8 (H, W, 3)."""
        change = self._change(index, rgb_small)
        is_cut = self._stands_out(change)
        self._before.append((change, is_cut))
        return is_cut

    def _stands_out(self, change: float) -> bool:
        usual = self._usual_change()
        if change >= _CUT and change >= _CUT_RATIO * usual:
            return True
        known = len(self._before) == _HISTORY
        return known and change >= _LIKE_CUT and change >= _LIKE_CUT_RATIO * usual

    def _usual_change(self) -> float:
        """The last change, unless it was a cut; at least the second largest of the last four, for doubled frames."""
        if not self._before:
            return 0.0
        last, was_cut = self._before[-1]
        if len(self._before) == 1:
            return last
        second = sorted(change for change, _ in self._before)[-2]
        return second if was_cut else max(last, second)

    def _change(self, index: int, rgb_small: Array) -> float:
        height, width = rgb_small.shape[:2]
        if width > _WIDTH_PX:
            size = (_WIDTH_PX, max(1, round(height * _WIDTH_PX / width)))
            rgb_small = cv2.resize(rgb_small, size, interpolation=cv2.INTER_AREA)
        bgr = np.ascontiguousarray(rgb_small[..., ::-1])
        timecode = FrameTimecode(index, self._frame_rate)
        # A new manager each time, because one keeps the values of every frame of the video.
        self._detector.stats_manager = StatsManager()
        self._detector.process_frame(timecode, bgr)
        (value,) = self._detector.stats_manager.get_metrics(timecode, [ContentDetector.FRAME_SCORE_KEY])
        return float(value or 0.0)

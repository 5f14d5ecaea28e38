"""Crossfades: one picture that turns into another, so slowly that no frame is a cut."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from fractions import Fraction

    from facexcli.types import Array

_WIDTH_PX = 80
_HALF_SPAN_S = 0.16
_LEAST_CHANGE = 2.5
"""Code values between the ends of a span; grain and speech stay below."""
_LEAST_TOTAL = 6.0
_BLEND_ERROR = 0.2
"""Distance of the middle frame from the mean of the ends, over that of the ends. A crossfade has 0.03 to 0.15, gestures
and speech 0.3 and more; slow pans over soft pictures look like one."""
_NOISE = 0.3
_LEAST_SPANS = 4


class DissolveDetector:
    """Says, once it is over, from which frame to which the picture was mixed out of two.

    In a crossfade every frame is a weighted mean of the frames around it (J. S. Boreczky, L. A. Rowe, "Comparison of
    video shot boundary detection techniques", 1996, compare such models), which is hardly ever so when something moves.
    A slow camera may be taken for one, so what follows from it needs a reason of its own.
    """

    def __init__(self, frame_rate: Fraction | float) -> None:
        self._half = max(2, round(float(frame_rate) * _HALF_SPAN_S))
        self._recent: deque[tuple[int, Array]] = deque(maxlen=2 * self._half + 1)
        self._first: tuple[int, Array] | None = None
        self._last: tuple[int, Array] | None = None
        self._spans = 0

    def feed(self, index: int, rgb_small: Array, is_cut: bool) -> tuple[int, int] | None:
        """Look at the next frame, uint8 (H, W, 3). (first, last) of a crossfade that has just ended, else None.

        `is_cut` says that a new shot begins with this frame.
        """
        if is_cut:
            self._recent.clear()
            self._first = None
        self._recent.append((index, _reduced(rgb_small)))
        if self._is_blend():
            self._first = self._first or self._recent[0]
            self._last = self._recent[-1]
            self._spans += 1
            return None
        return self._ended()

    def _is_blend(self) -> bool:
        if len(self._recent) < 2 * self._half + 1:
            return False
        start, middle, end = (self._recent[place][1] for place in (0, self._half, -1))
        change = float(np.abs(end - start).mean())
        return change >= _LEAST_CHANGE and np.abs(middle - (start + end) / 2).mean() < _BLEND_ERROR * (change + _NOISE)

    def _ended(self) -> tuple[int, int] | None:
        first, last, spans = self._first, self._last, self._spans
        self._first, self._last, self._spans = None, None, 0
        if first is None or last is None or spans < _LEAST_SPANS:
            return None
        return (first[0], last[0]) if np.abs(last[1] - first[1]).mean() >= _LEAST_TOTAL else None


def _reduced(rgb: Array) -> Array:
    """float32, at most 80 pixels wide, soft: a head that sways by a pixel is no change."""
    height, width = rgb.shape[:2]
    size = (min(width, _WIDTH_PX), max(1, round(height * min(1.0, _WIDTH_PX / width))))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 1.0))

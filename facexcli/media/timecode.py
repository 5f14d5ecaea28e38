"""SMPTE timecodes of a cut: what a clock in hours, minutes, seconds and frames shows some frames later."""

from __future__ import annotations

import re
from fractions import Fraction

_TIMECODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)", re.ASCII)


def shifted_timecode(text: str, frames: int, rate: Fraction) -> str:
    """The timecode `frames` frames after `text` at `rate` frames a second; '' for what is not a timecode.

    A semicolon or a point before the frames marks drop-frame counting (SMPTE ST 12-1), which leaves out the first two
    numbers of every minute but each tenth at 30 a second, and four at 60. A day starts again at 0.
    """
    match = _TIMECODE.fullmatch(text)
    base = round(rate)
    if match is None or base <= 0:
        return ""
    hours, minutes, seconds, separator, frame = match.groups()
    drop = base // 15 if separator != ":" and base % 30 == 0 else 0
    count = ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * base + int(frame)
    passed = int(hours) * 60 + int(minutes)
    count += frames - drop * (passed - passed // 10)
    count %= 24 * 60 * 60 * base - drop * (24 * 60 - 24 * 6)
    if drop:
        count += _dropped(count, base, drop)
    total, frame_number = divmod(count, base)
    return f"{total // 3600:02}:{total // 60 % 60:02}:{total % 60:02}{separator}{frame_number:02}"


def _dropped(count: int, base: int, drop: int) -> int:
    """The numbers left out before the frame with this count."""
    tens, rest = divmod(count, 600 * base - 9 * drop)
    minutes = max(0, rest - drop) // (60 * base - drop) if rest >= 60 * base else 0
    return drop * (9 * tens + minutes)


__all__ = ["shifted_timecode"]

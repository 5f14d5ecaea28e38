"""Timecodes of cuts, with and without dropped numbers."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facexcli.media.timecode import shifted_timecode

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("text", "frames", "rate", "expected"),
    [
        ("01:00:00:00", 25, Fraction(25), "01:00:01:00"),
        ("01:00:00:24", 1, Fraction(25), "01:00:01:00"),
        ("23:59:59:24", 1, Fraction(25), "00:00:00:00"),
        ("00:00:59:29", 1, NTSC, "00:01:00:00"),  # a colon: no number is dropped
        ("00:00:59;29", 1, NTSC, "00:01:00;02"),  # SMPTE ST 12-1: ;00 and ;01 do not exist
        ("00:09:59;29", 1, NTSC, "00:10:00;00"),  # but every tenth minute they do
        ("00:00:00;00", 17982, NTSC, "00:10:00;00"),
        ("00:00:00;00", 107892, NTSC, "01:00:00;00"),
        ("00:00:59;59", 1, Fraction(60000, 1001), "00:01:00;04"),
        ("23:59:59;29", 1, NTSC, "00:00:00;00"),
        ("10:00:00:00", 48, Fraction(24000, 1001), "10:00:02:00"),
        ("soon", 3, Fraction(25), ""),
        ("1:00:00:00", 3, Fraction(25), ""),
    ],
)
def test_known_timecodes(text: str, frames: int, rate: Fraction, expected: str) -> None:
    assert shifted_timecode(text, frames, rate) == expected


@given(st.integers(0, 2_589_407), st.integers(0, 200_000))
def test_two_cuts_are_one_cut(start: int, more: int) -> None:
    first = shifted_timecode("00:00:00;00", start, NTSC)
    assert shifted_timecode(first, more, NTSC) == shifted_timecode("00:00:00;00", start + more, NTSC)
    assert not (first[3:5] not in ("00", "10", "20", "30", "40", "50") and first.endswith(("00;00", "00;01")))

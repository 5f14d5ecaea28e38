"""Animated WebP, which libav does not read: times from the container, composed pictures from libwebp through Pillow."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING

from facexcli.errors import InputError
from facexcli.media.container import os_reason
from facexcli.media.frames import frame_from_rgb
from facexcli.media.image import read_animation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from facexcli.types import Frame, MediaInfo

TIME_BASE = Fraction(1, 1000)
_SHORTEST_MS = 11
_USUAL_MS = 100
"""How long browsers, and FFmpeg for GIF, show a frame that claims to take no time: they all take it for a mistake."""


def frame_durations_ms(path: Path) -> tuple[int, ...]:
    """How long each frame of an animated WebP is shown, in ms (RFC 9649, 2.7.1.1). Raises InputError."""
    found = []
    try:
        with path.open("rb") as file:
            file.seek(12)
            while len(header := file.read(8)) == 8:
                size = int.from_bytes(header[4:], "little")
                here = file.tell()
                if header[:4] == b"ANMF":
                    told = int.from_bytes(file.read(16)[12:15], "little")
                    found.append(told if told >= _SHORTEST_MS else _USUAL_MS)
                file.seek(here + size + size % 2)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {os_reason(error)}") from error
    return tuple(found)


def mean_rate(durations_ms: tuple[int, ...]) -> Fraction:
    """Frames a second."""
    return Fraction(1000 * len(durations_ms), sum(durations_ms)).limit_denominator(1001)


def webp_frames(info: MediaInfo) -> Iterator[Frame]:
    """The frames of an animated WebP, composed. Raises InputError."""
    durations_ms = frame_durations_ms(info.path)
    starts_ms = accumulate(durations_ms, initial=0)
    for index, (rgb, start_ms, duration_ms) in enumerate(
        zip(read_animation(info.path), starts_ms, durations_ms, strict=False)
    ):
        yield frame_from_rgb(rgb, index, start_ms, TIME_BASE, duration_ms)

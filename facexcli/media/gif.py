"""Frames of a GIF: 256 colours each, and no more of them than players show."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from av.filter import Graph

if TYPE_CHECKING:
    from pathlib import Path

    from facexcli.types import Frame

_TRAILER = b"\x3b"
_TICK_S = Fraction(1, 100)
_LEAST_TICKS = 2
"""Browsers show a frame of one tick or none for ten; so what would come sooner after the last one is left out."""


class GifFrames:
    """Makes the frames of one GIF. A palette of its own for each frame, so that none but the current one is held.

    Dithering by a fixed pattern: error diffusion is nearer to each picture, but its grain crawls from frame to frame
    (measured on a talking head: changes that are not in the video are 1.65 code values against 2.76).
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._last_tick: int | None = None
        self.left_out = 0

    def apply(self, frame: Frame) -> Any:
        """The frame with its palette, as a libav frame; None for one that comes too soon to be seen."""
        tick = round(frame.time_s / _TICK_S)
        if self._last_tick is not None and tick - self._last_tick < _LEAST_TICKS:
            self.left_out += 1
            return None
        self._last_tick = tick
        self._graph = self._graph or _graph(frame)
        self._graph.push(frame.native)
        return self._graph.pull()


def add_comment(path: Path, text: str) -> None:
    """Put a comment (GIF89a, section 24) at the end of a GIF; FFmpeg writes none. Raises OSError."""
    encoded = text.encode("ascii", "replace")
    pieces = [encoded[first : first + 255] for first in range(0, len(encoded), 255)]
    blocks = b"".join(bytes((len(piece),)) + piece for piece in pieces)
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() == _TRAILER:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x21\xfe" + blocks + b"\0" + _TRAILER)


def _graph(frame: Frame) -> Graph:
    graph = Graph()
    native = frame.native
    source = graph.add_buffer(width=native.width, height=native.height, format=native.format, time_base=frame.time_base)
    split = graph.add("split")
    make = graph.add("palettegen", "stats_mode=single")
    use = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=5")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(make, 1, 0)
    make.link_to(use, 0, 1)
    use.link_to(graph.add("buffersink"))
    graph.configure()
    return graph

"""Frames and their pixels are freed as soon as nobody wants them."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np

from facexcli.media.color import put_roi
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader


def _living_frames() -> int:
    return sum(type(thing).__name__ == "VideoFrame" for thing in gc.get_objects())


def test_painted_frames_need_no_collector_to_be_freed(eval_data: Path) -> None:
    path = eval_data / "talking" / "grid_brbk7n.mpg"
    white, alpha = np.ones((40, 40, 3), np.float32), np.ones((40, 40), np.float32)
    gc.collect()
    gc.disable()
    try:
        before = _living_frames()
        with FrameReader(path, probe(path)) as reader:
            for frame in reader:
                painted = put_roi(frame, (20, 20, 60, 60), white, alpha)
        del frame, painted
        assert _living_frames() - before <= 2  # the one whose display matrix was read, and the first
    finally:
        gc.enable()

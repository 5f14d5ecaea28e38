"""Frames and their pixels are freed as soon as nobody wants them."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from facexcli.media.color import put_roi
from facexcli.media.frames import frames_ahead
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


@pytest.mark.parametrize(
    ("size", "pix_fmt", "count"),
    [
        ((640, 360), "yuv420p", 6),
        ((1920, 1080), "yuv420p10le", 5),
        ((3840, 2160), "yuv420p", 2),
        ((7680, 4320), "rgba64le", 2),
    ],
)
def test_of_large_frames_fewer_wait(size: tuple[int, int], pix_fmt: str, count: int) -> None:
    assert frames_ahead(*size, pix_fmt) == count

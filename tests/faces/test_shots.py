from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from facexcli.faces.shots import ShotDetector
from facexcli.types import Array

Clips = Callable[[str], list[Array]]

NAMES = [
    *("asl_again.mkv", "asl_book.mkv", "asl_eat.mkv", "grid_lrwp9a.mpg"),
    *("head-pose-face-detection-female.gif", "head-pose-face-detection-male.gif"),
]


def cuts(frames: list[Array]) -> list[int]:
    detector = ShotDetector(25)
    return [index for index, frame in enumerate(frames) if detector.feed(index, frame)]


@pytest.mark.parametrize("name", NAMES)
def test_gestures_and_turning_heads_are_no_cuts(clip: Clips, name: str) -> None:
    assert cuts(clip(name)) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("grid_brbk7n.mpg", "grid_swiz3n.mpg"),
        ("grid_lbax4n.mpg", "grid_lrwp9a.mpg"),
        ("grid_sbia1a.mpg", "grid_brbk7n.mpg"),
    ],
)
def test_a_cut_is_found_at_its_frame(clip: Clips, first: str, second: str) -> None:
    """All before the same blue wall; the second pair hardly differs."""
    joined = clip(first)[:20] + clip(second)[:20] + clip(first)[20:40]
    assert cuts(joined) == [20, 40]


def test_shots_of_one_frame_are_shots(clip: Clips) -> None:
    first, second = clip("grid_brbk7n.mpg"), clip("grid_swiz3n.mpg")
    assert cuts(first[:10] + second[:1] + first[10:20]) == [10, 11]


def test_a_pan_that_gathers_speed_is_no_cut() -> None:
    tiles = np.random.default_rng(5).integers(0, 255, (3, 30, 3), np.uint8)
    wide = cv2.resize(tiles, (2400, 240), interpolation=cv2.INTER_CUBIC)
    starts = np.cumsum([0, 0, 0, 0, 0, 4, 10, 20, 35, 55, 80, 110, 140, 140, 140])
    frames = [np.ascontiguousarray(wide[:, x : x + 427]) for x in starts]
    assert cuts(frames) == []

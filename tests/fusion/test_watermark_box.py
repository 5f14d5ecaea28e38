"""Where the marked box lies in crops of every size, upright and turned."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facexcli.fusion.watermark_box import box_in
from facexcli.fusion.watermark_waves import BOX_PX, GRID_PX
from facexcli.types import Array


def a_bump() -> Array:
    """float32, the box's size: something smooth, away from the middle."""
    bump = np.zeros(BOX_PX[::-1], np.float32)
    bump[40, 35] = 1
    return cv2.GaussianBlur(bump, (0, 0), 3)


def grid_at(crop_px: int) -> Array:
    """grid_from_crop of the grid's own template at another size."""
    scale = GRID_PX / crop_px
    return np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1]])


@pytest.mark.parametrize("turned", [False, True], ids=["upright", "turned"])
@pytest.mark.parametrize("crop_px", [112, 256, 320, 384, 448, 1024])
def test_what_is_seen_is_what_was_put_there(crop_px: int, turned: bool) -> None:
    matrix = grid_at(crop_px)
    if turned:
        matrix = np.vstack([cv2.getRotationMatrix2D((64, 72), 7, 0.97), [0, 0, 1]]) @ matrix
    box = box_in(matrix, (crop_px, crop_px))
    assert (box.box_from_small is None) == (not turned and crop_px >= GRID_PX)
    there = box.spread(a_bump())
    assert there.shape == np.empty((crop_px, crop_px))[box.part].shape
    back, again = box.straight((box.averaged(there), box.averaged(there)))
    assert np.array_equal(back, again)
    assert np.abs(back - a_bump()).max() < 0.1 * a_bump().max()


def test_the_whole_box_is_found_in_the_middle_of_the_crop() -> None:
    assert box_in(grid_at(256), (256, 256)).part == (slice(48, 240), slice(48, 208))


def test_a_box_that_reaches_out_of_the_crop_has_the_part_that_there_is() -> None:
    moved = grid_at(256)
    moved[:2, 2] -= 30
    box = box_in(moved, (256, 256))
    rows, columns = box.part
    assert box.box_from_small is not None
    assert 0 <= rows.start < rows.stop <= 256 and 0 <= columns.start < columns.stop <= 256

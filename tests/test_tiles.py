"""Pictures in rows: every picture in its place, undistorted."""

from __future__ import annotations

import numpy as np

from facexcli.tiles import Tile, sheet


def _plain(height: int, width: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_tiles_stand_in_rows_on_white() -> None:
    drawn = sheet([[Tile(_plain(50, 50, 10)), Tile(_plain(50, 50, 20))], [Tile(_plain(50, 50, 30))]], (50, 50))
    assert drawn.dtype == np.uint8
    assert (drawn == 10).all(axis=2).sum() == 50 * 50
    assert (drawn == 20).all(axis=2).sum() == 50 * 50
    assert (drawn == 30).all(axis=2).sum() == 50 * 50
    assert (drawn[0] == 255).all()
    row_of = {value: np.argwhere((drawn == value).all(axis=2))[0] for value in (10, 20, 30)}
    assert row_of[10][0] == row_of[20][0] < row_of[30][0]
    assert row_of[10][1] == row_of[30][1] < row_of[20][1]


def test_a_picture_keeps_its_proportions() -> None:
    drawn = sheet([[Tile(_plain(100, 200, 10))]], (80, 80))
    rows, columns = np.nonzero((drawn == 10).all(axis=2))
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == (80, 40)


def test_a_caption_is_written_below_and_cut_to_fit() -> None:
    bare = sheet([[Tile(_plain(50, 50, 10))]], (50, 50))
    captioned = sheet([[Tile(_plain(50, 50, 10), "a caption that is far too long for its tile")]], (50, 50))
    changed = np.argwhere((bare != captioned).any(axis=2))
    assert len(changed) > 20
    assert changed[:, 0].min() >= 56
    assert changed[:, 1].max() < captioned.shape[1] - 3

"""What was seen of a face, packed."""

from __future__ import annotations

import numpy as np

from facexcli.faces.history import History, Observation


def seen(index: int, value: float | None = None, score: float = 0.0) -> Observation:
    points = np.full((68, 2), index if value is None else value, np.float32)
    return Observation(index, points, 0.01 * index, score)


def indices(history: History) -> list[int]:
    return [item.index for item in history]


def test_what_was_seen_is_told_again() -> None:
    history = History([seen(3), seen(4)])
    history.extend([seen(7, score=0.5)])
    history.credit(0.75)
    assert len(history) == 3 and indices(history) == [3, 4, 7]
    last = history[-1]
    assert (last.index, last.spread, last.score) == (7, 0.07, 0.75)
    assert last.landmarks_px.dtype == np.float32 and (last.landmarks_px == 7).all()
    assert [item.index for item in history.since(4)] == [4, 7]
    assert list(history.since(8)) == []


def test_the_first_observation_is_never_cut() -> None:
    history = History(map(seen, range(5, 9)))
    assert [item.index for item in history.cut(7)] == [7, 8]
    assert indices(history) == [5, 6]
    assert [item.index for item in history.cut(0)] == [6]
    assert indices(history) == [5]
    history.extend([seen(9)])
    assert indices(history) == [5, 9]


def test_short_gaps_are_bridged_and_long_ones_left() -> None:
    history = History([seen(0), seen(3), seen(4), seen(9), seen(11)])
    history.bridge(2)
    found, landmarks, scores, measured = history.columns()
    assert found.tolist() == [0, 1, 2, 3, 4, 9, 10, 11]
    assert found[~measured].tolist() == [1, 2, 10]
    np.testing.assert_allclose(landmarks[:, 30, 1], found, rtol=1e-6)
    assert not scores.any()


def test_columns_are_no_copies() -> None:
    history = History(map(seen, range(4)))
    _, one, _, _ = history.columns()
    _, other, _, _ = history.columns()
    assert np.shares_memory(one, other) and one.shape == (4, 68, 2)

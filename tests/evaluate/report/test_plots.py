"""What is drawn of a series, and what is not."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facexcli.evaluate.report.plots import MOST_POINTS, Axis, Curve, Plot, clock, draw, reduced, time_ticks


def _path(values: np.ndarray, cuts: tuple[float, ...] = (), low: float = 0, high: float = 1) -> str:
    axis = Axis((np.arange(len(values)) + 0.5) / len(values), (), cuts)
    figure, _ = draw(Plot("t", "u", [Curve("c", "a", values)], low, high), axis, 0)
    (path,) = re.findall(r'<path class="a" d="([^"]*)"', figure)
    return str(path)


def test_a_curve_is_one_line_through_what_is_measured_in_every_few_frames() -> None:
    values = np.full(100, np.nan)
    values[::5] = 0.5
    path = _path(values)
    assert path.count("M") == 1
    assert path.count("L") == 19


def test_a_curve_is_broken_where_somebody_is_away_and_at_a_cut() -> None:
    values = np.full(100, 0.5)
    values[40:60] = np.nan
    assert _path(values).count("M") == 2
    assert _path(np.full(100, 0.5), cuts=(0.25,)).count("M") == 2


def test_nothing_measured_is_no_line() -> None:
    assert _path(np.full(10, np.nan)) == ""
    assert _path(np.array([])) == ""


def test_a_long_series_keeps_its_peaks_and_few_points() -> None:
    values = np.full(100_000, 0.25)
    values[77_777] = 1.0
    path = _path(values)
    assert len(re.findall("[MLV]", path)) <= MOST_POINTS + 1
    assert "V0.0" in path, "a single frame that stands out is seen"


@given(st.integers(1, 5000), st.integers(1, 300))
def test_neighbours_are_joined_in_order_and_none_is_lost(count: int, most: int) -> None:
    places = (np.arange(count) + 0.5) / count
    starts, joined = reduced(places, most)
    assert len(starts) == len(joined) <= max(most, 1)
    assert starts[0] == 0
    assert (np.diff(starts) > 0).all()
    assert (np.diff(joined) > 0).all()


def test_values_are_told_with_their_gaps() -> None:
    values = np.array([1.23456, np.nan, 3])
    _, told = draw(Plot("t", "u", [Curve("c", "a", values)], 0, 1, 1), Axis(np.array([0.1, 0.5, 0.9]), ()), 0)
    assert told == {"series": [[1.235, None, 3.0]], "digits": 1}


def test_the_scale_holds_every_value_on_round_lines() -> None:
    figure, _ = draw(Plot("t", "u", [Curve("c", "a", np.array([-13.0, 41]))], 0, 1), Axis(np.array([0.2, 0.8]), ()), 0)
    lines = [float(text) for text in re.findall(r'text-anchor="end">(-?[\d.]+)<', figure)]
    assert lines[0] <= -13
    assert lines[-1] >= 41
    assert 3 <= len(lines) <= 7
    assert len({round(step, 6) for step in np.diff(lines)}) == 1


def test_speeds_are_drawn_by_decades() -> None:
    curve = Curve("c", "a", np.array([3.0, 700, np.nan]))
    figure, _ = draw(Plot("t", "u", [curve], 1, 100, is_log=True), Axis(np.array([0.2, 0.5, 0.8]), ()), 0)
    assert re.findall(r'text-anchor="end">(\d+)<', figure) == ["1", "10", "100", "1000"]


def test_who_does_not_see_the_curve_hears_its_range() -> None:
    figure, _ = draw(
        Plot("Flicker", "codes", [Curve("result", "a", np.array([1.0, 3]))], 0, 4), Axis(np.array([0, 1]), ()), 0
    )
    assert 'aria-label="Flicker, codes. result: mean 2.00, from 1.00 to 3.00"' in figure


@pytest.mark.parametrize(
    ("time_s", "decimals", "shown"),
    [(0, 2, "0:00.00"), (3.484, 2, "0:03.48"), (59.999, 2, "1:00.00"), (3723.5, 1, "1:02:03.5"), (61, 0, "1:01")],
)
def test_times_are_read_as_on_a_clock(time_s: float, decimals: int, shown: str) -> None:
    assert clock(time_s, decimals) == shown


@pytest.mark.parametrize("duration_s", [0.04, 0.64, 3, 12, 61, 599, 7200, 90_000])
def test_the_time_axis_has_a_few_round_times(duration_s: float) -> None:
    ticks = time_ticks(duration_s)
    assert ticks[0] == (0, clock(0, 1 if duration_s < 6 else 0))
    assert len(ticks) <= 7
    assert all(0 <= place <= 1 + 1e-9 for place, _ in ticks)
    assert len({words for _, words in ticks}) == len(ticks)

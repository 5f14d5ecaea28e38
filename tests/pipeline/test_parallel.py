"""The ordered, bounded map that carries frames between decoder and encoder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facexcli.pipeline.parallel import StageClock, ordered_map


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(), max_size=40), st.integers(1, 4), st.integers(1, 6))
def test_results_come_in_order_whatever_the_number_of_threads(items: list[int], workers: int, window: int) -> None:
    assert list(ordered_map(lambda item: item * 2, items, workers, window)) == [item * 2 for item in items]


def test_no_more_items_than_the_window_are_taken_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(100):
            taken += 1
            yield item

    for count, _ in enumerate(ordered_map(lambda item: item, items(), workers=2, window=4), start=1):
        assert taken <= count + 4


def test_an_error_of_a_worker_reaches_the_consumer_after_the_results_before_it() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise KeyError(item)
        return item

    seen = []
    with pytest.raises(KeyError):
        for result in ordered_map(work, range(10), workers=2, window=4):
            seen.append(result)
    assert seen == [0, 1, 2]


def test_an_error_of_the_input_reaches_the_consumer() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the file ended")

    with pytest.raises(OSError, match="the file ended"):
        list(ordered_map(lambda item: item, items(), workers=2, window=4))


def test_threads_end_when_the_consumer_leaves_early() -> None:
    before = threading.active_count()
    results = ordered_map(lambda item: item, range(1000), workers=2, window=4)
    next(results)
    results.close()
    assert threading.active_count() == before


def test_the_clock_adds_up_what_each_stage_took() -> None:
    clock = StageClock()
    clock.add("crop", 1.0)
    clock.add("engine", 2.0)
    clock.add("crop", 0.5)
    assert clock.seconds() == {"crop": 1.5, "engine": 2.0}
    assert list(clock.timed("decode", [1, 2])) == [1, 2]
    assert clock.seconds()["decode"] >= 0


def test_the_pace_of_a_long_run_is_remembered_in_few_evenly_spread_marks() -> None:
    clock = StageClock()
    for frames in range(10_000):
        clock.add("engine", 1.0)
        clock.mark(frames)
    pace = clock.pace()
    assert 100 < len(pace) <= 256
    assert pace[0].frames == 0
    assert pace[-1].frames > 9_900
    assert len({later.frames - earlier.frames for earlier, later in pairwise(pace)}) == 1
    assert all(mark.stage_s == {"engine": mark.frames + 1} for mark in pace)
    assert [mark.wall_s for mark in pace] == sorted(mark.wall_s for mark in pace)

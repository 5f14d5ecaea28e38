"""Where a video is cut, and the ledger of what is finished."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facexcli.batch.ledger import Ledger
from facexcli.batch.segments import SLACK, cut_segments
from facexcli.errors import OutputError, UsageError
from facexcli.pipeline.parts import Segment
from facexcli.pipeline.render import RenderCounts

if TYPE_CHECKING:
    from pathlib import Path

HEADER = {"plan": "a", "segment_s": 1.0}
COUNTS = RenderCounts(5, 4, {1: 4}, {"odd": 2}, range(5))
FIRST = Segment(0, 0, 5)


@given(st.integers(0, 500), st.integers(1, 3000), st.floats(0.2, 30), st.sets(st.integers(0, 3500)))
def test_every_frame_is_in_one_segment_in_order(start: int, count: int, seconds: float, shots: set[int]) -> None:
    segments = cut_segments(start, start + count, Fraction(25), seconds, sorted(shots))
    assert [segment.number for segment in segments] == list(range(len(segments)))
    assert segments[0].start == start
    assert segments[-1].stop is None
    for before, after in pairwise(segments):
        assert before.stop == after.start < start + count
        length = round(seconds * 25)
        assert length * (1 - SLACK) - 1 <= after.start - before.start <= length * (1 + SLACK) + 1


def test_borders_go_to_shots_that_are_near() -> None:
    segments = cut_segments(0, 100, Fraction(10), 4, [0, 33, 80])
    assert [segment.start for segment in segments] == [0, 33, 80]


def test_what_is_hardly_longer_than_a_segment_is_not_cut() -> None:
    assert len(cut_segments(0, 120, Fraction(10), 10, [])) == 1
    assert len(cut_segments(0, 10**6, Fraction(10), 0, [])) == 1


def _write(folder: Path) -> None:
    ledger = Ledger(folder, HEADER)
    ledger.path(FIRST).write_bytes(b"packets")
    ledger.finished(FIRST, COUNTS)
    ledger.close()


def test_a_ledger_knows_what_was_finished(tmp_path: Path) -> None:
    _write(tmp_path / "w")
    ledger = Ledger(tmp_path / "w", HEADER)
    assert ledger.verified(FIRST)
    assert ledger.counts(FIRST) == COUNTS
    ledger.remove()
    assert not (tmp_path / "w").exists()


def test_a_torn_line_is_as_if_it_had_never_been(tmp_path: Path) -> None:
    _write(tmp_path / "w")
    path = tmp_path / "w" / "ledger.jsonl"
    text = path.read_text("utf-8")
    path.write_text(text + '{"segment": 1, "fi', "utf-8")
    ledger = Ledger(tmp_path / "w", HEADER)
    assert ledger.done == {0}
    ledger.close()
    assert path.read_text("utf-8") == text


def test_a_changed_file_is_rendered_again(tmp_path: Path) -> None:
    _write(tmp_path / "w")
    (tmp_path / "w" / "000000.packets").write_bytes(b"pockets")
    ledger = Ledger(tmp_path / "w", HEADER)
    assert not ledger.verified(FIRST)
    ledger.close()


def test_parts_of_something_else_are_refused_unless_fresh(tmp_path: Path) -> None:
    _write(tmp_path / "w")
    with pytest.raises(UsageError, match=r"another run: the plan .* changed") as raised:
        Ledger(tmp_path / "w", {**HEADER, "plan": "b"})
    assert "--fresh" in raised.value.hint
    ledger = Ledger(tmp_path / "w", {**HEADER, "plan": "b"}, fresh=True)
    assert not ledger.done
    ledger.close()


def test_a_folder_is_for_one_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facexcli.batch.ledger._LOCK_WAIT_S", 0.0)
    ledger = Ledger(tmp_path / "w", HEADER)
    with pytest.raises(OutputError, match="in use"):
        Ledger(tmp_path / "w", HEADER)
    ledger.close()

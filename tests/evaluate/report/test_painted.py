"""What a run knows of its own weak frames reaches the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facexcli.evaluate.report.content import Content
from facexcli.evaluate.report.page import page
from facexcli.evaluate.report.painted import merged, painted_strengths, weaker_frames
from facexcli.evaluate.values import DoubtfulFrame
from facexcli.pipeline.presence import Presence
from facexcli.pipeline.result import PersonResult, RunResult

FRAMES, START = 10, 100


@pytest.fixture
def run(make_content: Callable[..., Content]) -> RunResult:
    """Two tracks of one person, over target frames 98 to 104 and 107 to 109; the result has frames 100 to 109."""
    content = make_content(frames=FRAMES)
    assert content.run is not None
    early, late = np.arange(98, 105), np.arange(107, 110)
    presences = {
        3: Presence(early, np.linspace(0.2, 0.8, 7), early >= 103, ((),) * 7),
        5: Presence(late, np.array([1.0, 0.97, 0.5]), np.array([False, True, False]), ((),) * 3),
        9: Presence(early, np.zeros(7), np.ones(7, bool), ((),) * 7),
    }
    people = (PersonResult(1, "Anna", (Path("alice.jpg"),), 8, 8, (3, 5)), PersonResult(2, "Bo", (), 7, 0, (4,)))
    return replace(content.run, people=people, presences=presences)


def test_strengths_are_those_of_the_result(run: RunResult) -> None:
    (strength,) = painted_strengths(run, START).values()
    expected = [0.4, 0.5, 0.6, 0.7, 0.8, np.nan, np.nan, 1.0, 0.97, 0.5]
    np.testing.assert_allclose(strength, expected)


def test_frames_whose_pose_the_source_does_not_show_are_named(run: RunResult) -> None:
    found = list(weaker_frames(run, START, duration_s=0.4))
    assert [(doubt.frame_index, doubt.person) for doubt in found] == [(3, "Anna"), (4, "Anna")]
    assert found[0].reason == "the source has no view of this pose: painted at 70%"
    assert found[0].time_s == pytest.approx(0.12)


def test_reasons_of_one_face_in_one_frame_stand_together() -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    doubts = merged([
        DoubtfulFrame(4, 0.16, "Anna", "the face flickers", box),
        DoubtfulFrame(2, 0.08, "Bo", "the face flickers"),
        DoubtfulFrame(4, 0.16, "Anna", "the source has no view of this pose"),
    ])  # fmt: skip
    assert [doubt.frame_index for doubt in doubts] == [2, 4]
    assert doubts[1].reason == "the face flickers; the source has no view of this pose"
    assert doubts[1].box_px == box


def test_they_are_listed_where_nothing_could_be_measured(run: RunResult, make_content: Callable[..., Content]) -> None:
    content = make_content(frames=FRAMES, evaluated=False)
    text = page(replace(content, run=run, doubtful=tuple(weaker_frames(run, START, 0.4))))
    assert "the source has no view of this pose: painted at 70%" in text


def test_what_was_painted_is_drawn_beside_what_was_measured(
    run: RunResult, make_content: Callable[..., Content]
) -> None:
    content = make_content(frames=FRAMES)
    assert "as painted" in page(replace(content, painted=painted_strengths(run, START)))
    assert "as painted" not in page(content)

"""Progress in each of its forms."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from facexcli.cli import console
from facexcli.cli.console import JsonLinesReporter, PlainReporter, RichReporter
from facexcli.events import Informed, Reporter, StageAdvanced, StageFinished, StageStarted, Warned

EVENTS = (
    Informed("engine mesh"),
    StageStarted("render", 100),
    StageAdvanced("render", 50, 25.0),
    Warned("a hand\nis in the way"),
    StageFinished("render", 100, 4.0),
)


def _emit(reporter: Reporter) -> None:
    for event in EVENTS:
        reporter.emit(event)


def test_json_lines() -> None:
    stream = io.StringIO()
    _emit(JsonLinesReporter(stream))
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"event": "info", "message": "engine mesh"},
        {"event": "stage_started", "stage": "render", "done": 0, "total": 100, "unit": "frames"},
        {"event": "progress", "stage": "render", "done": 50, "total": 100, "fps": 25.0},
        {"event": "warning", "message": "a hand\nis in the way"},
        {"event": "stage_finished", "stage": "render", "done": 100, "total": 100, "fps": 25.0, "wall_s": 4.0},
    ]


def test_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_PLAIN_INTERVAL_S", 0.0)
    stream = io.StringIO()
    _emit(PlainReporter(stream))
    assert stream.getvalue().splitlines() == [
        "facex: engine mesh",
        "render: 50/100 frames, 25.0/s, 2 s left",
        "facex: warning: a hand is in the way",
        "render: 100 frames in 4.0 s (25.0/s)",
    ]


def test_plain_progress_is_rare() -> None:
    stream = io.StringIO()
    reporter = PlainReporter(stream)
    reporter.emit(StageStarted("render", 100))
    for done in range(100):
        reporter.emit(StageAdvanced("render", done, 25.0))
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("level", "expected"), [(2, ["facex: warning: a hand is in the way"]), (3, [])])
def test_the_log_level_is_kept(level: int, expected: list[str]) -> None:
    stream = io.StringIO()
    _emit(PlainReporter(stream, level))
    assert stream.getvalue().splitlines() == expected


def test_without_stages_only_messages_are_told() -> None:
    stream = io.StringIO()
    _emit(PlainReporter(stream, stages=False))
    assert stream.getvalue().splitlines() == ["facex: engine mesh", "facex: warning: a hand is in the way"]


def test_bars_end_full_and_show_their_speed() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80)
    with Progress(TextColumn("{task.description} {task.percentage} {task.fields[speed]}"), console=terminal) as bars:
        _emit(RichReporter(bars))
        (task,) = bars.tasks
    assert task.finished
    assert task.fields["speed"] == "25.0/s"
    assert "facex: warning: a hand is in the way" in terminal.file.getvalue()  # type: ignore[attr-defined]


def test_an_unknown_length_needs_no_total() -> None:
    stream = io.StringIO()
    reporter = JsonLinesReporter(stream)
    reporter.emit(StageStarted("analyse"))
    reporter.emit(StageAdvanced("analyse", 3, 9.0))
    assert [json.loads(line)["total"] for line in stream.getvalue().splitlines()] == [None, None]

"""What the command line says: progress and messages on standard error, the result on standard output."""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TextIO

from facexcli.events import Informed, StageAdvanced, StageFinished, StageStarted, Warned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.progress import Progress, TaskID

    from facexcli.events import Event, Reporter
    from facexcli.settings import TalkSettings

_LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3}
_PLAIN_INTERVAL_S = 2.0
_TABLE_WIDTH = 80


class Voice:
    """How this process talks. The one piece of state of the command line: errors are told in the same manner.

    is_told: the command line or the settings have said how; before that, configuration files may want it otherwise.
    """

    def __init__(self) -> None:
        self.reset(())

    def reset(self, arguments: Sequence[str]) -> None:
        """Talk as one does before the options are read, guessing from the command line what they will say."""
        spelled = " ".join(arguments).replace("--progress=", "--progress ").split()
        self.progress = "jsonl" if ("--progress", "jsonl") in pairwise(spelled) else "auto"
        self.is_told = not {"--progress", "-q", "--quiet"}.isdisjoint(spelled)
        self.level = _LEVELS["debug" if {"-v", "--verbose"} & set(arguments) else "info"]

    def listen(self, talk: TalkSettings) -> None:
        """Take over the user's wishes."""
        self.progress, self.level, self.is_told = talk.progress, _LEVELS[talk.log_level], True

    def detail(self, message: str) -> None:
        """A line for those who want to know more (-v)."""
        if self.level == _LEVELS["debug"]:
            if self.progress == "jsonl":
                _json_line(sys.stderr, {"event": "detail", "message": message})
            else:
                sys.stderr.write(f"facex: {_one_line(message)}\n")

    def error(self, message: str, hint: str, exit_code: int) -> None:
        """Two lines, or one JSON object, on standard error; with the traceback before them at level debug."""
        if self.level == _LEVELS["debug"]:
            sys.stderr.write(traceback.format_exc())
        if self.progress == "jsonl":
            _json_line(sys.stderr, {"event": "error", "message": message, "hint": hint, "exit_code": exit_code})
        else:
            sys.stderr.write(f"facex: error: {_one_line(message)}\nhint: {_one_line(hint)}\n")
        sys.stderr.flush()


VOICE = Voice()


def print_result(text: str) -> None:
    """The result, on standard output; nothing else may go there."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_json(value: object) -> None:
    """One JSON object on standard output."""
    print_result(json.dumps(value, ensure_ascii=False, default=str))


def show_problem(where: str, message: str, hint: str) -> None:
    """One of several things that are wrong with a file, on standard error; the error that ends the command follows."""
    if VOICE.progress == "jsonl":
        _json_line(sys.stderr, {"event": "problem", "where": where, "message": message, "hint": hint})
    else:
        sys.stderr.write(f"facex: {_one_line(where)}: {_one_line(message)}\n  hint: {_one_line(hint)}\n")


def show_table(columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard error, 80 columns wide. columns: each heading, and whether numbers stand below it.

    As JSON lines an object a row; nothing for those who want to see errors only.
    """
    if VOICE.progress == "jsonl":
        for row in rows:
            _json_line(sys.stderr, {"event": "row", **dict(zip((name for name, _ in columns), row, strict=True))})
        return
    if VOICE.level > _LEVELS["warning"]:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, width=_TABLE_WIDTH)
    for name, is_number in columns:
        table.add_column(name, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    for row in rows:
        table.add_row(*(_escaped(cell) for cell in row))
    Console(stderr=True, width=_TABLE_WIDTH, highlight=False).print(table)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(_one_line(text))


@contextmanager
def reporting() -> Iterator[Reporter]:
    """The reporter that the user asked for; its bars are taken off the screen at the end, whatever happens."""
    kind = VOICE.progress
    if kind == "auto":
        kind = "rich" if sys.stderr.isatty() else "plain"
    if kind == "rich":
        with _bars() as progress:
            yield RichReporter(progress, VOICE.level)
    elif kind == "jsonl":
        yield JsonLinesReporter(sys.stderr, VOICE.level)
    else:
        yield PlainReporter(sys.stderr, VOICE.level, stages=kind == "plain")


class PlainReporter:
    """Lines for log files: a line a stage, another every two seconds while it runs, and the messages."""

    def __init__(self, stream: TextIO, level: int = 1, *, stages: bool = True) -> None:
        self._stream, self._level, self._stages = stream, level, stages
        self._lock = threading.Lock()
        self._totals: dict[str, tuple[int | None, str]] = {}
        self._told_at_s = 0.0

    def emit(self, event: Event) -> None:
        with self._lock:
            line = self._line(event)
            if line:
                self._stream.write(f"{line}\n")
                self._stream.flush()

    def _line(self, event: Event) -> str:
        match event:
            case Warned(message) | Informed(message):
                return _message_line(event, message, self._level)
            case StageStarted(stage, total, unit):
                self._totals[stage] = total, unit
                self._told_at_s = time.monotonic()
            case StageAdvanced(stage, done, fps) if self._told_at_s + _PLAIN_INTERVAL_S <= time.monotonic():
                self._told_at_s = time.monotonic()
                total, unit = self._totals.get(stage, (None, "frames"))
                return self._stage_line(f"{stage}: {_of(done, total)} {unit}, {fps:.1f}/s{_eta(done, total, fps)}")
            case StageFinished(stage, done, wall_s):
                unit = self._totals.get(stage, (None, "frames"))[1]
                return self._stage_line(f"{stage}: {done} {unit} in {wall_s:.1f} s{_rate(done, wall_s)}")
        return ""

    def _stage_line(self, line: str) -> str:
        return line if self._stages and self._level <= _LEVELS["info"] else ""


class JsonLinesReporter:
    """One JSON object a line: {"event", "stage", "done", "total", "fps", ...}, for the program that started us."""

    def __init__(self, stream: TextIO, level: int = 1) -> None:
        self._stream, self._level = stream, level
        self._lock = threading.Lock()
        self._totals: dict[str, int | None] = {}

    def emit(self, event: Event) -> None:
        with self._lock:
            if line := self._object(event):
                _json_line(self._stream, line)

    def _object(self, event: Event) -> dict[str, Any]:
        match event:
            case Warned(message) | Informed(message):
                name = "warning" if isinstance(event, Warned) else "info"
                return {"event": name, "message": message} if _LEVELS[name] >= self._level else {}
            case StageStarted(stage, total, unit):
                self._totals[stage] = total
                return {"event": "stage_started", "stage": stage, "done": 0, "total": total, "unit": unit}
            case StageAdvanced(stage, done, fps):
                total = self._totals.get(stage)
                return {"event": "progress", "stage": stage, "done": done, "total": total, "fps": round(fps, 2)}
            case StageFinished(stage, done, wall_s):
                speed = round(done / wall_s, 2) if wall_s > 0 else None
                counts = {"stage": stage, "done": done, "total": done, "fps": speed}
                return {"event": "stage_finished", **counts, "wall_s": round(wall_s, 3)}


class RichReporter:
    """A bar a stage, with its speed and the time that is left."""

    def __init__(self, progress: Progress, level: int = 1) -> None:
        self._progress, self._level = progress, level
        self._tasks: dict[str, TaskID] = {}

    def emit(self, event: Event) -> None:
        match event:
            case Warned(message) | Informed(message):
                if line := _message_line(event, message, self._level):
                    self._progress.console.print(line, markup=False, highlight=False)
            case StageStarted(stage, total, unit):
                self._tasks[stage] = self._progress.add_task(stage, total=total, speed="", unit=unit)
            case StageAdvanced(stage, done, fps) if stage in self._tasks:
                self._progress.update(self._tasks[stage], completed=done, speed=f"{fps:.1f}/s")
            case StageFinished(stage, done, wall_s) if stage in self._tasks:
                speed = f"{done / wall_s:.1f}/s" if wall_s > 0 else ""
                self._progress.update(self._tasks[stage], completed=done, total=max(done, 1), speed=speed)
                self._progress.stop_task(self._tasks[stage])


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description:>15}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]} {task.fields[speed]:>9}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True),
        expand=True,
    )


def _message_line(event: Event, message: str, level: int) -> str:
    name = "warning" if isinstance(event, Warned) else "info"
    prefix = "facex: warning: " if name == "warning" else "facex: "
    return f"{prefix}{_one_line(message)}" if _LEVELS[name] >= level else ""


def _of(done: int, total: int | None) -> str:
    return f"{done}/{total}" if total else str(done)


def _eta(done: int, total: int | None, fps: float) -> str:
    return f", {max(total - done, 0) / fps:.0f} s left" if total and fps > 0 else ""


def _rate(done: int, wall_s: float) -> str:
    return f" ({done / wall_s:.1f}/s)" if done > 1 and wall_s > 0 else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _json_line(stream: TextIO, value: dict[str, Any]) -> None:
    stream.write(json.dumps(value, ensure_ascii=False) + "\n")
    stream.flush()

"""`-` on the command line: a video from standard input, or to standard output."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from facexcli.errors import FacexError, UsageError
from facexcli.events import Informed, Reporter, Warned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from facexcli.events import Event

_IN_WORDS = "standard input"


def is_standard(path: object) -> bool:
    """Whether a path, or the text of one, stands for standard input or output."""
    return str(path) == "-"


class Input:
    """The file to read, and how it is called before the user."""

    def __init__(self, path: Path, name: str = "") -> None:
        self.path, self._name = path, name or str(path)

    def told(self, text: str) -> str:
        """A message with the user's name of the file."""
        return text.replace(str(self.path), self._name)

    def reporter(self, reporter: Reporter) -> Reporter:
        """One that tells events so."""
        return reporter if self._name == str(self.path) else _Renaming(reporter, self)


@contextmanager
def piped_input(path: Path) -> Iterator[Input]:
    """`path` itself, or for `-` a file with what comes on standard input, which is gone after the block.

    Raises UsageError where standard input is a terminal, and what `media.pipe.spooled` raises. Errors out of the block
    call the file standard input.
    """
    if not is_standard(path):
        yield Input(path)
        return
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("`-` reads a video from standard input, which is a terminal", "cat clip.mp4 | facex ...")
    from facexcli.media.pipe import spooled

    with spooled(sys.stdin.buffer) as file:
        source = Input(file, _IN_WORDS)
        try:
            yield source
        except FacexError as error:
            error.message, error.hint = source.told(error.message), source.told(error.hint)
            raise


def check_standard_output(as_json: bool) -> None:
    """Raises UsageError where a video cannot go to standard output, or where the result as JSON should, too."""
    if as_json:
        raise UsageError("--json and `-o -` both want standard output", "--progress jsonl tells on standard error")
    if sys.stdout is None or sys.stdout.isatty():
        raise UsageError("`-o -` writes a video to standard output, which is a terminal", "facex ... -o - | mpv -")


def refuse_standard(paths: Iterable[Path], name: str, hint: str) -> None:
    """Raises UsageError for `-` where a file is needed."""
    if any(is_standard(path) for path in paths):
        raise UsageError(f"{name} cannot come from standard input", hint)


class _Renaming:
    def __init__(self, reporter: Reporter, source: Input) -> None:
        self._reporter, self._source = reporter, source

    def emit(self, event: Event) -> None:
        if isinstance(event, (Warned, Informed)):
            event = replace(event, message=self._source.told(event.message))
        self._reporter.emit(event)

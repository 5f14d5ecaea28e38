"""What a process has in work, told to the process that watches over it: inputs being read, files half written.

The watcher (`cli.guard`) clears away what a crash in native code leaves behind, and says which files were in work.
Where nobody watches, as in a library, nothing is told. Paths are made absolute, and told before they are touched.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_RECORD = re.compile(rb"\x01([rt])([^\x00\x01]*)\x00")
_watcher: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """inputs: read so far, the latest first. temporaries: may lie half written. rest: what is no record, as text."""

    inputs: tuple[str, ...]
    temporaries: tuple[str, ...]
    rest: str


def tell_to(descriptor: int | None) -> None:
    """From now on, write records into this pipe; None for nowhere."""
    global _watcher
    _watcher = descriptor


def reading(path: Path) -> None:
    """`path` is an input that is about to be read."""
    _tell(b"r", path)


def half_written(path: Path) -> None:
    """`path`, a file or a folder of this process alone, is about to be made, and must not outlive it."""
    _tell(b"t", path)


def parse(records: bytes) -> Told:
    """What was written into the pipe; other things may stand between the records."""
    inputs: dict[str, None] = {}
    temporaries: dict[str, None] = {}
    for kind, name in _RECORD.findall(records):
        path = os.fsdecode(name)
        if kind == b"t":
            temporaries[path] = None
        else:
            inputs.pop(path, None)
            inputs[path] = None
    rest = _RECORD.sub(b"", records).decode("utf-8", "replace")
    return Told(tuple(reversed(inputs)), tuple(temporaries), rest)


def _tell(kind: bytes, path: Path) -> None:
    if _watcher is not None:
        with suppress(OSError):  # a watcher that is gone: its end is seen elsewhere
            os.write(_watcher, b"\x01" + kind + os.fsencode(os.path.abspath(path)) + b"\x00")

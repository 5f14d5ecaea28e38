"""Standard input as a file, and standard output as a place for a video."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from facexcli import journal
from facexcli.errors import InputError, OutputError
from facexcli.media.container import os_reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

STANDARD = Path("-")
"""What stands for standard input and standard output in a command line."""
STANDARD_SUFFIX = ".mkv"
"""What goes to standard output is Matroska: it can be written and read without going back."""
SPOOLED_NAME = "standard input"
_PIECE_BYTES = 1 << 20


@contextmanager
def spooled(stream: BinaryIO) -> Iterator[Path]:
    """All of a stream as a file, as long as the block lasts: a video is read twice, and a pipe can be read once.

    The file lies in TMPDIR, else in /var/tmp, which is a disk where /tmp may be memory. Raises InputError for an empty
    stream, OutputError where there is no room.
    """
    folder = _temporary_root() / f"facex-{secrets.token_hex(6)}"
    journal.half_written(folder)
    try:
        path = folder / SPOOLED_NAME
        try:
            folder.mkdir(mode=0o700)
            with path.open("xb") as file:
                shutil.copyfileobj(stream, file, _PIECE_BYTES)
        except OSError as error:
            hint = "set TMPDIR to a folder on a disk with room"
            raise OutputError(f"standard input cannot be kept in {folder}: {os_reason(error)}", hint) from error
        if not path.stat().st_size:
            raise InputError("nothing came on standard input", "check the command before the pipe")
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _temporary_root() -> Path:
    disk = Path("/var/tmp")
    if "TMPDIR" not in os.environ and os.name == "posix" and os.access(disk, os.W_OK | os.X_OK):
        return disk
    return Path(tempfile.gettempdir())


class StandardOutput:
    """Standard output for a muxer alone: until `close`, whatever else is written there goes to standard error.

    Has the shape of `atomic.AtomicFile`; but what was written to a pipe is gone, so it is neither complete at once nor
    taken back.
    """

    def __init__(self) -> None:
        with suppress(ValueError, OSError):
            sys.stdout.flush()
        try:
            self._own = os.dup(_STDOUT)
        except OSError as error:
            raise OutputError(f"standard output cannot be written: {os_reason(error)}") from error
        os.dup2(_STDERR, _STDOUT)
        self._open = True

    @property
    def url(self) -> str:
        """What libav opens."""
        return f"pipe:{self._own}"

    def commit(self) -> None:
        """Everything is written already."""

    def discard(self) -> None:
        """Give standard output back. What was printed meanwhile and still waits in a buffer is not for it."""
        if self._open:
            self._open = False
            with suppress(ValueError, OSError):
                sys.stdout.flush()
            os.dup2(self._own, _STDOUT)
            os.close(self._own)


_STDOUT, _STDERR = 1, 2


def container_suffix(path: Path) -> str:
    """The suffix that says the container of an output, in lower case."""
    return STANDARD_SUFFIX if path == STANDARD else path.suffix.lower()

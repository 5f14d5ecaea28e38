"""A file that appears complete or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING, Self

from facexcli import journal
from facexcli.errors import OutputError
from facexcli.media.container import os_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from types import TracebackType

    Finish = Callable[[Path], None]
    """What is done to a finished file before it gets its name."""


def write_whole(path: Path, content: str | bytes | Iterable[str], finish: Finish | None = None) -> None:
    """Write a file, text as UTF-8, whole or not at all; one that is there is replaced. Raises OutputError.

    Of text in pieces one is held at a time. `finish` gets the finished file before it gets its name.
    """
    with AtomicFile(path) as file:
        try:
            with file.temporary.open("wb") as stream:
                for piece in [content] if isinstance(content, str | bytes) else content:
                    stream.write(piece.encode() if isinstance(piece, str) else piece)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {os_reason(error)}") from error
        if finish is not None:
            finish(file.temporary)
        file.commit()


class AtomicFile:
    """Write to `temporary`, beside `path` and with its suffix; `commit` renames it, leaving the block removes it.

    The temporary name is unique, so that parallel runs do not collide. Raises OutputError where the folder is missing
    or cannot be written, before any work is done.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}.part{path.suffix}")
        self._done = False
        if path.is_dir():
            raise OutputError(f"{path} is a folder")
        if not path.parent.is_dir():
            raise OutputError(f"the folder {path.parent} does not exist", "create it, or choose another place with -o")
        journal.half_written(self.temporary)
        try:
            os.close(os.open(self.temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {os_reason(error)}") from error

    @property
    def url(self) -> str:
        """The temporary file as libav opens it: a colon in its name is no protocol."""
        return f"file:{self.temporary}"

    def commit(self) -> None:
        """Put the file in its place, over an older one. The last moment at which it can fail."""
        try:
            os.replace(self.temporary, self.path)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {os_reason(error)}") from error
        self._done = True

    def discard(self) -> None:
        """Remove what was written, unless it was committed."""
        if not self._done:
            with contextlib.suppress(FileNotFoundError):
                self.temporary.unlink()
            self._done = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

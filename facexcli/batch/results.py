"""The results file of a batch: JSON lines, one a job, each on disk before the next job is begun.

It holds the last batch. What earlier lines say about outputs is read before, so that a batch knows what is complete.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from filelock import FileLock, Timeout

from facexcli.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

FORMAT = 1


def default_results(jobs: Path) -> Path:
    """`nightly.results.jsonl` beside `nightly.toml`."""
    return jobs.with_suffix(".results.jsonl")


def read_results(path: Path) -> list[dict[str, Any]]:
    """The lines of a results file; none where there is no such file. What a power cut has torn is left out."""
    found = []
    try:
        for text in path.read_text("utf-8", "replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and line.get("format") == FORMAT:
                found.append(line)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}", "name another file with --results") from error
    return found


class ResultsFile:
    """An open results file, locked against a second batch; a context manager.

    Raises OutputError where it cannot be written or another batch has it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None
        if not path.parent.is_dir():
            raise OutputError(f"{path}: there is no folder {path.parent}", "make it, or name another with --results")
        self._lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise OutputError(f"{path} is in use by another batch",
                              "wait for it, or name another file with --results") from None  # fmt: skip
        except OSError as error:
            raise self._error(error) from error
        try:
            self.earlier = {str(line["output"]): line for line in read_results(path) if line.get("output")}
        except BaseException:
            self.close()
            raise

    def begin(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Begin anew with these lines. What was there is replaced in one step, so that nothing known is lost."""
        temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                for line in lines:
                    file.write(_text(line))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
            self._file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._error(error) from error

    def append(self, line: Mapping[str, Any]) -> None:
        """One more line, on disk when this returns."""
        assert self._file is not None
        try:
            self._file.write(_text(line))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._error(error) from error

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        with suppress(OSError):  # Windows removes no open file
            Path(self._lock.lock_file).unlink(missing_ok=True)  # nobody waits for it
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _error(self, error: OSError) -> OutputError:
        return OutputError(f"{self.path} cannot be written: {error.strerror}", "name another file with --results")


def _text(line: Mapping[str, Any]) -> str:
    return json.dumps({"format": FORMAT, **line}, ensure_ascii=False, default=str) + "\n"

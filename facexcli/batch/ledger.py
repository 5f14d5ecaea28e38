"""The work folder of a run in segments, and the ledger in it of what is finished.

`OUT.facex/` holds a lock, the ledger and a file for each finished segment. The ledger is JSON lines: a header that says
what is made, then a line for each segment. A line is written after the segment's file is complete, and both are on disk
before the next segment begins, so that power may fail at any time: a line that was torn is as if it had never been.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facexcli.batch.segments import part_path
from facexcli.errors import OutputError, UsageError
from facexcli.pipeline.kept import KEPT
from facexcli.pipeline.render import RenderCounts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facexcli.pipeline.parts import Segment

_LEDGER, _LOCK = "ledger.jsonl", "lock"
_NAMES = frozenset((_LEDGER, _LOCK, *KEPT))
_PART = re.compile(r"\d{6,}\.packets|\..{1,48}\.part(\.\w+)?")
"""Files of packets, and those that a process that was killed left half written."""
_CHANGES = {
    "plan": "the plan (a setting, a file or the engine)", "inputs": "the content of an input",
    "people": "the content of --match or --analysis", "weights": "the weights", "code": "facex itself",
    "container": "the kind of output", "segment_s": "--segment",
}  # fmt: skip
"""What the entries of a header say, for the user."""
_LOCK_WAIT_S = 5.0
"""How long a run that was killed may take to end: its processes see that on their own."""


def work_folder(output: Path) -> Path:
    """Where the segments of an output are kept."""
    return output.with_name(f"{output.name}.facex")


class Ledger:
    """An open and locked work folder; a context manager. Raises OutputError where it is in use or cannot be written.

    `header` says what is made. A folder for something else raises UsageError, or is begun anew with `fresh`.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any], fresh: bool = False) -> None:
        self.folder = folder
        self._done: dict[int, dict[str, Any]] = {}
        try:
            folder.mkdir(exist_ok=True)
            self._lock = _locked(folder / _LOCK)
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
        try:
            self._open(header, fresh)
        except OSError as error:
            self.close()
            raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def _open(self, header: Mapping[str, Any], fresh: bool) -> None:
        path = self.folder / _LEDGER
        known = [] if fresh else _lines(path)
        if known:
            self._check_header(known[0], json.loads(json.dumps(header)))
        for line in known[1:]:
            if (self.folder / str(line["file"])).is_file():
                self._done[int(line["segment"])] = line
        wanted = {_LOCK, *(line["file"] for line in self._done.values()), *(KEPT if known else ())}
        for stale in self._own_files():
            if stale.name not in wanted:
                stale.unlink()
        # Written anew, so that what was torn is gone.
        self._file = path.open("w", encoding="utf-8")
        self._append(header)
        for line in self._done.values():
            self._append(line)
        _sync(self.folder)

    def _check_header(self, known: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        changed = [said for name, said in _CHANGES.items() if known.get(name) != wanted.get(name)]
        if changed or known != wanted:
            reason = " and ".join(changed) or "its format"
            raise UsageError(f"{self.folder} holds parts of another run: {reason} changed", "--fresh renders it anew")

    def _own_files(self) -> list[Path]:
        """Nobody else's file is touched, whatever lies in the folder."""
        return [path for path in self.folder.iterdir() if path.name in _NAMES or _PART.fullmatch(path.name)]

    @property
    def done(self) -> frozenset[int]:
        """The numbers of the finished segments."""
        return frozenset(self._done)

    def path(self, segment: Segment) -> Path:
        """The file of a segment, finished or not."""
        return part_path(self.folder, segment)

    def finished(self, segment: Segment, counts: RenderCounts) -> None:
        """The segment's file is complete. Raises OutputError."""
        path = self.path(segment)
        try:
            if not counts.frames:
                path.touch()
            line = {
                "segment": segment.number, "range": [segment.start, segment.stop], "file": path.name,
                "bytes": path.stat().st_size, "sha256": _sha256(path),
                "frames": counts.frames, "painted": counts.painted, "span": [counts.span.start, counts.span.stop],
                "per_track": {str(track): count for track, count in counts.per_track.items()},
                "doubts": dict(counts.doubts),
            }  # fmt: skip
            _sync(self.folder)
            self._done[segment.number] = line  # first: Ctrl-C may come between, and what has a line must not be removed
            self._append(line)
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be written: {error.strerror}") from error

    def verified(self, segment: Segment) -> bool:
        """Whether a segment is finished and its file is still what was written."""
        line = self._done.get(segment.number)
        if line is None:
            return False
        path = self.path(segment)
        with suppress(OSError):
            is_same = line.get("range") == [segment.start, segment.stop]
            if is_same and path.stat().st_size == line["bytes"] and _sha256(path) == line["sha256"]:
                return True
        del self._done[segment.number]
        return False

    def counts(self, segment: Segment) -> RenderCounts:
        """What was counted in a finished segment."""
        line = self._done[segment.number]
        per_track = {int(track): count for track, count in line["per_track"].items()}
        return RenderCounts(line["frames"], line["painted"], per_track, line["doubts"], range(*line["span"]))

    def remove(self) -> None:
        """After success: what was kept, and the folder, unless somebody put something into it."""
        with suppress(OSError):
            for path in self._own_files():
                path.unlink(missing_ok=True)
        self.close()
        with suppress(OSError):
            self.folder.rmdir()

    def close(self) -> None:
        """Let go of the folder."""
        if hasattr(self, "_file"):
            self._file.close()
        with suppress(OSError):
            os.close(self._lock)

    def _append(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a ledger, up to one that is none."""
    found: list[dict[str, Any]] = []
    with suppress(FileNotFoundError):
        for text in path.read_bytes().split(b"\n"):
            try:
                line = json.loads(text)
            except ValueError:
                break
            if not isinstance(line, dict) or (found and not {"segment", "file", "bytes", "sha256"} <= line.keys()):
                break
            found.append(line)
    return found


def _locked(path: Path) -> int:
    """A descriptor that holds the lock; the system lets go of it when this process ends, however it ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    until_s = time.monotonic() + _LOCK_WAIT_S
    while not _try_lock(descriptor):
        if time.monotonic() > until_s:
            os.close(descriptor)
            raise OutputError(f"{path.parent} is in use by another run", "wait for it, or choose another output")
        time.sleep(0.1)
    return descriptor


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

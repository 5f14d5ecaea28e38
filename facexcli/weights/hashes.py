"""SHA-256 of files: told while it takes long, and checked once for each file and run."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from typing import TYPE_CHECKING

from facexcli.events import SilentReporter, StageAdvanced, StageFinished, StageStarted
from facexcli.weights.lock import LockedFile

if TYPE_CHECKING:
    from pathlib import Path

    from facexcli.events import Reporter

    _Key = tuple[str, int, int, str]

TOLD_FROM_BYTES = 64 << 20
"""Below this a hash is there before anybody could read that it is made."""
_CHUNK = 1 << 20
_TOLD_EVERY_S = 0.25
_verified: set[_Key] = set()
_in_work: dict[_Key, threading.Lock] = {}
_table = threading.Lock()


def fingerprint(path: Path, reporter: Reporter | None = None) -> LockedFile:
    """SHA-256 (hex) and size of a file; a large one is told as the stage "hash". Raises OSError."""
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        tell: Reporter = reporter if reporter and size >= TOLD_FROM_BYTES else SilentReporter()
        digest, done = hashlib.sha256(), 0
        began_s = told_s = time.monotonic()
        tell.emit(StageStarted("hash", -(-size >> 20), "MB"))
        while block := stream.read(_CHUNK):
            digest.update(block)
            done += len(block)
            now_s = time.monotonic()
            if now_s - told_s >= _TOLD_EVERY_S:
                told_s = now_s
                tell.emit(StageAdvanced("hash", done >> 20, done / 2**20 / (now_s - began_s)))
        tell.emit(StageFinished("hash", -(-done >> 20), time.monotonic() - began_s))
    return LockedFile(digest.hexdigest(), done)


def is_unaltered(path: Path, recorded: LockedFile, reporter: Reporter | None = None) -> bool:
    """Whether `path` is what was recorded of it. Different files are hashed side by side, the same one once a run.

    Raises OSError.
    """
    key = _key(path, recorded)
    if key[2] != recorded.size_bytes:
        return False
    with _table:
        turn = _in_work.setdefault(key, threading.Lock())
    with turn:
        if key not in _verified and fingerprint(path, reporter).sha256 == recorded.sha256:
            _verified.add(key)
    return key in _verified


def remember(path: Path, recorded: LockedFile) -> None:
    """`path` was hashed by this process just now, under another name."""
    _verified.add(_key(path, recorded))


def _key(path: Path, recorded: LockedFile) -> _Key:
    status = path.stat()
    return str(path.resolve()), status.st_mtime_ns, status.st_size, recorded.sha256

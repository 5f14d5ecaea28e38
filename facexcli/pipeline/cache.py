"""Analyses of earlier runs, in the user's cache folder, so that the same clip is not analysed twice.

An entry is named by everything that an analysis depends on: the content of the file, the range, the settings, the
analyzer, the versions of the packages, and the code itself. So an entry is never out of date; it may only be damaged,
and then it is made again. Entries are written atomically; several processes may use the folder at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import facexcli
from facexcli.config import cache_folder
from facexcli.errors import FacexError, OutputError
from facexcli.events import Informed, Warned
from facexcli.media.probe import fingerprint
from facexcli.pipeline.analysis_io import load_analysis, save_analysis

if TYPE_CHECKING:
    from collections.abc import Callable

    from facexcli.events import Reporter
    from facexcli.faces.base import Analyzer
    from facexcli.types import Analysis, MediaInfo

_SUFFIX = ".faces.json"
_UNFINISHED = ".part.json"
_STALE_S = 24 * 3600.0
"""An unfinished file that is older than this was left by a process that was killed."""
CODE = (
    "types.py", "tracks.py", "affine.py", "faces", "geometry", "media", "pipeline/analyse.py",
    "pipeline/analysis_document.py", "pipeline/analysis_edits.py", "pipeline/analysis_io.py", "pipeline/packing.py",
)  # fmt: skip
"""The modules that an analysis goes through, and packages of them."""
_PACKAGES = (
    "numpy", "scipy", "av", "opencv-python-headless", "dlib-bin", "scenedetect-headless", "insightface", "onnxruntime",
)  # fmt: skip
_HEAD_BYTES = 4096
BYTES_PER_MB = 10**6


@dataclass(frozen=True, slots=True)
class Entry:
    """One analysis in the cache. used_s: when it was last written or read, in seconds since 1970."""

    path: Path
    media: str
    size_bytes: int
    used_s: float

    @property
    def used(self) -> str:
        """The same in local time, to the minute."""
        return datetime.fromtimestamp(self.used_s).strftime("%Y-%m-%d %H:%M")

    @property
    def label(self) -> str:
        """What it is of, in at most 40 characters."""
        name = self.media or "(unfinished or damaged)"
        return name if len(name) <= 40 else f"{name[:38]}.."

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"media": self.media, "size_bytes": self.size_bytes, "used": self.used, "path": str(self.path)}


def cached_analysis(
    info: MediaInfo,
    analyzer: Analyzer,
    smooth: float,
    trim: str,
    limit_mb: int,
    reporter: Reporter,
    analyse: Callable[[], Analysis],
) -> Analysis:
    """What `analyse` returns, or returned in an earlier run for the same content, analyzer and settings.

    The cache is kept below `limit_mb`, 10^6 bytes, by removing what was not used for longest; 0 switches it off. What
    goes wrong with it is warned of, and does not keep the run from its work.
    """
    if not limit_mb:
        return analyse()
    path = analyses_folder() / f"{_key(info, analyzer, smooth, trim)}{_SUFFIX}"
    known = _read(path, info, reporter)
    if known is not None:
        reporter.emit(Informed(f"{info.path.name}: its faces are known from an earlier run"))
        return known
    analysis = analyse()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # faces are nobody else's business
        save_analysis(analysis, path)
        _shrink(limit_mb * BYTES_PER_MB)
    except (OSError, OutputError) as error:
        reporter.emit(Warned(f"the faces that were found are not kept for the next run: {error}"))
    return analysis


def cache_entries() -> list[Entry]:
    """Everything in the cache, last used first; also what was left unfinished. Unreadable ones have no media."""
    entries = []
    folder = analyses_folder()
    paths = [*folder.glob(f"*{_SUFFIX}"), *folder.glob(f".*{_UNFINISHED}")] if folder.is_dir() else []
    for path in paths:
        with suppress(OSError):  # another process may remove it meanwhile
            facts = path.stat()
            entries.append(Entry(path, _media_of(path), facts.st_size, facts.st_mtime))
    return sorted(entries, key=lambda entry: -entry.used_s)


def clear_cache() -> list[Entry]:
    """Remove every entry; returns those that were removed. Raises OutputError for one that cannot be."""
    removed = []
    for entry in cache_entries():
        try:
            entry.path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{entry.path}: cannot be removed: {error.strerror}", "remove it by hand") from error
        removed.append(entry)
    return removed


def analyses_folder() -> Path:
    """Where the entries are; it may not exist yet."""
    return cache_folder() / "analyses"


def _key(info: MediaInfo, analyzer: Analyzer, smooth: float, trim: str) -> str:
    parts = {
        "content": fingerprint(info.path),
        "sequence_rate": str(info.frame_rate) if info.kind == "sequence" else "",
        "analyzer": analyzer.name,
        "smooth": smooth,
        "trim": trim,
        "code": _code_digest(),
        "packages": _package_versions(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]


@lru_cache(maxsize=1)
def _code_digest() -> str:
    """Of the modules that an analysis goes through: whoever changes one need not think of a version."""
    root = Path(facexcli.__file__).parent
    digest = hashlib.sha256(facexcli.__version__.encode())
    for name in CODE:
        part = root / name
        for path in sorted(part.rglob("*.py")) if part.is_dir() else [part]:
            digest.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _package_versions() -> tuple[str, ...]:
    found = []
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return tuple(found)


def _read(path: Path, info: MediaInfo, reporter: Reporter) -> Analysis | None:
    """The entry, or None where there is none or a damaged one."""
    try:
        os.utime(path)  # used now
    except OSError:
        if not path.exists():
            return None  # a cache that may only be read is a cache all the same
    try:
        return replace(load_analysis(path, info.path), media=info)
    except FacexError as error:
        reporter.emit(Warned(f"a damaged entry of the cache is made again: {error.message}"))
        return None


def _shrink(limit_bytes: int) -> None:
    """Remove the entries that were not used for longest until the rest fits, and what was left unfinished."""
    total = 0
    for entry in cache_entries():
        stale = entry.path.name.endswith(_UNFINISHED) and entry.used_s < time.time() - _STALE_S
        total += entry.size_bytes
        if stale or (total > limit_bytes and entry.path.name.endswith(_SUFFIX)):
            entry.path.unlink(missing_ok=True)


def _media_of(path: Path) -> str:
    """The name of the media file, from the first lines of the entry."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES).decode("utf-8", "replace")
        found = re.search(r'^ "media": (".*"),$', head, re.MULTILINE)
        return str(json.loads(found[1])) if found else ""
    except (OSError, ValueError):
        return ""

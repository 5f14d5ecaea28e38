"""What a folder of training data holds: its files, who is in them, and which people are held out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facexcli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_HELD_OUT_ONE_IN = 20
_ENDS = 1 << 16
"""So many bytes at either end of a file tell whether it is another."""
_LIST_SUFFIX, _SIDECARS = ".json", frozenset((".json", ".md", ".txt", ".csv", ".html"))
_LICENCES = "LICENSES"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the data. name: its path in the folder, with slashes. person: who is in it, as a key that is unique in
    the folder. digest: of its size and its two ends, hexadecimal."""

    name: str
    person: str
    digest: str


def find_sources(folder: Path, limit: int | None = None) -> tuple[SourceFile, ...]:
    """Every file below `folder` that may be a picture or a video, by name; whether it is one is seen when it is read.

    People are told apart by the lists in the folder, JSON arrays of objects with `name` (of a file) and `identity`
    (with `set`, where numbers are unique in a set only) or `speaker`; a file that no list names shows somebody of its
    own.

    limit: at most so many files, spread evenly. Raises InputError for a folder that is missing or holds nothing.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", "name a folder of videos and stills with --data")
    paths = sorted(path for path in folder.rglob("*") if _may_be_media(path, folder))
    if not paths:
        raise InputError(f"{folder}: no videos and no stills in this folder", "name another with --data")
    if limit is not None and limit < len(paths):
        paths = [paths[index * len(paths) // limit] for index in range(limit)]
    people = _people(folder)
    return tuple(
        SourceFile(name, people.get(path.name, name), _digest(path))
        for path in paths
        for name in [path.relative_to(folder).as_posix()]
    )


def held_out(people: Iterable[str]) -> frozenset[str]:
    """About one of twenty, by a hash of the name: the same in every run, whoever else is there; at least one of two."""
    known = sorted(set(people), key=_place)
    chosen = [person for person in known if _place(person) % _HELD_OUT_ONE_IN == 0]
    return frozenset(chosen or known[: len(known) > 1])


def fingerprint(files: Sequence[SourceFile], recipe: object) -> str:
    """SHA-256, hexadecimal, of the files and of how they are prepared (anything that JSON can say)."""
    listed = [[file.name, file.person, file.digest] for file in files]
    return hashlib.sha256(json.dumps([listed, recipe], sort_keys=True).encode()).hexdigest()


def _place(person: str) -> int:
    return int.from_bytes(hashlib.blake2b(person.encode(), digest_size=8).digest(), "big")


def _may_be_media(path: Path, folder: Path) -> bool:
    inside = path.relative_to(folder).parts
    if path.suffix.lower() in _SIDECARS or any(part.startswith(".") or part == _LICENCES for part in inside):
        return False
    return path.is_file()


def _people(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted(folder.glob(f"*{_LIST_SUFFIX}")):
        try:
            rows = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not a list of the data's people", "repair it, or take it away") from error
        for row in rows if isinstance(rows, list) else ():
            person = _person(row) if isinstance(row, dict) else None
            if person is not None:
                found[str(row["name"])] = person
    return found


def _person(row: dict[str, Any]) -> str | None:
    who = row.get("identity", row.get("speaker"))
    if who is None or "name" not in row:
        return None
    return f"{row.get('set', '')}/{who}"


def _digest(path: Path) -> str:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            ends = file.read(_ENDS)
            file.seek(max(0, size - _ENDS))
            ends += file.read(_ENDS)
    except OSError:
        return "unreadable"  # told when it is to be read
    return hashlib.blake2b(size.to_bytes(8, "big") + ends, digest_size=16).hexdigest()

"""Reading a file of jobs: TOML, CSV or JSON lines, each into the same rows of keys and values."""

from __future__ import annotations

import csv
import json
import tomllib
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from facexcli.errors import FacexError, InputError, UsageError
from facexcli.settings import COMMAND_SETTINGS, declarations, declarations_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from facexcli.settings import Declaration

SUFFIXES = (".toml", ".csv", ".jsonl")
MOVING = {"swap": "target", "head-swap": "target", "reenact": "driving", "edit": "canvas"}
"""The key of the file that gives the frames, by command."""
TAKE_KEYS = ("pose", "expression", "gaze", "lighting", "hair", "clothes", "background")
"""Keys of an edit that are short for `take`, as its options are."""
_ALL_COMMANDS = ("command", "output", "preset")
_OWN_KEYS: Mapping[str, tuple[str, ...]] = {
    "swap": (*_ALL_COMMANDS, "source", "sources", "target"),
    "head-swap": (*_ALL_COMMANDS, "source", "sources", "target"),
    "reenact": (*_ALL_COMMANDS, "source", "driving"),
    "edit": (*_ALL_COMMANDS, "canvas", *TAKE_KEYS, "inpaint", "loop"),
}
_PERSONAL = ("signing-command", "timestamp")
_LIST_SEPARATOR = ";"
_FORMAT_HINT = "see `facex batch --help` for an example"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a row: where it stands, and the message and the hint of an error."""

    where: str
    message: str
    hint: str

    @classmethod
    def of(cls, where: str, error: FacexError) -> Problem:
        """An error that a row has caused."""
        return cls(where, error.message, error.hint)


class JobsError(UsageError):
    """Some rows of a jobs file cannot be meant; `problems` are all of them."""

    default_hint = "the lines above say what to do about each"

    def __init__(self, path: Path, problems: Iterable[Problem]) -> None:
        self.problems = merged(problems)
        count = len(self.problems)
        super().__init__(f"{path}: {count} {'problem' if count == 1 else 'problems'}; nothing was started")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a jobs file. `values` are by key, what was left empty is absent; `where` names the row in messages.

    `defaults` are the names of the keys that the row has from the table of defaults.
    """

    where: str
    values: Mapping[str, Any]
    defaults: frozenset[str] = field(default_factory=frozenset)


def read_rows(path: Path) -> tuple[list[Row], list[Problem]]:
    """The rows of a jobs file, and what is wrong with its keys.

    Raises InputError for a file that cannot be read, UsageError for one that is not what its suffix says.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: the suffix of a jobs file is one of {', '.join(SUFFIXES)}", _FORMAT_HINT)
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path}: cannot be read: {reason}", _FORMAT_HINT) from error
    problems: list[Problem] = []
    read = {".toml": _toml, ".csv": _csv, ".jsonl": _json_lines}[path.suffix.lower()]
    rows = [row for row in read(path, text, problems) if not _refuse_unknown(row, problems)]
    if not rows and not problems:
        raise UsageError(f"{path}: there is no job in it", _FORMAT_HINT)
    return rows, problems


def keys_of(command: str) -> tuple[str, ...]:
    """Every key that a row for a command may have: its own, and the options of its settings without the dashes."""
    return (*_OWN_KEYS[command], *settings_of(command))


def settings_of(command: str) -> Mapping[str, Declaration]:
    """The settings that a command takes in a jobs file, by key. How a batch talks is no matter of its jobs."""
    return {key_of(item): item for item in declarations_in(COMMAND_SETTINGS[command]) if item.group != "talk"}


def key_of(declaration: Declaration) -> str:
    """`min-face` for --min-face."""
    return declaration.flag.option.removeprefix("--")


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known name, or all of them."""
    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"


def _toml(path: Path, text: str, problems: list[Problem]) -> Iterator[Row]:
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: not TOML: {error}", _FORMAT_HINT) from error
    for name in content:
        if name not in ("defaults", "job"):
            problems.append(Problem(str(path), f"unknown table {name!r}", nearest(name, ("defaults", "job"))))
    defaults, jobs = content.get("defaults", {}), content.get("job", [])
    if not isinstance(defaults, dict) or not (isinstance(jobs, list) and all(isinstance(job, dict) for job in jobs)):
        raise UsageError(f"{path}: the defaults stand in [defaults], each job in a [[job]]", _FORMAT_HINT)
    defaults = _plain(defaults)
    _refuse_unknown(Row(f"{path}, [defaults]", defaults), problems)
    defaults = {key: value for key, value in defaults.items() if not _why_unknown(key)}
    for number, job in enumerate(jobs, start=1):
        own = _plain(job)
        apply = {key: value for key, value in defaults.items() if not _replaced(key, own)}
        yield Row(f"{path}, job {number}", {**apply, **own}, frozenset(apply.keys() - own.keys()))


def _replaced(key: str, own: Mapping[str, Any]) -> bool:
    """Whether a job says otherwise what a default says: who, or what moves."""
    same = (("source", "sources", "map"), ("target", "driving", "canvas"))
    return any(key in names and own.keys() & set(names) for names in same)


def _csv(path: Path, text: str, problems: list[Problem]) -> Iterator[Row]:
    lines = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        header = [_key(cell) for cell in next(lines, [])]
        where = f"{path}, line 1"
        unknown = {name: why for name in header if (why := _why_unknown(name))}
        problems += [Problem(where, *why) for why in unknown.values()]
        problems += [Problem(where, f"column {name!r} stands there twice", "name each column once")
                     for name in sorted({name for name in header if header.count(name) > 1})]  # fmt: skip
        for cells in lines:
            where = f"{path}, line {lines.line_num}"
            if len(cells) > len(header):
                problems.append(Problem(where, f"{len(cells)} cells under {len(header)} columns",
                                        'put a cell that holds a comma into quotes: "a,b"'))  # fmt: skip
            elif any(cell.strip() for cell in cells):
                named = {name: _cell(name, cell.strip()) for name, cell in zip(header, cells, strict=False)}
                yield Row(where, {name: value for name, value in named.items() if value and name not in unknown})
    except csv.Error as error:
        raise UsageError(f"{path}, line {lines.line_num}: not CSV: {error}", _FORMAT_HINT) from error


def _cell(key: str, text: str) -> str | list[str]:
    """A cell that may name several files or values has semicolons between them."""
    many = {"source", "sources", *MOVING.values()} | {key_of(d) for d in declarations() if d.flag.repeatable}
    parts = [part.strip() for part in text.split(_LIST_SEPARATOR) if part.strip()]
    return parts if key in many and len(parts) > 1 else text


def _json_lines(path: Path, text: str, problems: list[Problem]) -> Iterator[Row]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.append(Problem(where, f"not JSON: {error}", "write one object a line"))
            continue
        if isinstance(value, dict):
            yield Row(where, _plain(value))
        else:
            problems.append(Problem(where, "not an object", 'write one object a line: {"target": "clip.mp4", ...}'))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keys as options are spelled; what is null or empty was not given."""
    return {_key(key): value for key, value in values.items() if value not in (None, "", [])}


def _key(text: str) -> str:
    return text.strip().replace("_", "-")


def _refuse_unknown(row: Row, problems: list[Problem]) -> bool:
    """Add a problem for each unknown key of a row; whether there was one."""
    found = [Problem(row.where, *why) for key in row.values if key not in row.defaults and (why := _why_unknown(key))]
    problems += found
    return bool(found)


def _why_unknown(key: str) -> tuple[str, str] | None:
    """Message and hint for a key that no command takes here."""
    if key in _PERSONAL:
        return f"{key!r} is not taken from jobs files", "write it into your own configuration: see `facex doctor`"
    if key in {key_of(item) for item in declarations_in(["talk"])}:
        return f"{key!r} is no matter of one job", f"give --{key} to `facex batch`"
    known = dict.fromkeys(name for command in COMMAND_SETTINGS for name in keys_of(command))
    return None if key in known else (f"unknown key {key!r}", nearest(key, known))


def merged(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems in order, those that several rows share told once."""
    places: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        places.setdefault((problem.message, problem.hint), []).append(problem.where)
    return tuple(Problem(_together(where), *told) for told, where in places.items())


def _together(places: list[str]) -> str:
    unique = list(dict.fromkeys(places))
    return unique[0] if len(unique) == 1 else f"{unique[0]} and {len(unique) - 1} more"

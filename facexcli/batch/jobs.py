"""From the rows of a jobs file to jobs: wildcards, products of sources and targets, names of outputs, plans.

    [defaults]
    source = "people/*.jpg"
    preset = "quality"

    [[job]]
    target = ["clips/*.mp4", "more/a.mov"]
    output = "out/{source}/{target}.mp4"

A row is a job for each of its sources with each of its targets, sources outermost; what a wildcard finds is sorted by
name. `source` has one person in each file or folder, `sources` are the stills of one person together. Relative paths
begin where the jobs file lies.
"""

from __future__ import annotations

import glob
import os
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from facexcli.batch.job import Job, PlannedJob
from facexcli.batch.jobfile import MOVING, TAKE_KEYS, JobsError, Problem, keys_of, nearest, read_rows, settings_of
from facexcli.batch.outputs import collisions, expand_name, make_folder
from facexcli.config import resolve
from facexcli.errors import FacexError, UsageError
from facexcli.media.image import IMAGE_SUFFIXES
from facexcli.media.picture_files import output_path
from facexcli.media.pipe import STANDARD
from facexcli.recipes import PROVIDERS
from facexcli.settings import COMMAND_SETTINGS, parse_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from facexcli.batch.jobfile import Row
    from facexcli.pipeline.plan import Task
    from facexcli.settings import Settings

_WILDCARDS = frozenset("*?[")


def read_jobs(path: Path) -> list[Job]:
    """The jobs of a file. Raises JobsError with everything that is wrong with them, else as `read_rows` does."""
    rows, problems = read_rows(path)
    jobs: list[Job] = []
    for row in rows:
        try:
            jobs += _jobs_of(row, path.parent, len(jobs) + 1)
        except _RowError as error:
            problems += error.problems
    problems += collisions(jobs)
    if problems:
        raise JobsError(path, problems)
    return jobs


@contextmanager
def planned(path: Path) -> Iterator[list[PlannedJob]]:
    """The jobs of a file with their plans, all of which can be made. Raises JobsError with everything that is wrong.

    Folders for the outputs are made, and those that are still empty at the end removed.
    """
    jobs = read_jobs(path)
    made: list[Path] = []
    try:
        problems, found = [], []
        for job in jobs:
            try:
                made += make_folder(job.output)
                found.append(PlannedJob(job, job.plan()))
            except FacexError as error:
                problems.append(Problem.of(job.where, error))
        if problems:
            raise JobsError(path, problems)
        yield found
    finally:
        for folder in reversed(made):
            with suppress(OSError):  # there is something in it
                folder.rmdir()


class _RowError(Exception):
    """A row that cannot be meant."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        super().__init__()
        self.problems = tuple(problems)


def _jobs_of(row: Row, folder: Path, first: int) -> list[Job]:
    command = str(row.values.get("command", "swap"))
    if command not in COMMAND_SETTINGS:
        raise _RowError([Problem(row.where, f"unknown command {command!r}", nearest(command, COMMAND_SETTINGS))])
    problems: list[Problem] = []

    def attempt(function: Any, *values: Any) -> Any:
        try:
            return function(*values)
        except FacexError as error:
            problems.append(Problem.of(row.where, error))

    attempt(_check_keys, row, command)
    settings = _settings(row, command, folder, problems)
    sources = attempt(_sources, row, command, folder)
    moving = attempt(_moving, row, command, folder)
    template = attempt(_output_template, row)
    mask = attempt(_mask, row, command, folder)
    loop = attempt(_loop, row, command)
    if problems:
        raise _RowError(problems)
    assert settings is not None
    jobs = []
    for number, (stills, target) in enumerate(product(sources, moving), start=first):
        name = attempt(expand_name, template, stills[0] if stills else None, target, number)
        if name is not None:
            output = output_path(os.path.join(folder, name))
            jobs.append(Job(number, row.where, cast("Task", command), stills, target, output, settings, mask, loop))
    if problems:
        raise _RowError(problems)
    return jobs


def _check_keys(row: Row, command: str) -> None:
    """Raises UsageError for a key that another command has. A default that the command does not have is not for it."""
    for key in row.values.keys() - set(keys_of(command)) - row.defaults:
        raise UsageError(f"{command!r} has no {key!r}", f"`facex {command} --help` says what it has")


def _settings(row: Row, command: str, folder: Path, problems: list[Problem]) -> Settings | None:
    """Every wrong value is a problem of its own."""
    known = settings_of(command)
    flags = {known[key].parameter: value for key, value in row.values.items() if key in known}
    try:
        if command == "edit" and (taken := _taken(row)):
            flags["take"] = [*_texts(flags.get("take", [])), *taken]
    except UsageError as error:
        problems.append(Problem.of(row.where, error))
    for name, place in (("map", _map_in), ("take", _take_in)):
        if name in flags:
            flags[name] = [place(str(text), folder) for text in _texts(flags[name])]
    preset = row.values.get("preset")
    if preset is not None and (Path(str(preset)).suffix or Path(str(preset)).name != preset):
        preset = str(folder / str(preset))
    before = len(problems)
    layers: list[tuple[dict[str, object], str | None]] = [({}, preset), *(({key: flags[key]}, None) for key in flags)]
    for part, own_preset in layers:
        try:
            resolve(part, own_preset, folder=folder)
        except FacexError as error:
            problems.append(Problem.of(row.where, error))
    return None if len(problems) > before else resolve(flags, preset, folder=folder)


def _taken(row: Row) -> list[str]:
    """What an edit takes by the keys that are short for `take`. Raises UsageError."""
    return [f"{key}={_one_path(row, key)}" for key in TAKE_KEYS if key in row.values]


def _mask(row: Row, command: str, folder: Path) -> Path | None:
    return folder / _one_path(row, "inpaint") if command == "edit" and "inpaint" in row.values else None


def _loop(row: Row, command: str) -> bool:
    """Raises UsageError for what is neither true nor false, as TOML and JSON or as a cell of CSV have it."""
    value = row.values.get("loop", False) if command == "edit" else False
    known = {"true": True, "false": False}.get(str(value).lower())
    if known is None:
        raise UsageError(f"loop = {value!r}: is neither true nor false", "true lets shorter videos begin again")
    return known


def _one_path(row: Row, key: str) -> str:
    """Raises UsageError for a value that is not the path of one file."""
    value = row.values[key]
    if not isinstance(value, str) or value == str(STANDARD):
        raise UsageError(f"{key} = {value!r} is not a path", "name one file")
    return value


def _map_in(text: str, folder: Path) -> str:
    """SOURCE=WHO with the paths in it where they are; what is no such pair stays, to be refused as an option would."""
    try:
        source, who = parse_map(text)
    except ValueError:
        return text
    is_still = (folder / who).is_file() or Path(who).name != who or Path(who).suffix.lower() in IMAGE_SUFFIXES
    return f"{folder / source}={folder / who if is_still else who}"


def _take_in(text: str, folder: Path) -> str:
    """ATTR=FROM with the path in it where it is."""
    attribute, separator, origin = text.partition("=")
    return f"{attribute}={folder / origin}" if separator and origin and origin not in PROVIDERS else text


def _sources(row: Row, command: str, folder: Path) -> list[tuple[Path, ...]]:
    """The stills of each person; an edit has one, in its canvas."""
    if command == "edit":
        return [()]
    one, together = row.values.get("source"), row.values.get("sources")
    if one is not None and together is not None:
        raise UsageError("both 'source' and 'sources'", "source: one person a file; sources: stills of one person")
    if together is not None:
        return [tuple(_found(together, folder, "sources"))]
    if one is not None:
        return [(path,) for path in _found(one, folder, "source")]
    if command == "swap" and "map" in row.values:
        return [()]
    raise UsageError("missing 'source'", "name a still, a folder with stills of one person, or a wildcard")


def _moving(row: Row, command: str, folder: Path) -> list[Path]:
    key = MOVING[command]
    if key not in row.values:
        raise UsageError(f"missing {key!r}", f"name what `facex {command}` takes, or a wildcard")
    return _found(row.values[key], folder, key)


def _texts(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [value]


def _found(value: object, folder: Path, key: str) -> list[Path]:
    """The files that a value names, in order; each wildcard's by name. Raises UsageError for one that finds nothing."""
    paths: list[Path] = []
    for text in _texts(value):
        if not isinstance(text, str) or text == str(STANDARD):
            raise UsageError(f"{key} = {text!r} is not a path", "a batch reads files")
        path = folder / text
        if not _WILDCARDS & set(text) or path.exists():
            paths.append(path)
            continue
        found = sorted(glob.glob(text, root_dir=folder, recursive=True))
        if not found:
            raise UsageError(f"{key}: {path} finds no file", "look at the wildcard and its folder")
        paths += [folder / name for name in found]
    return list(dict.fromkeys(paths))


def _output_template(row: Row) -> str:
    template = row.values.get("output")
    if template is None:
        raise UsageError("missing 'output'", 'for example output = "out/{source}-{target}.mp4"')
    if not isinstance(template, str) or template == str(STANDARD):
        raise UsageError(f"output = {template!r} is not a path", "a batch writes files")
    return template

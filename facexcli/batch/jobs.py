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
import string
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from facexcli.batch.jobfile import MOTION_KEYS, MOVING, JobsError, Problem, keys_of, nearest, read_rows, settings_of
from facexcli.config import resolve
from facexcli.errors import FacexError, OutputError, UsageError
from facexcli.media.image import IMAGE_SUFFIXES
from facexcli.media.picture_files import PicturePattern, output_path
from facexcli.media.pipe import STANDARD
from facexcli.pipeline.planning import plan_edit, plan_head_swap, plan_reenact, plan_swap
from facexcli.recipes import PROVIDERS
from facexcli.settings import COMMAND_SETTINGS, parse_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from facexcli.batch.jobfile import Row
    from facexcli.pipeline.plan import Plan, Task
    from facexcli.settings import Settings

_FIELDS = ("source", "target", "driving", "canvas", "index")
_WILDCARDS = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a batch.

    Attributes:
        number: from 1, in the order of the file and of the products in it.
        where: the row that it comes from.
        command: what is done.
        sources: the stills of the person; the portrait of a reenactment; none where the settings map people, and for an
            edit.
        moving: what gives the frames: the target of a swap, the driving video of a reenactment, the canvas of an edit.
        output: where the result goes.
        settings: those of the command.
        mask: where an edit makes the canvas anew.
    """

    number: int
    where: str
    command: Task
    sources: tuple[Path, ...]
    moving: Path
    output: Path
    settings: Settings
    mask: Path | None = None

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Every file and folder that the job reads."""
        people, mapped = self.settings.people, []
        for text in people.map:
            source, who = parse_map(text)
            mapped += [source, who] if Path(who).is_file() else [source]
        queries = [text.partition("=")[2] for text in self.settings.recipe.take]
        others = [*mapped, *(name for name in queries if name not in PROVIDERS)]
        weights = self.settings.engine.weights
        own = weights if weights is not None and weights.exists() else None  # else it is a name of pulled ones
        named = (people.match, people.analysis, own, self.settings.recipe.file, self.mask)
        return (*self.sources, self.moving, *map(Path, others), *(path for path in named if path is not None))

    def plan(self) -> Plan:
        """Raises what the functions of `pipeline.plan` raise."""
        match self.command:
            case "swap":
                return plan_swap(self.sources, self.moving, self.output, self.settings)
            case "head-swap":
                return plan_head_swap(self.sources, self.moving, self.output, self.settings)
            case "reenact":
                return plan_reenact(self.sources[0], self.moving, self.output, self.settings)
            case "edit":
                return plan_edit(self.moving, self.output, self.settings, self.mask)


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job and what it will do."""

    job: Job
    plan: Plan


def read_jobs(path: Path) -> list[Job]:
    """The jobs of a file. Raises JobsError with everything that is wrong with them, else as `read_rows` does."""
    rows, problems = read_rows(path)
    jobs: list[Job] = []
    for row in rows:
        try:
            jobs += _jobs_of(row, path.parent, len(jobs) + 1)
        except _RowError as error:
            problems += error.problems
    problems += _collisions(jobs)
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
                made += _make_folder(job.output)
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
    mask = folder / str(row.values["inpaint"]) if "inpaint" in row.values else None
    if problems:
        raise _RowError(problems)
    assert settings is not None
    jobs = []
    for number, (stills, target) in enumerate(product(sources, moving), start=first):
        name = attempt(expand_name, template, stills[0] if stills else None, target, number)
        if name is not None:
            output = output_path(os.path.join(folder, name))
            jobs.append(Job(number, row.where, cast("Task", command), stills, target, output, settings, mask))
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
    if command == "edit" and (motion := [f"{key}={row.values[key]}" for key in MOTION_KEYS if key in row.values]):
        flags["take"] = [*_texts(flags.get("take", [])), *motion]
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


def expand_name(template: str, source: Path | None, moving: Path, index: int) -> str:
    """The output's name: `{source}` and `{target}`, `{driving}` or `{canvas}` are names without suffix.

    `{index}` is the job's number, `{index:04d}` has four digits, `{{` is a brace. Raises UsageError for other fields,
    and for a name that would lead into another folder.
    """
    values: dict[str, str | int | None] = {
        "source": _stem(source) if source is not None else None,
        "target": _stem(moving),
        "driving": _stem(moving),
        "canvas": _stem(moving),
        "index": index,
    }
    try:
        pieces = list(string.Formatter().parse(template))
        for _, name, spec, conversion in pieces:
            _check_field(template, name, spec or "", conversion, values)
        name = template.format_map(values)
    except ValueError as error:
        raise UsageError(f"output = {template!r}: {error}", "{source}, {target} and {index:04d} are replaced") from None
    _check_stays(template, name, values)
    return name


def _check_field(
    template: str, name: str | None, spec: str, conversion: str | None, values: Mapping[str, str | int | None]
) -> None:
    if name is None:
        return
    if name not in _FIELDS:
        raise UsageError(f"output = {template!r}: unknown field {{{name}}}", nearest(name, _FIELDS))
    if values[name] is None:
        raise UsageError(f"output = {template!r}: several people have no one {{{name}}}", "use {target} and {index}")
    if conversion or (spec and (name != "index" or not spec.removesuffix("d").isdecimal())):
        raise UsageError(f"output = {template!r}: {{{name}}} takes no {conversion or spec!r}", "{index:04d} has digits")


def _stem(path: Path) -> str:
    """What a file or a folder is called, without its suffix."""
    return path.resolve().name if path.is_dir() else path.stem


def _check_stays(template: str, name: str, values: Mapping[str, str | int | None]) -> None:
    """Names of files may not lead out of the folders that the template names."""
    parts, wanted = _parts(name), _parts(template)
    climbs = [part for part, was in zip(parts, wanted, strict=False) if part != was and part.strip(". ") == ""]
    if len(parts) != len(wanted) or climbs or any("\0" in part for part in parts):
        used = ", ".join(repr(value) for key, value in values.items() if f"{{{key}" in template)
        raise UsageError(f"output = {template!r} leads elsewhere with {used}", "name the output in another way")


def _parts(name: str) -> list[str]:
    return name.replace("\\", "/").split("/")


def _collisions(jobs: Sequence[Job]) -> list[Problem]:
    """Outputs that meet each other, or inputs."""
    problems: list[Problem] = []
    first: dict[str, Job] = {}
    for job in jobs:
        other = first.setdefault(_place(job.output), job)
        if other is not job:
            problems.append(Problem(job.where, f"{job.output} is also the output of {_named(other)}",
                                    "put {source}, {target} or {index} into the name"))  # fmt: skip
    readers = {_place(path): job for job in reversed(jobs) for path in job.inputs}
    folders = {place: job for place, job in readers.items() if os.path.isdir(place)}
    for job in jobs:
        reader = _reader(job, readers, folders)
        if reader is not None:
            problems.append(Problem(job.where, f"{job.output} is, or lies in, an input of {_named(reader)}",
                                    "put results into a folder of their own"))  # fmt: skip
    return problems


def _reader(job: Job, readers: Mapping[str, Job], folders: Mapping[str, Job]) -> Job | None:
    """A job that reads what `job` writes. Outputs of a pattern are all that it stands for."""
    place = _place(job.output)
    if place in readers:
        return readers[place]
    parents = [str(parent) for parent in Path(place).parents]
    if inside := next((parent for parent in parents if parent in folders), None):
        return folders[inside]
    pattern = PicturePattern.of(job.output)
    if pattern is None:
        return None
    own = os.path.dirname(place)
    return next((reader for path, reader in readers.items()
                 if os.path.dirname(path) == own and pattern.matches(os.path.basename(path))), None)  # fmt: skip


def _place(path: Path) -> str:
    """The same text for the same place, whichever way it is written."""
    return os.path.normcase(os.path.join(os.path.realpath(path.parent), path.name) if path.name else path.resolve())


def _named(job: Job) -> str:
    return f"job {job.number} ({job.where.rpartition(', ')[2]})"


def _make_folder(output: Path) -> list[Path]:
    """Make the folder of an output; those that were missing, outermost first. Raises OutputError."""
    pattern = PicturePattern.of(output)
    folder = output.parent if pattern is None else output.parent.parent
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error
    return list(reversed(missing))

"""Where the results of a batch go: names out of templates, places that nothing else has, and their folders."""

from __future__ import annotations

import os
import string
from pathlib import Path
from typing import TYPE_CHECKING

from facexcli.batch.jobfile import Problem, nearest
from facexcli.errors import OutputError, UsageError
from facexcli.media.picture_files import PicturePattern

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facexcli.batch.job import Job

_FIELDS = ("source", "target", "driving", "canvas", "index")


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


def collisions(jobs: Sequence[Job]) -> list[Problem]:
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


def make_folder(output: Path) -> list[Path]:
    """Make the folder of an output; those that were missing, outermost first. Raises OutputError."""
    pattern = PicturePattern.of(output)
    folder = output.parent if pattern is None else output.parent.parent
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error
    return list(reversed(missing))

"""A plan is everything a run needs, as a value: JSON both ways. The same plan renders the same frames anywhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from facexcli import __version__
from facexcli.engines.registry import open_engine
from facexcli.errors import InputError, OutputError, UsageError
from facexcli.media.encoders import choose_encoder
from facexcli.media.image import IMAGE_SUFFIXES
from facexcli.media.probe import fingerprint, probe
from facexcli.media.writer import VIDEO_SUFFIXES
from facexcli.pipeline.output import canvas_format, encode_options
from facexcli.recipes import (
    ATTRIBUTES,
    Attribute,
    Provider,
    Recipe,
    parse_take,
    recipe_named,
    with_regions,
)
from facexcli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.engines.base import EngineSpec
    from facexcli.types import MediaInfo

SCHEMA_VERSION: Literal[1] = 1
Task = Literal["swap", "reenact"]


class InputFile(BaseModel):
    """A file that a run reads, and the hash of its content, so that a changed file is noticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    fingerprint: str

    @classmethod
    def of(cls, path: Path) -> InputFile:
        """Raises InputError when the file cannot be read."""
        return cls(path=path, fingerprint=fingerprint(path))

    def check(self) -> None:
        """Raises InputError when the file is gone or is no longer what the plan was made for."""
        if fingerprint(self.path) != self.fingerprint:
            raise InputError(f"{self.path} has changed since the plan was made", "make the plan again with --dry-run")


class Plan(BaseModel):
    """What is done to which files. `canvas` is what is painted on: the target of a swap, the portrait of a reenactment.

    `recipe` has a provider for each attribute; `queries` the file for each attribute whose provider is `query`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = SCHEMA_VERSION
    facex_version: str = __version__
    task: Task
    sources: tuple[InputFile, ...]
    canvas: InputFile
    driving: InputFile | None = None
    output: Path
    recipe_name: str
    recipe: dict[Attribute, Provider]
    queries: dict[Attribute, InputFile] = {}
    engine: str
    engine_reason: str = ""
    settings: Settings

    @model_validator(mode="after")
    def _is_consistent(self) -> Plan:
        """A plan that was edited by hand may contradict itself."""
        if self.recipe_name != self.task or set(self.recipe) != set(ATTRIBUTES):
            raise ValueError(f"the recipe is not a complete {self.task}")
        if {name for name, provider in self.recipe.items() if provider == "query"} != set(self.queries):
            raise ValueError("queries and the recipe's rows with 'query' do not match")
        if (self.driving is None) != (self.task == "swap") or not self.sources:
            raise ValueError(f"the files are not those of a {self.task}")
        return self

    @property
    def inputs(self) -> tuple[InputFile, ...]:
        driving = (self.driving,) if self.driving else ()
        return (*self.sources, self.canvas, *driving, *self.queries.values())

    @property
    def timeline(self) -> InputFile:
        """The file whose frames, times and sound the result has."""
        return self.driving or self.canvas

    def recipe_value(self) -> Recipe:
        return Recipe(self.recipe_name, self.recipe)

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Raises InputError for a file that cannot be read, UsageError for one that is no plan of this version."""
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise InputError(f"{path}: cannot be read: {reason}", "--plan takes a file made with --dry-run") from error
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"]) or "the file"
            raise UsageError(f"{path}: not a plan: {where}: {problem['msg']}", "make one with --dry-run") from error


def plan_swap(sources: Sequence[Path], target: Path, output: Path, settings: Settings) -> Plan:
    """Plan `facex swap`: the person of the stills into the target image or video.

    A folder among `sources` stands for the stills in it. Raises UsageError, InputError or OutputError; nothing is
    written and no face is looked for yet.
    """
    stills = expand_stills(sources)
    return _plan("swap", stills, target, None, output, settings)


def plan_reenact(source: Path, driving: Path, output: Path, settings: Settings) -> Plan:
    """Plan `facex reenact`: the portrait `source` moves like the face in `driving`. Raises as `plan_swap` does."""
    if probe(driving).kind == "image":
        raise UsageError(f"--driving {driving} is a still picture", "give a video or an animation that moves")
    return _plan("reenact", (source,), source, driving, output, settings)


def _plan(
    task: Task, sources: Sequence[Path], canvas: Path, driving: Path | None, output: Path, settings: Settings
) -> Plan:
    choice = open_engine(settings.engine.name, task)
    choice.engine.close()
    recipe, query_files = _recipe(task, settings, choice.engine.spec)
    for path in (*(sources if driving is None else ()), *query_files.values()):
        if probe(path).kind != "image":
            raise UsageError(f"{path} is not a still picture", "give a JPEG, PNG or WebP picture of the person")
    timeline = probe(driving or canvas)
    if timeline.kind != "image" and output.suffix.lower() in VIDEO_SUFFIXES:
        choose_encoder(canvas_format(probe(canvas), timeline), encode_options(settings), output.suffix.lower())
    check_output(output, timeline, [*sources, canvas, *([driving] if driving else []), *query_files.values()])
    return Plan(
        task=task,
        sources=tuple(InputFile.of(path) for path in sources),
        canvas=InputFile.of(canvas),
        driving=InputFile.of(driving) if driving else None,
        output=output,
        recipe_name=recipe.name,
        recipe=dict(recipe.rows),
        queries={attribute: InputFile.of(path) for attribute, path in query_files.items()},
        engine=choice.engine.spec.name,
        engine_reason=choice.reason,
        settings=settings,
    )


def _recipe(task: Task, settings: Settings, spec: EngineSpec) -> tuple[Recipe, dict[Attribute, Path]]:
    """The recipe with the user's changes, as far as the engine can follow them. Raises UsageError where it cannot."""
    recipe = recipe_named(task)
    able = spec.takes.get(task, ())
    if settings.recipe.regions:
        recipe = with_regions(recipe, settings.recipe.regions)
    changed, files = parse_take(recipe, settings.recipe.take)
    for attribute in ATTRIBUTES:
        if changed[attribute] != recipe_named(task)[attribute] and attribute not in able:
            raise UsageError(
                f"engine {spec.name!r} cannot take {attribute} from elsewhere in a {task}",
                f"it can take: {', '.join(able)}" if able else "leave out --take",
            )
        if attribute in able and changed[attribute] == "driving":
            raise UsageError(
                f"--take {attribute}=driving: a {task} has no driving video", "take it from source, canvas or a file"
            )
    return changed, {attribute: Path(name) for attribute, name in files.items()}


def expand_stills(sources: Sequence[Path]) -> tuple[Path, ...]:
    """The stills of a person: files as given, folders as the pictures in them, by name.

    Raises InputError for a folder without pictures, UsageError for no source at all.
    """
    stills: list[Path] = []
    for source in sources:
        if not source.is_dir():
            stills.append(source)
            continue
        found = sorted(path for path in source.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise InputError(f"{source}: no pictures in this folder", "give a folder with JPEG, PNG or WebP pictures")
        stills.extend(found)
    if not stills:
        raise UsageError("no source picture was given", "facex swap SOURCE... TARGET -o OUT")
    return tuple(stills)


def check_output(output: Path, timeline: MediaInfo, inputs: Sequence[Path]) -> None:
    """Raises OutputError where the result cannot be written, or would replace one of the inputs."""
    try:
        _check_output(output, timeline, inputs)
    except OSError as error:
        raise OutputError(f"{output}: cannot be written: {error.strerror}") from error


def _check_output(output: Path, timeline: MediaInfo, inputs: Sequence[Path]) -> None:
    known = IMAGE_SUFFIXES if timeline.kind == "image" else VIDEO_SUFFIXES
    if output.suffix.lower() not in known:
        kind = "a picture" if timeline.kind == "image" else "a video"
        raise OutputError(f"{output}: the result is {kind}, which has no {output.suffix or 'empty'} files",
                          f"use one of {', '.join(sorted(known))}")  # fmt: skip
    for path in inputs:
        if path.exists() and output.exists() and os.path.samefile(path, output):
            raise OutputError(f"{output} is also an input", "choose another name with -o")
    if not output.parent.is_dir():
        raise OutputError(f"{output}: there is no folder {output.parent}", "make the folder first")
    if output.is_dir():
        raise OutputError(f"{output} is a folder", "name a file with -o")
    if not os.access(output.parent, os.W_OK):
        raise OutputError(f"{output}: the folder {output.parent} cannot be written")


def check_free(output: Path, overwrite: bool) -> None:
    """Raises OutputError when there is a file at `output` that may not be replaced."""
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists", "use --overwrite to replace it")

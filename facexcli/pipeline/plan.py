"""A plan is everything a run needs, as a value: JSON both ways. The same plan renders the same frames anywhere."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from facexcli import __version__
from facexcli.engines.registry import open_engine
from facexcli.errors import InputError, OutputError, UsageError
from facexcli.faces.select import NAMELESS, RULES
from facexcli.media.container import check_file
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
from facexcli.settings import Settings, parse_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.engines.base import EngineSpec
    from facexcli.types import MediaInfo

_MAP_HINT = "facex swap TARGET --map alice.jpg=1 --map bob.jpg=2 -o OUT; several stills of one person go into a folder"
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


class MappedPerson(BaseModel):
    """One `--map`: the stills of an identity, and who gets it, by number or name (`person`) or by a reference still."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[InputFile, ...]
    person: str = ""
    reference: InputFile | None = None

    @property
    def who(self) -> str:
        """What the user typed after the equals sign."""
        return str(self.reference.path) if self.reference else self.person

    @property
    def inputs(self) -> tuple[InputFile, ...]:
        return (*self.sources, *([self.reference] if self.reference else ()))


class Plan(BaseModel):
    """What is done to which files. `canvas` is what is painted on: the target of a swap, the portrait of a reenactment.

    A swap has `sources` for the people that the settings choose, or `maps`, sources for each person by themselves.
    `recipe` has a provider for each attribute; `queries` the file for each attribute whose provider is `query`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = SCHEMA_VERSION
    facex_version: str = __version__
    task: Task
    sources: tuple[InputFile, ...] = ()
    maps: tuple[MappedPerson, ...] = ()
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
        if (self.driving is None) != (self.task == "swap") or not (self.sources or self.maps):
            raise ValueError(f"the files are not those of a {self.task}")
        _check_maps(self)
        return self

    @property
    def inputs(self) -> tuple[InputFile, ...]:
        driving = (self.driving,) if self.driving else ()
        mapped = (item for row in self.maps for item in row.inputs)
        return (*self.sources, *mapped, self.canvas, *driving, *self.queries.values())

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

    A folder among `sources` stands for the stills in it. Where the settings map sources to people, there are no others.
    Raises UsageError, InputError or OutputError; nothing is written and no face is looked for yet.
    """
    if not settings.people.map:
        stills = expand_stills(sources)
        return _plan("swap", stills, target, None, output, settings)
    if sources:
        raise UsageError(f"--map says which faces there are: {sources[0]} is one too many",
                         "facex swap TARGET --map SOURCE=WHO --map SOURCE=WHO -o OUT")  # fmt: skip
    rows = [Mapped.parse(text) for text in settings.people.map]
    return plan_mapped_swap(rows, target, output, settings)


def plan_mapped_swap(rows: Sequence[Mapped], target: Path, output: Path, settings: Settings) -> Plan:
    """Plan a swap of several people at once. `settings.people.map` is not looked at. Raises as `plan_swap` does."""
    settings = settings.model_copy(update={"people": settings.people.model_copy(update={"map": ()})})
    maps = []
    for row in rows:
        stills = expand_stills(row.sources)
        for path in (*stills, *([row.who] if isinstance(row.who, Path) else ())):
            _check_still(path)
        files = tuple(InputFile.of(path) for path in stills)
        if isinstance(row.who, Path):
            maps.append(MappedPerson(sources=files, reference=InputFile.of(row.who)))
        else:
            maps.append(MappedPerson(sources=files, person=row.who))
    try:
        return _plan("swap", (), target, None, output, settings, tuple(maps))
    except ValidationError as error:
        raise UsageError(error.errors()[0]["msg"].removeprefix("Value error, "), _MAP_HINT) from error


@dataclass(frozen=True, slots=True)
class Mapped:
    """The stills of an identity, and who gets it: a number or a name as text, or a reference still as Path."""

    sources: tuple[Path, ...]
    who: str | Path

    @classmethod
    def parse(cls, text: str) -> Mapped:
        """SOURCE=WHO as it is typed. WHO is a still where there is such a file. Raises InputError."""
        source, who = parse_map(text)
        path = Path(who)
        if path.is_file() or path.name != who or path.suffix.lower() in IMAGE_SUFFIXES:
            check_file(path)
            return cls((Path(source),), path)
        return cls((Path(source),), who)


def plan_reenact(source: Path, driving: Path, output: Path, settings: Settings) -> Plan:
    """Plan `facex reenact`: the portrait `source` moves like the face in `driving`. Raises as `plan_swap` does."""
    if settings.people.map:
        raise UsageError("--map is for `facex swap`: a portrait has one face", "choose with --faces or --match")
    if probe(driving).kind == "image":
        raise UsageError(f"--driving {driving} is a still picture", "give a video or an animation that moves")
    return _plan("reenact", (source,), source, driving, output, settings)


def _plan(
    task: Task,
    sources: Sequence[Path],
    canvas: Path,
    driving: Path | None,
    output: Path,
    settings: Settings,
    maps: tuple[MappedPerson, ...] = (),
) -> Plan:
    choice = open_engine(settings.engine.name, task)
    choice.engine.close()
    recipe, query_files = _recipe(task, settings, choice.engine.spec)
    for path in (*(sources if driving is None else ()), *query_files.values()):
        _check_still(path)
    _check_names(settings, maps)
    timeline = probe(driving or canvas)
    if timeline.kind != "image" and output.suffix.lower() in VIDEO_SUFFIXES:
        choose_encoder(canvas_format(probe(canvas), timeline), encode_options(settings), output.suffix.lower())
    mapped = [item.path for row in maps for item in row.inputs]
    inputs = [*sources, *mapped, canvas, *([driving] if driving else []), *query_files.values()]
    check_output(output, timeline, inputs)
    return Plan(
        task=task,
        sources=tuple(InputFile.of(path) for path in sources),
        maps=maps,
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


def _check_still(path: Path) -> None:
    if probe(path).kind != "image":
        raise UsageError(f"{path} is not a still picture", "give a JPEG, PNG or WebP picture of the person")


def _check_names(settings: Settings, maps: Sequence[MappedPerson]) -> None:
    """Only a saved analysis has names of the user's own: elsewhere a wrong one need not wait for the analysis."""
    if settings.people.analysis is not None:
        return
    asked = [] if settings.people.faces in RULES else settings.people.faces.split(",")
    for name in [*asked, *(row.person for row in maps if row.person)]:
        wanted = name.strip().casefold()
        if not re.fullmatch(rf"({NAMELESS})?[1-9]\d*", wanted, re.ASCII):
            near = get_close_matches(wanted, RULES, n=1, cutoff=0.7)
            raise UsageError(
                f"{name.strip()!r} is not the number of a person, and without --analysis nobody has a name",
                f"did you mean {near[0]!r}?" if near else "`facex faces` shows numbers; --analysis FILE knows names",
            )


def _check_maps(plan: Plan) -> None:
    """Raises ValueError where the maps contradict the plan or each other."""
    people = plan.settings.people
    if people.map:
        raise ValueError("a plan's maps stand in `maps`, not in its settings")
    if not plan.maps:
        return
    if plan.sources or plan.task != "swap":
        raise ValueError("--map says which faces there are, and only for a swap")
    if people.faces != "largest" or people.match is not None:
        raise ValueError(f"--map says whose faces: leave out {'--match' if people.match else '--faces'}")
    seen: dict[str, MappedPerson] = {}
    for row in plan.maps:
        if not row.sources or bool(row.person.strip()) == (row.reference is not None):
            raise ValueError("each map has sources, and one of person and reference")
        key = row.reference.fingerprint if row.reference else _person_key(row.person)
        if key in seen:
            raise ValueError(f"--map gives two faces to {row.who}")
        seen[key] = row


def _person_key(who: str) -> str:
    """The same for 1 and "person 1"; anything else that is one person only shows when the people are known."""
    return who.strip().casefold().removeprefix(NAMELESS)


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

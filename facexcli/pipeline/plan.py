"""A plan is everything a run needs, as a value: JSON both ways. The same plan renders the same frames anywhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from facexcli import __version__
from facexcli.engines.base import EngineOptions
from facexcli.engines.registry import engines_that_take, open_engine
from facexcli.errors import InputError, UsageError
from facexcli.media.encoders import CONTAINERS, choose_encoder
from facexcli.media.image import IMAGE_SUFFIXES
from facexcli.media.pipe import container_suffix
from facexcli.media.probe import probe
from facexcli.pipeline.destination import check_output
from facexcli.pipeline.formats import canvas_format, encode_options, probe_target
from facexcli.pipeline.inputs import InputFile, Mapped, MappedPerson, check_maps, check_names, weight_files
from facexcli.provenance.run_id import run_id_of
from facexcli.recipes import (
    ATTRIBUTES,
    MOTION,
    Attribute,
    Provider,
    Recipe,
    parse_take,
    read_recipe,
    recipe_named,
    with_regions,
)
from facexcli.settings import Settings
from facexcli.weights.named import named_place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facexcli.engines.base import EngineSpec
    from facexcli.settings import ProvenanceSettings

_MAP_HINT = "facex swap TARGET --map alice.jpg=1 --map bob.jpg=2 -o OUT; several stills of one person go into a folder"
SCHEMA_VERSION: Literal[1] = 1
Task = Literal["swap", "head-swap", "reenact", "edit"]
_RECIPE_NAMES: dict[str, tuple[str, ...]] = {
    "swap": ("swap",), "head-swap": ("head-swap",), "reenact": ("reenact", "animate"), "edit": ("edit", "inpaint"),
}  # fmt: skip
_NOT_SEEN: Any = {
    "output": True,
    "engine_reason": True,
    # Weights and what a recipe takes stand beside the settings, with their contents instead of their places.
    "settings": {
        "talk": True,
        "compute": True,
        "provenance": {"thumbnails"},  # whether there is a watermark is seen, if only by a program
        "recipe": True,
        "engine": {"weights", "unet"},
    },
}


class Plan(BaseModel):
    """What is done to which files. `canvas` is what is painted on: the target of a swap, the portrait of a reenactment.

    A swap has `sources` for the people that the settings choose, or `maps`, sources for each person by themselves.
    `recipe` has a provider for each attribute; `queries` the file for each attribute whose provider is `query`. An edit
    has no sources: its canvas is the person's own; `mask` shows, in white, where it is painted anew. Of an edit with
    videos the result ends with the shortest, or with `loop` the others begin again until the first of them ends: the
    canvas, or where that is a still, the first video among `queries`. `weights` are the user's own files behind the
    engine.
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
    mask: InputFile | None = None
    loop: bool = False
    weights: tuple[InputFile, ...] = ()
    engine: str
    engine_reason: str = ""
    settings: Settings

    @model_validator(mode="after")
    def _is_consistent(self) -> Plan:
        """A plan that was edited by hand may contradict itself."""
        if self.recipe_name not in _RECIPE_NAMES[self.task] or set(self.recipe) != set(ATTRIBUTES):
            raise ValueError(f"the recipe is not a complete {self.task}")
        if {name for name, provider in self.recipe.items() if provider == "query"} != set(self.queries):
            raise ValueError("queries and the recipe's rows with 'query' do not match")
        if (self.driving is not None) != (self.task == "reenact"):
            raise ValueError(f"the files are not those of a {self.task}")
        if bool(self.sources or self.maps) == (self.task == "edit") or (self.mask and self.recipe_name != "inpaint"):
            raise ValueError(f"the files are not those of a {self.task}")
        if self.settings.people.map:
            raise ValueError("a plan's maps stand in `maps`, not in its settings")
        if self.maps:
            if self.sources or self.task != "swap":
                raise ValueError("--map gives the sources, and only those of a swap")
            check_maps(self.maps, self.settings.people)
        return self

    @property
    def inputs(self) -> tuple[InputFile, ...]:
        driving = (self.driving,) if self.driving else ()
        mapped = (item for row in self.maps for item in row.inputs)
        mask = (self.mask,) if self.mask else ()
        return (*self.sources, *mapped, self.canvas, *driving, *self.queries.values(), *mask)

    @property
    def timeline(self) -> InputFile:
        """The file whose frames, times and sound the result has: a still canvas is moved by the first video."""
        if self.driving is not None:
            return self.driving
        if not self.queries or probe(self.canvas.path).kind != "image":
            return self.canvas
        videos = (item for item in self.queries.values() if probe(item.path).kind != "image")
        return next(videos, self.canvas)

    @property
    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, of all that has a say in what is seen: contents, recipe, engine and settings.

        Where the files lie, how the run talks, and who signs are left out: the same picture has the same fingerprint.
        """
        content = self.model_dump(mode="json", exclude=_NOT_SEEN)
        text = json.dumps(_without_paths(content), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def weight_hashes(self) -> dict[str, str]:
        """SHA-256, hexadecimal, of the user's own weights, by the names of their files."""
        return {item.path.name: item.fingerprint.partition("-")[2] for item in self.weights}

    @property
    def run_id(self) -> int:
        """32 bits that name the run in its manifest and in its watermark."""
        return run_id_of(self.fingerprint)

    def signed_as(self, identity: ProvenanceSettings) -> Plan:
        """The plan with somebody's certificate: one that was saved does not say who signs."""
        own = {name: getattr(identity, name) for name in ("cert", "key", "signer", "timestamp", "watermark_key")}
        provenance = self.settings.provenance.model_copy(update=own)
        return self.model_copy(update={"settings": self.settings.model_copy(update={"provenance": provenance})})

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


def _without_paths(value: Any) -> Any:
    """JSON without the places of files, whose fingerprints stand beside them."""
    if isinstance(value, dict):
        is_file = "fingerprint" in value
        return {key: _without_paths(part) for key, part in value.items() if not (is_file and key == "path")}
    return [_without_paths(part) for part in value] if isinstance(value, list) else value


def plan_swap(sources: Sequence[Path], target: Path, output: Path, settings: Settings) -> Plan:
    """Plan `facex swap`: the person of the stills into the target image or video.

    A folder among `sources` stands for the stills in it. Where the settings map sources to people, there are no others.
    Raises UsageError, InputError or OutputError; nothing is written and no face is looked for yet.
    """
    if not settings.people.map:
        stills = expand_stills(sources)
        return _plan("swap", stills, target, None, output, settings)
    if sources:
        raise UsageError(f"--map gives the sources: leave out {sources[0]}",
                         "facex swap TARGET --map SOURCE=WHO --map SOURCE=WHO -o OUT")  # fmt: skip
    rows = [Mapped.parse(text) for text in settings.people.map]
    return plan_mapped_swap(rows, target, output, settings)


def plan_head_swap(sources: Sequence[Path], target: Path, output: Path, settings: Settings) -> Plan:
    """Plan `facex head-swap`: hair, ears and shape of the head too. Raises as `plan_swap` does."""
    if settings.people.map:
        raise UsageError("--map is for `facex swap`", "choose with --faces or --match")
    stills = expand_stills(sources)
    for path in stills:
        _check_still(path)
    probe_target(target, settings)  # what can be seen now is said before an engine asks for its weights
    return _plan("head-swap", stills, target, None, output, settings)


def plan_edit(canvas: Path, output: Path, settings: Settings, mask: Path | None = None, *, loop: bool = False) -> Plan:
    """Plan `facex edit`: attributes of the person in `canvas` are taken from other files, by `--take` and `--recipe`.

    Args:
        canvas: an image or a video.
        mask: a picture of the canvas's size, white where new content is asked for.
        loop: of several videos, let the shorter ones begin again.

    Raises as `plan_swap` does; UsageError where nothing is to be changed.
    """
    if settings.people.map:
        raise UsageError("--map is for `facex swap`", "choose with --faces or --match")
    if settings.recipe.regions:
        raise UsageError("--regions is what a swap takes from its source", "take regions from files with --take")
    info = probe_target(canvas, settings)
    if mask is not None:
        shown = probe(mask)
        sides = (shown.display_width_px, shown.display_height_px)
        wanted = (info.display_width_px, info.display_height_px)
        if shown.kind != "image" or sides != wanted:
            raise UsageError(
                f"{mask}: a mask is a picture of the canvas's size, {wanted[0]} x {wanted[1]}",
                "paint it white where the canvas is to be made anew, and black elsewhere",
            )
    return _plan("edit", (), canvas, None, output, settings, mask=mask, loop=loop)


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


def plan_reenact(source: Path, driving: Path, output: Path, settings: Settings) -> Plan:
    """Plan `facex reenact`: the portrait `source` moves like the face in `driving`. Raises as `plan_swap` does."""
    if settings.people.map:
        raise UsageError("--map is for `facex swap`: a portrait has one face", "choose with --faces or --match")
    if probe(driving).kind == "image":
        raise UsageError(f"--driving {driving} is a still picture", "give a video or an animation that moves")
    if settings.engine.unet is not None:
        probe(source)
    return _plan("reenact", (source,), source, driving, output, settings)


def _plan(
    task: Task,
    sources: Sequence[Path],
    canvas: Path,
    driving: Path | None,
    output: Path,
    settings: Settings,
    maps: tuple[MappedPerson, ...] = (),
    mask: Path | None = None,
    loop: bool = False,
) -> Plan:
    if settings.sampling.temporal and settings.compute.workers > 1:
        raise UsageError(
            "--temporal goes from frame to frame, and --workers begins at several", "leave one of them out"
        )
    if settings.sampling.temporal and settings.sampling.sampler == "pndm":
        raise UsageError("sampler 'pndm' cannot start from the previous frame", "use dpm++ or ddim with --temporal")
    name = "inpaint" if mask else "animate" if driving and settings.engine.unet else task
    choice = open_engine(settings.engine.name, name, EngineOptions.of(settings))
    choice.engine.close()
    if settings.engine.unet is not None and "animate" not in choice.engine.spec.recipes:
        raise UsageError(f"engine {choice.engine.spec.name!r} takes no --unet", "--engine facex does")
    recipe, query_files = _recipe(name, settings, choice.engine.spec)
    for path in sources if driving is None else ():
        _check_still(path)
    for attribute, path in query_files.items():
        _check_query(attribute, path, recipe)
    check_names(settings.people, maps)
    timeline = probe_target(driving or _moving(canvas, query_files), settings)
    if timeline.kind != "image" and container_suffix(output) in CONTAINERS:
        pictures = canvas_format(probe(canvas) if driving or timeline.path != canvas else timeline, timeline)
        choose_encoder(pictures, encode_options(settings), container_suffix(output))
    mapped = [item.path for row in maps for item in row.inputs]
    others = [path for path in (driving, mask) if path is not None]
    inputs = [*sources, *mapped, canvas, *others, *query_files.values()]
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
        mask=InputFile.of(mask) if mask else None,
        loop=loop,
        weights=weight_files(*(path and named_place(path) for path in (settings.engine.weights, settings.engine.unet))),
        engine=choice.engine.spec.name,
        engine_reason=choice.reason,
        settings=settings,
    )


def _check_still(path: Path) -> None:
    if probe(path).kind != "image":
        raise UsageError(f"{path} is not a still picture", "give a JPEG, PNG or WebP picture of the person")


def _check_query(attribute: Attribute, path: Path, recipe: Recipe) -> None:
    """Motion and light may come from a video."""
    if attribute not in (*MOTION, "lighting"):
        _check_still(path)
    elif probe(path).kind != "image" and recipe.is_driven:
        raise UsageError(f"{path} is no still, and there is a driving video already", "give a picture")


def _moving(canvas: Path, queries: Mapping[Attribute, Path]) -> Path:
    """See `Plan.timeline`."""
    if not queries or probe(canvas).kind != "image":
        return canvas
    return next((path for path in queries.values() if probe(path).kind != "image"), canvas)


def _recipe(name: str, settings: Settings, spec: EngineSpec) -> tuple[Recipe, dict[Attribute, Path]]:
    """The recipe with the user's changes, as far as the engine can follow them. Raises UsageError where it cannot."""
    recipe = recipe_named(name)
    able = spec.takes.get(name, ())
    if settings.recipe.regions:
        recipe = with_regions(recipe, settings.recipe.regions)
    changed, files = parse_take(recipe, read_recipe(settings.recipe.file) if settings.recipe.file else ())
    changed, more = parse_take(changed, settings.recipe.take)
    files |= more
    for attribute in ATTRIBUTES:
        if changed[attribute] != recipe_named(name)[attribute] and attribute not in able:
            others = ", ".join(f"--engine {other}" for other in engines_that_take(name, attribute))
            hint = f"it can take: {', '.join(able)}" if able else "leave out --take"
            raise UsageError(
                f"engine {spec.name!r} cannot take {attribute} from elsewhere in a {name}",
                f"{hint}; {attribute}: {others}" if others else hint,
            )
        if attribute in able and changed[attribute] == "driving":
            raise UsageError(
                f"--take {attribute}=driving: a {name} has no driving video", "take it from source, canvas or a file"
            )
        if changed[attribute] == "source" and name in _RECIPE_NAMES["edit"]:
            raise UsageError(f"--take {attribute}=source: an edit has no source", f"--take {attribute}=FILE")
    if name == "edit" and set(changed.rows.values()) == {"canvas"}:
        raise UsageError(
            "an edit that changes nothing",
            "say what: --take lips=other.jpg, --pose F, --expression F or --inpaint MASK",
        )
    queried = changed.provided_by("query")
    return changed, {attribute: Path(files[attribute]) for attribute in queried}


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

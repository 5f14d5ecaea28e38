"""Makes plans: what the user asks for, checked against the files, the engine and the recipe before any work is done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from facexcli.engines.base import EngineOptions
from facexcli.engines.registry import open_engine
from facexcli.errors import UsageError
from facexcli.media.encoders import CONTAINERS, choose_encoder
from facexcli.media.pipe import container_suffix
from facexcli.media.probe import probe
from facexcli.pipeline.destination import check_output
from facexcli.pipeline.formats import canvas_format, encode_options, probe_target
from facexcli.pipeline.inputs import (
    InputFile,
    Mapped,
    MappedPerson,
    check_names,
    check_still,
    expand_stills,
    weight_files,
)
from facexcli.pipeline.plan import Plan, moving_file
from facexcli.pipeline.planned_recipe import planned_recipe
from facexcli.recipes import MOTION
from facexcli.weights.named import named_place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.pipeline.plan import Task
    from facexcli.recipes import Attribute, Recipe
    from facexcli.settings import Settings
    from facexcli.types import MediaInfo

_MAP_HINT = "facex swap TARGET --map alice.jpg=1 --map bob.jpg=2 -o OUT; several stills of one person go into a folder"


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
        check_still(path)
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
        _check_mask(mask, info)
    return _plan("edit", (), canvas, None, output, settings, mask=mask, loop=loop)


def plan_mapped_swap(rows: Sequence[Mapped], target: Path, output: Path, settings: Settings) -> Plan:
    """Plan a swap of several people at once. `settings.people.map` is not looked at. Raises as `plan_swap` does."""
    settings = settings.model_copy(update={"people": settings.people.model_copy(update={"map": ()})})
    maps = []
    for row in rows:
        stills = expand_stills(row.sources)
        for path in (*stills, *([row.who] if isinstance(row.who, Path) else ())):
            check_still(path)
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
    _check_temporal(settings)
    name = "inpaint" if mask else "animate" if driving and settings.engine.unet else task
    choice = open_engine(settings.engine.name, name, EngineOptions.of(settings))
    choice.engine.close()
    if settings.engine.unet is not None and "animate" not in choice.engine.spec.recipes:
        raise UsageError(f"engine {choice.engine.spec.name!r} takes no --unet", "--engine facex does")
    recipe, query_files = planned_recipe(name, settings, choice.engine.spec)
    for path in sources if driving is None else ():
        check_still(path)
    for attribute, path in query_files.items():
        _check_query(attribute, path, recipe)
    check_names(settings.people, maps)
    timeline = probe_target(driving or moving_file(canvas, query_files.values()), settings)
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


def _check_temporal(settings: Settings) -> None:
    if settings.sampling.temporal and settings.compute.workers > 1:
        raise UsageError(
            "--temporal goes from frame to frame, and --workers begins at several", "leave one of them out"
        )
    if settings.sampling.temporal and settings.sampling.sampler == "pndm":
        raise UsageError("sampler 'pndm' cannot start from the previous frame", "use dpm++ or ddim with --temporal")


def _check_mask(mask: Path, canvas: MediaInfo) -> None:
    shown = probe(mask)
    sides = (shown.display_width_px, shown.display_height_px)
    wanted = (canvas.display_width_px, canvas.display_height_px)
    if shown.kind != "image" or sides != wanted:
        raise UsageError(
            f"{mask}: a mask is a picture of the canvas's size, {wanted[0]} x {wanted[1]}",
            "paint it white where the canvas is to be made anew, and black elsewhere",
        )


def _check_query(attribute: Attribute, path: Path, recipe: Recipe) -> None:
    """Motion and light may come from a video."""
    if attribute not in (*MOTION, "lighting"):
        check_still(path)
    elif probe(path).kind != "image" and recipe.is_driven:
        raise UsageError(f"{path} is no still, and there is a driving video already", "give a picture")

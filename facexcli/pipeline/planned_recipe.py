"""Which recipe the user's settings make, and whether an engine can follow it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from facexcli.engines.registry import engines_that_take
from facexcli.errors import UsageError
from facexcli.pipeline.plan import RECIPE_NAMES
from facexcli.recipes import ATTRIBUTES, parse_take, read_recipe, recipe_named, with_regions

if TYPE_CHECKING:
    from facexcli.engines.base import EngineSpec
    from facexcli.recipes import Attribute, Recipe
    from facexcli.settings import Settings


def planned_recipe(name: str, settings: Settings, spec: EngineSpec) -> tuple[Recipe, dict[Attribute, Path]]:
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
        if changed[attribute] == "source" and name in RECIPE_NAMES["edit"]:
            raise UsageError(f"--take {attribute}=source: an edit has no source", f"--take {attribute}=FILE")
    if name == "edit" and set(changed.rows.values()) == {"canvas"}:
        raise UsageError(
            "an edit that changes nothing",
            "say what: --take lips=other.jpg, --pose F, --expression F or --inpaint MASK",
        )
    queried = changed.provided_by("query")
    return changed, {attribute: Path(files[attribute]) for attribute in queried}

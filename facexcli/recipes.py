"""The task table: a face is a set of attributes, and a task says who provides each (FaceX, eq. 1 and fig. 4)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, cast, get_args

from facexcli.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Attribute = Literal[
    "identity", "pose", "expression", "gaze",
    "eyebrows", "eyes", "nose", "lips", "skin", "ears", "hair", "clothes", "background", "lighting",
]  # fmt: skip
Provider = Literal["canvas", "source", "driving", "query"]

ATTRIBUTES: tuple[Attribute, ...] = get_args(Attribute)
PROVIDERS: tuple[Provider, ...] = get_args(Provider)
FACE_REGIONS: tuple[Attribute, ...] = ("eyebrows", "eyes", "nose", "lips", "skin")
HEAD_REGIONS: tuple[Attribute, ...] = (*FACE_REGIONS, "ears", "hair")
MOTION: tuple[Attribute, ...] = ("pose", "expression", "gaze")


@dataclass(frozen=True)
class Recipe:
    """Who provides each attribute. `rows` has every attribute of `ATTRIBUTES`."""

    name: str
    rows: Mapping[Attribute, Provider]

    def __post_init__(self) -> None:
        missing = set(ATTRIBUTES) - set(self.rows)
        if missing:
            raise ValueError(f"recipe {self.name!r} lacks {sorted(missing)}")
        object.__setattr__(self, "rows", MappingProxyType(dict(self.rows)))

    def __getitem__(self, attribute: Attribute) -> Provider:
        return self.rows[attribute]

    def provided_by(self, provider: Provider) -> tuple[Attribute, ...]:
        """The attributes that `provider` gives, in the order of `ATTRIBUTES`."""
        return tuple(attribute for attribute in ATTRIBUTES if self.rows[attribute] == provider)

    def with_rows(self, changes: Mapping[Attribute, Provider]) -> Recipe:
        return replace(self, rows={**self.rows, **changes})

    @property
    def moves(self) -> bool:
        """Whether pose, expression or gaze come from elsewhere, so that the face may leave its outline."""
        return any(self.rows[attribute] not in ("canvas", "source") for attribute in MOTION)

    @property
    def is_driven(self) -> bool:
        """Whether a driving video moves the canvas, which is then the source's own portrait."""
        return "driving" in self.rows.values()


def _recipe(name: str, **changes: Provider) -> Recipe:
    rows: dict[Attribute, Provider] = dict.fromkeys(ATTRIBUTES, "canvas")
    return Recipe(name, rows | cast("dict[Attribute, Provider]", changes))


_FACE_FROM_SOURCE: dict[str, Provider] = dict.fromkeys(("identity", *FACE_REGIONS), "source")

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            _recipe("swap", **_FACE_FROM_SOURCE),
            _recipe("head-swap", **_FACE_FROM_SOURCE, ears="source", hair="source"),
            _recipe("reenact", pose="driving", expression="driving", gaze="driving"),
            _recipe("animate", pose="driving", expression="driving", gaze="driving"),
            _recipe("edit"),
            _recipe("inpaint"),
        )
    }
)
"""Named recipes. In `reenact` the source portrait is the canvas, so all but the motion stays its own."""


def recipe_named(name: str) -> Recipe:
    """Raises UsageError, naming the nearest recipe, for a name that is not in `RECIPES`."""
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]


def with_regions(recipe: Recipe, regions: Iterable[str]) -> Recipe:
    """Keep only `regions` of what the source provides; the other face and head regions stay the canvas's.

    Raises UsageError for a name that is not a region, or for none at all.
    """
    chosen = _checked(regions, HEAD_REGIONS, "region")
    if not chosen:
        raise UsageError("--regions names no region", f"choose from {', '.join(HEAD_REGIONS)}")
    return recipe.with_rows({region: "source" if region in chosen else "canvas" for region in HEAD_REGIONS})


def parse_take(recipe: Recipe, takes: Iterable[str]) -> tuple[Recipe, dict[Attribute, str]]:
    """Apply `--take ATTRIBUTE=PROVIDER` or `--take ATTRIBUTE=FILE`.

    Returns the recipe, and for each attribute taken from a file (provider `query`) the file's path as typed.
    Raises UsageError for a malformed item, an unknown attribute, or one that is taken twice.
    """
    changes: dict[Attribute, Provider] = {}
    files: dict[Attribute, str] = {}
    for item in takes:
        name, separator, value = item.partition("=")
        if not separator or not value:
            raise UsageError(
                f"--take {item!r} is not ATTRIBUTE=PROVIDER",
                "for example --take lips=source or --take lips=other.jpg",
            )
        (attribute,) = _checked([name], ATTRIBUTES, "attribute")
        if attribute in changes:
            raise UsageError(f"--take names {attribute!r} twice")
        if value in PROVIDERS and value != "query":
            changes[attribute] = cast("Provider", value)
        else:
            changes[attribute] = "query"
            files[attribute] = value
    return recipe.with_rows(changes), files


def read_recipe(path: Path) -> tuple[str, ...]:
    """A file of rows, `lips = "source"` or `hair = "other.jpg"`, as `parse_take` takes them.

    Names of files are relative to the folder of the recipe. Raises UsageError for a file that is no recipe.
    """
    try:
        rows = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path}: not a recipe: {reason}", 'a recipe has lines like lips = "source"') from error
    for name, value in rows.items():
        if not isinstance(value, str) or not value:
            raise UsageError(f"{path}: {name} is not a provider", 'a recipe has lines like lips = "source"')
    return tuple(f"{name}={value if value in PROVIDERS else path.parent / value}" for name, value in rows.items())


def _checked(names: Iterable[str], known: tuple[Attribute, ...], kind: str) -> tuple[Attribute, ...]:
    names = tuple(name.strip() for name in names if name.strip())
    for name in names:
        if name not in known:
            raise unknown_name(kind, name, known)
    return cast("tuple[Attribute, ...]", names)

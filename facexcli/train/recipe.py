"""Recipes: all that decides what a training of FaceX comes to, in a TOML file, so that it can be repeated.

command line > recipe > default
"""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from facexcli.config import training_recipe_text
from facexcli.errors import UsageError
from facexcli.settings import SwapReference
from facexcli.train.augment import Augmentation
from facexcli.train.pairs import TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

FROM_SCRATCH, FINETUNE = {"task": "mixed", "lr": 1e-3, "outside": 0.1}, {"task": "generalist", "lr": 1e-5, "outside": 1}
"""Defaults by configuration. The paper weights the whole picture alike; a network that sees the canvas beside the noise
need not learn it."""


class TrainingRecipe(BaseModel):
    """What a training is. None stands for what suits the configuration (`settled`).

    config: a name, or a TOML file. network: fields of `FaceXConfig` that are other than there. drop: share of samples
    whose conditions are taken away, for guidance; 1 trains a network that is told nothing but its reference. cooldown:
    the last share of the steps, over which the learning rate falls to nothing. minutes: of a run, preparation included.
    half: weights are written in half precision. variants: by name, what others have in the place of this one's keys
    (`facex bench train`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    summary: str = ""
    config: str = "compact"
    network: dict[str, Any] = Field(default_factory=dict)
    task: str | None = None
    augment: Augmentation = "light"
    reference: SwapReference = "cut"
    views: int = Field(default=3, ge=2)
    frames: int = Field(default=4, ge=2)
    batch_size: int = Field(default=32, ge=1)
    accumulate: int = Field(default=1, ge=1)
    lr: float | None = Field(default=None, gt=0)
    outside: float | None = Field(default=None, ge=0, le=1)
    drop: float = Field(default=0.1, ge=0, le=1)
    cooldown: float = Field(default=0.0, ge=0, le=1)
    ema: float = Field(default=0.9999, ge=0, lt=1)
    steps: int = Field(default=20_000, ge=1)
    minutes: float | None = Field(default=None, ge=0)
    validate_every: int = Field(default=500, ge=1)
    half: bool = False
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0)

    @field_validator("task")
    @classmethod
    def _known_task(cls, value: str | None) -> str | None:
        if value is not None and value not in TASKS:
            raise ValueError(f"must be one of {', '.join(TASKS)}")
        return value

    def settled(self, *, embedded: bool) -> TrainingRecipe:
        """With nothing left open."""
        defaults = FROM_SCRATCH if embedded else FINETUNE
        return self.model_copy(update={name: value for name, value in defaults.items() if getattr(self, name) is None})

    @property
    def told(self) -> str:
        """What a run that goes on has to agree with, for people to read."""
        names = ("task", "augment", "reference", "seed", "batch_size")
        return ", ".join(f"--{name.replace('_', '-')} {getattr(self, name)}" for name in names)


def chosen_recipe(named: str | None, given: Mapping[str, Any]) -> TrainingRecipe:
    """A recipe by its name, or out of a TOML file, with what was `given` on the command line in its place.

    Raises UsageError for an unknown name, a file that cannot be read, and unknown keys or bad values, naming the
    nearest.
    """
    values = {} if named is None else _read(named)
    if named is not None:
        recipe_of(values, f"recipe {named}")  # what is wrong in it is wrong whatever the command line says
    return recipe_of({**values, **given}, "")


def recipe_of(values: Mapping[str, Any], origin: str) -> TrainingRecipe:
    """The recipe of a TOML table. origin: whose it is, for errors; empty for the command line. Raises UsageError."""
    try:
        return TrainingRecipe.model_validate(values)
    except ValidationError as error:
        raise _refused(error.errors()[0], origin) from None


def recipe_text(named: str) -> str:
    """The TOML of a recipe as it is written. Raises UsageError."""
    path = Path(named)
    if path.suffix != ".toml":
        return training_recipe_text(named)
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{path}: cannot be read: {reason}", "name a recipe or a TOML file") from error


def _read(named: str) -> dict[str, Any]:
    """Its values; a configuration's file is looked for beside it."""
    try:
        values = tomllib.loads(recipe_text(named))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"{named}: not TOML: {error}", "see `facex presets show train-compact` for an example"
        ) from error
    config = values.get("config")
    if isinstance(config, str) and config.endswith(".toml"):
        values["config"] = str(Path(named).parent / config)
    return values


def _refused(problem: ErrorDetails, origin: str) -> UsageError:
    key = ".".join(str(part) for part in problem["loc"])
    where = f"{origin}: " if origin else ""
    if problem["type"] == "extra_forbidden":
        near = get_close_matches(key, TrainingRecipe.model_fields, n=1, cutoff=0.5)
        known = ", ".join(TrainingRecipe.model_fields)
        return UsageError(f"{where}unknown key {key!r}", f"did you mean {near[0]!r}?" if near else f"known: {known}")
    shown = key if origin else f"--{key.replace('_', '-')}"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return UsageError(f"{where}{shown} = {problem['input']!r}: {message[:1].lower()}{message[1:]}",
                      "see `facex train facex --help`")  # fmt: skip

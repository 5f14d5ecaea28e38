"""A plan is everything a run needs, as a value: JSON both ways. The same plan renders the same frames anywhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from facexcli import __version__
from facexcli.errors import InputError, UsageError
from facexcli.media.probe import probe
from facexcli.pipeline.inputs import InputFile, MappedPerson, check_maps
from facexcli.provenance.run_id import run_id_of
from facexcli.recipes import ATTRIBUTES, Attribute, Provider, Recipe
from facexcli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from facexcli.settings import ProvenanceSettings

SCHEMA_VERSION: Literal[1] = 1
Task = Literal["swap", "head-swap", "reenact", "edit"]
RECIPE_NAMES: dict[str, tuple[str, ...]] = {
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
        if self.recipe_name not in RECIPE_NAMES[self.task] or set(self.recipe) != set(ATTRIBUTES):
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
        path = moving_file(self.canvas.path, [item.path for item in self.queries.values()])
        return next(item for item in (self.canvas, *self.queries.values()) if item.path == path)

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


def moving_file(canvas: Path, queries: Iterable[Path]) -> Path:
    """What an edit's frames, times and sound are of: the canvas, or where that is a still, the first video among the
    queries; the canvas where nothing moves. Raises InputError for a file that cannot be read."""
    others = tuple(queries)
    if not others or probe(canvas).kind != "image":
        return canvas
    return next((path for path in others if probe(path).kind != "image"), canvas)

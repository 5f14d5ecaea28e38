"""What an engine is: a face crop and a recipe in, a patch out. Engines know recipes, never a command's name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from facexcli.device import devices_of
from facexcli.errors import UsageError
from facexcli.events import Warned
from facexcli.settings import parse_amounts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from facexcli.events import Reporter
    from facexcli.recipes import Attribute
    from facexcli.settings import DtypeName, ReferenceChoice, SamplerName, Settings
    from facexcli.types import Array, Crop, EditRequest, Motion, Patch, TemplateName


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What an engine can do and what it needs.

    `crop_sizes_px` lists the crop sizes it accepts, the default first; `templates` names the alignment of its canvas
    crops by recipe. `takes` names, by recipe, the attributes that may come from the canvas, the source or the still
    of a third person, as the user likes. `weights` are catalog names, `extras` extras of this package. `relights`
    says that the patch already carries the canvas's light, so that no colour match is wanted. `view_reach_deg` says how
    far a face may be turned from the nearest still to be swapped in full, and to be swapped at all; None for any pose.
    `generates` says that the pixels of the face come from a trained model; it is what results say of themselves, so an
    engine has to deny it. `checks_device` says that `Configurable.configure` judges `--device` itself, because the
    engine does not run on torch. `batch` is how many requests `Engine.render` likes to be given at once.
    `needs_own_weights` says that it works with `--weights` alone.
    """

    name: str
    recipes: frozenset[str]
    crop_sizes_px: tuple[int, ...]
    templates: dict[str, TemplateName]
    summary: str
    licence: str
    takes: Mapping[str, tuple[Attribute, ...]] = field(default_factory=dict)
    weights: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    needs_cuda: bool = False
    relights: bool = False
    view_reach_deg: tuple[float, float] | None = None
    generates: bool = True
    checks_device: bool = False
    batch: int = 1
    needs_own_weights: bool = False


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What a run asks of its engine besides the recipe; an engine takes what concerns it.

    `weights` is a file or a folder of the user's own, `unet` the denoising network of somebody else. `device` is auto,
    cpu or cuda[:N]. None for `steps` and `batch_size` leaves them to the engine; a guidance of 1 is none.
    `swap_reference` says what stands in the place of regions that are replaced: nothing, or what replaces them; auto is
    what the network was trained with. `dtype` is the precision of a torch network, and `compiled` whether it is
    compiled before the first face.
    `temporal` is the share of the steps, 0..1, that is left out where a request has a `previous` face to set out from.
    `amounts` are pairs of an attribute, '' for all others, and 0..1.
    """

    weights: Path | None = None
    device: str = "auto"
    sampler: SamplerName = "dpm++"
    steps: int | None = None
    guidance: float = 1.0
    batch_size: int | None = None
    unet: Path | None = None
    swap_reference: ReferenceChoice = "auto"
    dtype: DtypeName = "auto"
    compiled: Literal["on", "off"] = "off"
    temporal: float = 0.0
    amounts: tuple[tuple[str, float], ...] = ()

    def amount(self, attribute: Attribute) -> float:
        """How far to go from the canvas's to what the recipe asks for, 0..1."""
        given = dict(self.amounts)
        return given.get(attribute, given.get("", 1.0))

    def check_amounts(self, engine: str, able: Sequence[Attribute]) -> None:
        """Raises UsageError for a part of an attribute that the engine gives whole or not at all."""
        for attribute, _ in self.amounts:
            if not able or (attribute and attribute not in able):
                raise UsageError(
                    f"engine {engine!r} cannot give a part of {attribute or 'an attribute'}",
                    f"--amount is for {', '.join(able)}" if able else "leave out --amount, or take --strength",
                )

    @classmethod
    def of(cls, settings: Settings) -> EngineOptions:
        """The options that a run's settings stand for."""
        sampling = settings.sampling
        return cls(
            settings.engine.weights,
            devices_of(settings.compute.device)[0],
            sampling.sampler,
            sampling.steps,
            sampling.guidance,
            settings.compute.batch_size,
            unet=settings.engine.unet,
            dtype=sampling.dtype,
            compiled=sampling.compiled,
            temporal=sampling.temporal,
            swap_reference=settings.engine.swap_reference,
            amounts=parse_amounts(settings.recipe.amount),
        )


class Engine(Protocol):
    """One contract suite (`tests/contract/test_engines.py`) runs every engine.

    `render` is a pure function of its requests: the same request gives the same patch, whatever else is in the batch.
    """

    spec: EngineSpec

    def prepare(self, sources: Sequence[Crop], motion: Motion | None = None) -> Any:
        """Digest the stills of one person, once a video, into the engine's own identity state.

        `motion` is the landmark track that will provide pose and expression (the driving face's for reenact, the canvas
        face's otherwise), so that an engine can find its neutral. Raises NoFaceError for sources it cannot use.
        """
        ...

    def render(self, requests: Sequence[EditRequest]) -> list[Patch]:
        """One patch a request, in order, in the pixels of the request's canvas crop."""
        ...

    def close(self) -> None:
        """Give back threads and memory. Calling it twice is allowed."""
        ...


@runtime_checkable
class Configurable(Protocol):
    """An engine that has options. It is told them once, before anything else is asked of it."""

    def configure(self, options: EngineOptions) -> None:
        """Check the options; `spec` may change with them. Cheap: nothing large is loaded yet.

        Raises WeightsError for weights that are needed and not there, or that are not this engine's.
        """
        ...


@runtime_checkable
class Placed(Protocol):
    """An engine that chooses where it runs.

    Attributes:
        runs_on: where, and why there, in a few words; empty before it knows.
    """

    runs_on: str


@runtime_checkable
class Outspoken(Protocol):
    """An engine that has models of its own besides the network, or something to say before the work begins."""

    @property
    def perception(self) -> tuple[str, ...]:
        """What it looks at faces with."""
        ...

    def forewarnings(self) -> tuple[str, ...]:
        """What the user should know before a run, such as that it will take long."""
        ...


@runtime_checkable
class Slotted(Protocol):
    """An engine that takes a portrait apart into slots."""

    def slots_of(self, crop: Crop) -> Array:
        """Where each slot looks, float32 (K, g, g), adding up to 1 at each place."""
        ...


def told_by(engine: Engine, reporter: Reporter) -> tuple[str, ...]:
    """Pass on what an engine warns of, and return its perception models; nothing where it does not speak."""
    if not isinstance(engine, Outspoken):
        return ()
    for warning in engine.forewarnings():
        reporter.emit(Warned(warning))
    return engine.perception

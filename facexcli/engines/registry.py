"""Which engines exist, and which one a run takes. Third parties add theirs through the entry-point group."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from facexcli.engines.auto import choose_engine, swappers
from facexcli.engines.base import Configurable, EngineOptions, Placed
from facexcli.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.metadata import EntryPoint

    from facexcli.engines.base import Engine, EngineSpec
    from facexcli.recipes import Attribute
    from facexcli.weights.catalog import Entry

ENTRY_POINT_GROUP = "facexcli.engines"


def _mesh() -> Engine:
    from facexcli.engines.mesh.engine import MeshEngine

    return MeshEngine()


def _unchanged() -> Engine:
    from facexcli.engines.unchanged import UnchangedEngine

    return UnchangedEngine()


def _facex() -> Engine:
    from facexcli.engines.facex.engine import FaceXEngine

    return FaceXEngine()


def _difffae() -> Engine:
    from facexcli.engines.difffae.engine import DiffFAEEngine

    return DiffFAEEngine()


def _swapper(entry: Entry) -> Callable[[], Engine]:
    def make() -> Engine:
        from facexcli.engines.onnx.engine import OnnxSwapEngine

        return OnnxSwapEngine(entry)

    return make


_EMBEDDED: dict[str, Callable[[], Engine]] = {
    "mesh": _mesh,
    "facex": _facex,
    "difffae": _difffae,
    "unchanged": _unchanged,
}


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An open engine, and one line that says why it was taken."""

    engine: Engine
    reason: str


def engine_factories() -> Mapping[str, Callable[[], Engine]]:
    """Every known engine by name, whether or not its weights are installed.

    Those of this package come first, then the swappers of the catalog; an entry point may not take their names.
    """
    factories = dict(_EMBEDDED)
    factories.update({entry.name: _swapper(entry) for entry in swappers()})
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        factories.setdefault(entry_point.name, _foreign(entry_point))
    return factories


def missing_weights(spec: EngineSpec) -> tuple[str, ...]:
    """The names in `spec.weights` that the catalog knows and the store has not."""
    from facexcli.weights.catalog import catalog
    from facexcli.weights.store import Store

    return tuple(name for name in spec.weights if name in catalog() and not Store().installed(name))


def _foreign(entry_point: EntryPoint) -> Callable[[], Engine]:
    """An entry point names a class, or any function, that makes an engine."""

    def make() -> Engine:
        try:
            engine: Engine = entry_point.load()()
        except ImportError as error:
            raise UsageError(
                f"engine {entry_point.name!r} cannot be loaded: {error}", "install what its package needs"
            ) from error
        return engine

    return make


def open_engine(name: str, recipe_name: str, options: EngineOptions | None = None) -> EngineChoice:
    """Open the engine called `name`, or for `auto` the best one that can do the recipe with what is installed.

    Raises UsageError for an unknown name, or an engine that cannot do the recipe; what `Configurable.configure` does.
    """
    factories = engine_factories()
    if name == "auto":
        name, reason = choose_engine(recipe_name, options or EngineOptions())
    elif name in factories:
        reason = "asked for with --engine"
    else:
        raise unknown_name("engine", name, [*factories, "auto"])
    engine = _checked(factories[name](), recipe_name)
    engine = _configured(engine, options)
    place = engine.runs_on if isinstance(engine, Placed) else ""
    return EngineChoice(engine, f"{reason}; runs on {place}" if place else reason)


def _configured(engine: Engine, options: EngineOptions | None) -> Engine:
    if options is None:
        return engine
    if isinstance(engine, Configurable):
        if options.weights is not None:
            from facexcli.weights.named import named_place

            options = replace(options, weights=named_place(options.weights))
        engine.configure(options)
        return engine
    if options.weights is not None:
        raise UsageError(f"engine {engine.spec.name!r} takes no --weights", "name the one that does with --engine")
    options.check_amounts(engine.spec.name, ())
    return engine


def engines_that_take(recipe_name: str, attribute: Attribute) -> tuple[str, ...]:
    """The engines of this package that can take an attribute from elsewhere."""
    return tuple(name for name, make in _EMBEDDED.items() if attribute in make().spec.takes.get(recipe_name, ()))


def _who_can(recipe_name: str) -> str:
    """The end of a hint: an engine that can."""
    for name, factory in _EMBEDDED.items():
        if recipe_name in factory().spec.recipes:
            return f"; --engine {name} can do {recipe_name}"
    return ""


def _checked(engine: Engine, recipe_name: str) -> Engine:
    if recipe_name not in engine.spec.recipes:
        able = ", ".join(sorted(engine.spec.recipes))
        name = engine.spec.name
        engine.close()
        raise UsageError(f"engine {name!r} cannot do {recipe_name!r}", f"it can do: {able}{_who_can(recipe_name)}")
    return engine

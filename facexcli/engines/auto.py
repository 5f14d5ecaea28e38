"""What `--engine auto` takes: the best engine for the task among those that are installed, and why."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from facexcli.weights.catalog import Entry, catalog
from facexcli.weights.store import Store

if TYPE_CHECKING:
    from facexcli.engines.base import EngineOptions

_FAMILIES = ("hyperswap", "inswapper", "hififace", "simswap", "ghost")
"""The better first, as their publishers and users rank them; which of a family is a matter of taste."""
_FIRST = "inswapper_128"
_EMBEDDED = "mesh"


@cache
def swappers() -> tuple[Entry, ...]:
    """The swappers of the catalog, the better families first."""
    found = [entry for entry in catalog().values() if entry.kind == "swapper"]
    return tuple(sorted(found, key=lambda entry: _FAMILIES.index(entry.facts["family"])))


def choose_engine(recipe_name: str, options: EngineOptions, store: Store | None = None) -> tuple[str, str]:
    """The name of an engine for the recipe, and a line that says why, or how to get a better one.

    Weights of the user's own belong to an engine that has to be named, so that none is guessed here.
    """
    if recipe_name != "swap" or options.weights is not None:
        return _EMBEDDED, "the embedded engine; it needs no weights"
    from facexcli.engines.onnx.swapper import needed

    store = store or Store()
    runtime = find_spec("onnxruntime") is not None
    begun = [entry for entry in swappers() if store.installed(entry.name)]
    if begun:
        begun = [entry for entry in _by_device(options.device, runtime) if entry in begun]
    missing = {entry.name: [name for name in needed(entry) if not store.installed(name)] for entry in begun}
    if runtime and (complete := [name for name, lacks in missing.items() if not lacks]):
        rest = f" (also installed: {', '.join(complete[1:])})" if complete[1:] else ""
        return complete[0], f"the best swapper that is installed{rest}"
    return _EMBEDDED, f"the embedded engine; {_advice(missing, runtime)}"


def _by_device(device: str, runtime: bool) -> list[Entry]:
    """On a CPU halves are slower than floats; on anything else they are faster."""
    from facexcli.engines.onnx.providers import providers_for

    halves_first = runtime and not providers_for(device).is_cpu
    family = {entry.name: _FAMILIES.index(entry.facts["family"]) for entry in swappers()}

    def rank(entry: Entry) -> tuple[int, bool]:
        return family[entry.name], (entry.facts.get("precision") == "float16") != halves_first

    return sorted(swappers(), key=rank)


def _advice(missing: dict[str, list[str]], runtime: bool) -> str:
    """How to get a better one than the embedded engine."""
    if missing and not all(missing.values()):
        return f"{next(iter(missing))} is installed, but onnxruntime is not: pip install 'facexcli[onnx]'"
    if missing:
        name, lacks = next(iter(missing.items()))
        return f"{name} is installed, but lacks {lacks[0]}: facex models pull {lacks[0]}"
    pulls = f"`facex models pull {_FIRST}` and `facex models pull buffalo_l` (non-commercial licences)"
    return f"for a better likeness: {pulls}{'' if runtime else ', and onnxruntime'}"

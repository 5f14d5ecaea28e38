"""The files behind one swapper, and whether they are what its catalog entry says; nothing of them is run here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facexcli.engines.onnx.graph import Graph, Slot, read_graph
from facexcli.errors import WeightsError
from facexcli.weights.hashes import fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from facexcli.types import Array
    from facexcli.weights.catalog import Entry
    from facexcli.weights.store import Store

RECOGNISER = "buffalo_l"
"""Whose ArcFace (`w600k_r50`) gives the embedding that all these swappers, or their converters, were trained with."""
EMBEDDING = 512
CHIP_PX = 112


@dataclass(frozen=True, slots=True)
class Part:
    """A graph that is known to be in order, with the hash that it is shared by."""

    graph: Graph
    sha256: str

    @property
    def path(self) -> Path:
        return self.graph.path


@dataclass(frozen=True, slots=True)
class Swapper:
    """All that one swapper is run with. `target`, `source`, `picture` and `mask` are slots of the graph of `body`."""

    entry: Entry
    body: Part
    target: Slot
    source: Slot
    picture: Slot
    mask: Slot | None
    recogniser: Part
    converter: Part | None
    emap: Array | None

    @property
    def takes_batches(self) -> bool:
        """Whether the graph's batch axes are free."""
        return all(slot.shape[0] is None for slot in (self.target, self.source))


def needed(entry: Entry) -> tuple[str, ...]:
    """The catalog names that have to be installed: its own, the recogniser's, and its converter's."""
    converter = entry.facts.get("embedding_converter")
    return (entry.name, RECOGNISER, *([converter] if converter else []))


def open_swapper(entry: Entry, store: Store, weights: Path | None = None) -> Swapper:
    """Verify and read what `entry` needs; `weights` is a file of the user's own in the place of the catalog's.

    Raises WeightsError, naming the file, for one that is absent, altered, damaged or of another signature.
    """
    body = _own(weights) if weights else _part(store, entry.name)
    target, source = _inputs(entry, body.graph)
    picture, mask = _outputs(entry, body.graph)
    recogniser = _part(store, RECOGNISER, store.known[RECOGNISER].facts["recognition"])
    _check(recogniser, "ArcFace", (3, CHIP_PX, CHIP_PX))
    converter = None
    if name := entry.facts.get("embedding_converter"):
        converter = _part(store, name)
        _check(converter, name, (EMBEDDING,))
    return Swapper(
        entry, body, target, source, picture, mask, recogniser, converter,
        _emap(entry, body.graph) if entry.facts.get("emap") else None,
    )  # fmt: skip


def _part(store: Store, name: str, file: str | None = None) -> Part:
    path = store.path(name, file)
    return Part(read_graph(path), store.hashes(name)[file or store.known[name].files[0]])


def _own(path: Path) -> Part:
    if not path.is_file():
        raise WeightsError(f"--weights {path} is no file", "name an ONNX file")
    return Part(read_graph(path), fingerprint(path).sha256)


def _inputs(entry: Entry, graph: Graph) -> tuple[Slot, Slot]:
    """The picture and the embedding, told apart by their shapes."""
    size_px = int(entry.facts["size_px"])
    targets = [slot for slot in graph.inputs if slot.dtype and _fits(slot, (3, size_px, size_px))]
    sources = [slot for slot in graph.inputs if slot.dtype and _fits(slot, (EMBEDDING,))]
    if len(graph.inputs) != 2 or len(targets) != 1 or len(sources) != 1:
        raise _unexpected(entry, graph)
    return targets[0], sources[0]


def _outputs(entry: Entry, graph: Graph) -> tuple[Slot, Slot | None]:
    """The picture, and the mask where the graph gives one. A shape that the graph leaves open is checked when it runs.

    Of pictures the first counts.
    """
    size_px = int(entry.facts["size_px"])
    pictures = [slot for slot in graph.outputs if slot.dtype and _may_be(slot, (3, size_px, size_px))]
    if not pictures:
        raise _unexpected(entry, graph)
    others = [slot for slot in graph.outputs if slot is not pictures[0] and slot.dtype]
    masks = [slot for slot in others if len(slot.shape) == 4 and slot.shape[1] == 1]
    return pictures[0], next((slot for slot in masks if _may_be(slot, (1, size_px, size_px))), None)


def _emap(entry: Entry, graph: Graph) -> Array:
    emap = graph.last_initializer
    if emap is None or emap.shape != (EMBEDDING, EMBEDDING):
        found = "no floats" if emap is None else " x ".join(map(str, emap.shape))
        raise WeightsError(
            f"{graph.path}: its last initializer is {found}, and not the {EMBEDDING} x {EMBEDDING} map of identities",
            _hint(entry),
        )
    return emap


def _check(part: Part, what: str, shape: tuple[int, ...]) -> None:
    """A graph that makes one embedding out of one tensor of `shape`, the batch not counted."""
    inputs, outputs = part.graph.inputs, part.graph.outputs
    if len(inputs) == 1 and inputs[0].dtype and _may_be(inputs[0], shape) and outputs:
        return
    wanted = " x ".join(map(str, shape))
    raise WeightsError(
        f"{part.path}: not {what}: it has {part.graph}; expected one input of 1 x {wanted}", "pull it again"
    )


def _fits(slot: Slot, shape: tuple[int, ...]) -> bool:
    """As `_may_be`, with as many axes: inputs are told apart by them."""
    return len(slot.shape) == len(shape) + 1 and _may_be(slot, shape)


def _may_be(slot: Slot, shape: tuple[int, ...]) -> bool:
    """Whether a slot can hold a batch of `shape`: sizes that it does not fix are free."""
    if not slot.shape:
        return True
    pairs: Any = zip(slot.shape[1:], shape, strict=False)
    return (
        len(slot.shape) == len(shape) + 1
        and slot.shape[0] in (None, 1)
        and all(size in (None, want) for size, want in pairs)
    )


def _unexpected(entry: Entry, graph: Graph) -> WeightsError:
    size_px = entry.facts["size_px"]
    picture = f"1 x 3 x {size_px} x {size_px}"
    return WeightsError(
        f"{graph.path}: not {entry.name}: it has {graph}; "
        f"expected inputs of {picture} and 1 x {EMBEDDING}, and an output of {picture}",
        _hint(entry),
    )


def _hint(entry: Entry) -> str:
    return f"`facex models remove {entry.name}` and pull it again, or name the engine that the file belongs to"

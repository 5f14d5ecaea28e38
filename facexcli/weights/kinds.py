"""Tells whether a file can be what its entry of the catalog says, before anything of it is run.

A file whose SHA-256 nobody told is only as good as this: its beginning, and the inputs, outputs and tensors that the
entry's kind and facts promise. What a fact does not promise is not asked.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from facexcli.weights.catalog import Entry

    Shape = tuple[int | None, ...]

EMBEDDING = 512
"""Numbers in an ArcFace embedding (Deng et al. 2019), which all swappers of the catalog take."""
_LONGEST_HEADER = 100_000_000
"""Of a safetensors file, in bytes, by its format's definition."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Shapes of a graph's inputs (without those that have a value) and outputs; None where a size is free."""

    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]

    def __str__(self) -> str:
        return f"inputs {_words(self.inputs)} and outputs {_words(self.outputs)}"


def wrong_kind(item: Entry, file: str, path: Path) -> str:
    """What is wrong with `path`, which is to be `file` of `item`; empty when nothing is seen. Raises OSError."""
    with path.open("rb") as stream:
        head = stream.read(512)
    if not head:
        return "it is empty"
    if head.lstrip()[:1] == b"<" or head.startswith(b"version https://git-lfs"):
        return "it is a page or a pointer, not weights"
    if file.endswith(".onnx"):
        if head[:1] != b"\x08":  # field 1 of ModelProto, ir_version, comes first
            return "it is no ONNX graph"
        return _wrong_graph(item, file, path)
    if file.endswith(".safetensors"):
        return _wrong_tensors(item, file, path)
    return ""


def reads_graphs() -> bool:
    """Whether something that reads ONNX graphs is installed; without it only their beginning is looked at."""
    return any(importlib.util.find_spec(module) for module in ("onnx", "onnxruntime"))


def _wrong_graph(item: Entry, file: str, path: Path) -> str:
    wanted_inputs, wanted_outputs = _promised(item, file)
    if not (wanted_inputs or wanted_outputs) or not reads_graphs():
        return ""
    try:
        found = _signature(path)
    except Exception as error:  # neither onnx nor onnxruntime has a common class of its own
        return f"it is no ONNX graph: {' '.join(str(error).split())[:200]}"
    one_for_each = len(found.inputs) == len(wanted_inputs) or not wanted_inputs
    if (
        one_for_each
        and all(any(_may_be(shape, wanted) for shape in found.inputs) for wanted in wanted_inputs)
        and all(any(_may_be(shape, wanted) for shape in found.outputs) for wanted in wanted_outputs)
    ):
        return ""
    wanted = Signature(tuple((None, *sizes) for sizes in wanted_inputs), tuple((None, *s) for s in wanted_outputs))
    return f"expected {wanted}, found {found}"


def _promised(item: Entry, file: str) -> tuple[Sequence[Shape], Sequence[Shape]]:
    """Inputs and outputs by the entry's kind and facts, without the axis of the batch."""
    size = item.facts.get("size_px")
    if item.kind == "swapper" and size:
        return [(EMBEDDING,), (3, size, size)], [(3, size, size)]
    if item.kind == "embedding-converter" and (length := item.facts.get("embedding")):
        return [(EMBEDDING,)], [(length,)]
    if item.kind == "parsing" and size:
        return [(3, size, size)], [(item.facts["classes"], size, size)]
    if item.kind == "perception" and file == item.facts.get("recognition"):
        return [(3, None, None)], [(EMBEDDING,)]
    return [], []


def _may_be(shape: Shape, wanted: Shape) -> bool:
    """Whether `shape`, with a batch axis, allows `wanted`, without one. A shape that nobody told allows everything."""
    sizes = shape[1:]
    if not shape:
        return True
    if len(sizes) != len(wanted):
        return False
    return all(None in pair or pair[0] == pair[1] for pair in zip(sizes, wanted, strict=True))


def _signature(path: Path) -> Signature:
    if importlib.util.find_spec("onnx"):
        import onnx

        graph = onnx.load(str(path), load_external_data=False).graph
        constants = {tensor.name for tensor in graph.initializer}
        inputs = [_shape_of_proto(value) for value in graph.input if value.name not in constants]
        return Signature(tuple(inputs), tuple(_shape_of_proto(value) for value in graph.output))
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return Signature(_shapes_of_slots(session.get_inputs()), _shapes_of_slots(session.get_outputs()))


def _shapes_of_slots(slots: Sequence[Any]) -> tuple[Shape, ...]:
    return tuple(tuple(size if isinstance(size, int) else None for size in slot.shape) for slot in slots)


def _shape_of_proto(value: Any) -> Shape:
    sizes = value.type.tensor_type.shape.dim
    return tuple(size.dim_value if size.dim_value > 0 else None for size in sizes)


def _wrong_tensors(item: Entry, file: str, path: Path) -> str:
    """By the format: 8 bytes of length, little-endian, and as many of JSON."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(_LONGEST_HEADER, path.stat().st_size - 8):
            return "it is no safetensors file"
        try:
            header: Mapping[str, Any] = json.loads(stream.read(length))
            shapes = {name: list(about["shape"]) for name, about in header.items() if name != "__metadata__"}
            end = max((about["data_offsets"][1] for name, about in header.items() if name != "__metadata__"), default=0)
            missing = 8 + length + end - path.stat().st_size
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            return "it is no safetensors file"
        if missing > 0:
            return f"it is cut short by {missing} bytes"
    for name, wanted in item.facts.get("tensors", {}).get(file, {}).items():
        if name not in shapes:
            return f"expected a tensor {name}, which it does not hold"
        if shapes[name] != list(wanted):
            return f"expected {name} of {_size(wanted)}, found {_size(shapes[name])}"
    return ""


def _words(shapes: Sequence[Shape]) -> str:
    return ", ".join(map(_size, shapes)) or "none"


def _size(shape: Sequence[int | None]) -> str:
    return " x ".join("any" if size is None else str(size) for size in shape) or "of any size"

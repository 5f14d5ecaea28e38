"""What an ONNX file says of itself, read before anything of it is run: inputs, outputs, and its last initializer.

The file is somebody else's. Only the few fields that are needed are decoded (field numbers of onnx.proto3, ONNX 1.18).
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facexcli.engines.onnx.wire import Data, fields, inner, number, text, varint
from facexcli.errors import WeightsError

if TYPE_CHECKING:
    from pathlib import Path

    from facexcli.types import Array

_MODEL_GRAPH = 7
_GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 5, 11, 12
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_FLOATS, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 4, 8, 9
_TYPES = {1: "float32", 10: "float16"}


@dataclass(frozen=True, slots=True)
class Slot:
    """An input or an output. `shape` has None where the size is free; `dtype` is numpy's name, or '' for another."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        sizes = " x ".join("any" if size is None else str(size) for size in self.shape)
        return f"{self.name}: {self.dtype or 'another type'} {sizes or 'without sizes'}"


@dataclass(frozen=True, slots=True)
class Graph:
    """What `read_graph` found. `inputs` are without those that have a value of their own."""

    path: Path
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    last_initializer: Array | None

    def __str__(self) -> str:
        return f"inputs ({'; '.join(map(str, self.inputs))}), outputs ({'; '.join(map(str, self.outputs))})"


def read_graph(path: Path) -> Graph:
    """Read the head of an ONNX file. Raises WeightsError, naming the file, for one that is damaged or something else.

    `last_initializer` is float32, of the tensor's own shape; None where there is none, or where it holds no floats.
    """
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read(path, memoryview(data[:]) if len(data) < 1 << 16 else data)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, IndexError, OverflowError) as error:
        raise WeightsError(f"{path} is no ONNX graph: {error}", "pull it again, or name another file") from error


def _read(path: Path, data: Data) -> Graph:
    parts = [(start, stop) for field, start, stop in fields(data, 0, len(data)) if field == _MODEL_GRAPH]
    if len(parts) != 1:
        raise ValueError("it holds no graph")
    inputs, outputs, named, last = [], [], set(), None
    for field, start, stop in fields(data, *parts[0]):
        if field == _GRAPH_INPUT:
            inputs.append(slot_of(data, start, stop))
        elif field == _GRAPH_OUTPUT:
            outputs.append(slot_of(data, start, stop))
        elif field == _GRAPH_INITIALIZER:
            last = (start, stop)
            named.add(text(data, start, stop, _TENSOR_NAME))
    own = tuple(slot for slot in inputs if slot.name not in named)
    return Graph(path, own, tuple(outputs), _tensor(data, *last) if last else None)


def slot_of(data: Data, start: int, stop: int) -> Slot:
    """A ValueInfoProto: name 1, type 2 > tensor_type 1 > elem_type 1, shape 2 > dim 1 > dim_value 1."""
    name = text(data, start, stop, 1)
    dtype = _TYPES.get(number(data, start, stop, 2, 1, 1) or 0, "")
    shape = inner(data, start, stop, 2, 1, 2)
    sizes = [number(data, a, b, 1) for field, a, b in fields(data, *shape) if field == 1] if shape else []
    return Slot(name, dtype, tuple(sizes))


def _tensor(data: Data, start: int, stop: int) -> Array | None:
    """A TensorProto of floats: float32 of its shape. Halves are only read raw, as all converters write them."""
    dtype = _TYPES.get(number(data, start, stop, _TENSOR_TYPE) or 0)
    raw = inner(data, start, stop, _TENSOR_RAW)
    if raw is None:
        raw, dtype = inner(data, start, stop, _TENSOR_FLOATS), "float32" if dtype == "float32" else None
    if raw is None or dtype is None:
        return None
    values = np.frombuffer(bytes(data[raw[0] : raw[1]]), np.dtype(dtype).newbyteorder("<")).astype(np.float32)
    return values.reshape(_dims(data, start, stop))


def _dims(data: Data, start: int, stop: int) -> tuple[int, ...]:
    """Sizes, whether they were written packed (one block of varints) or each by itself."""
    sizes: list[int] = []
    for field, a, b in fields(data, start, stop):
        while field == _TENSOR_DIMS and a < b:
            size, a = varint(data, a, b)
            sizes.append(size)
    return tuple(sizes)

"""FaceX's networks as ONNX files, which `facex models export` writes; read without torch, and without trust.

One file holds three graphs side by side, told apart by how all names in them begin:

    tokens/  a face: rgb, masks, identity and motion, see `FaceTensors`   -> tokens (1, N, width), in their order
    keys/    context (1, N, width)                                        -> what each block of the UNet looks up
    step/    latent, timestep, channels, and all that is looked up        -> the network's prediction

They are run as three sessions. Configuration, version and a hash of the graphs are in the model's metadata. Only
operators of ONNX itself are let in, none that holds other graphs, and no weights outside of the file.
"""

from __future__ import annotations

import hashlib
import mmap
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from pydantic import ValidationError

from facexcli.engines.facex.assemble import TOKEN_ATTRIBUTES
from facexcli.engines.facex.config import MOTION_SIZES, REGIONS, FaceXConfig
from facexcli.engines.onnx.graph import slot_of
from facexcli.engines.onnx.wire import fields, framed, inner, text
from facexcli.errors import UsageError, WeightsError
from facexcli.weights.convert import is_pickle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from facexcli.engines.onnx.graph import Slot

    Shape = tuple[int | None, ...]

TOKENS, KEYS, STEP = PARTS = ("tokens/", "keys/", "step/")
SAMPLED = "prediction"

_FORMAT, _VERSION = "facex-onnx", "1"
_HINT = "take a file that `facex models export` wrote"
_LARGEST_BYTES, _LONGEST_TEXT, _LARGEST_PX = 1 << 30, 1 << 16, 1024

_IR_VERSION, _GRAPH, _OPERATOR_SET, _METADATA = 1, 7, 8, 14
_MODEL_FIELDS = (_IR_VERSION, 2, 3, 4, 5, 6, _GRAPH, _OPERATOR_SET, _METADATA)
"""Of ModelProto: not training_info and functions."""
_NODE, _NAME, _INITIALIZER, _INPUT, _OUTPUT = _GRAPH_FIELDS = (1, 2, 5, 11, 12)
_NODE_INPUT, _NODE_OUTPUT, _NODE_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 4, 5, 7
_ATTRIBUTE_FIELDS = (1, 2, 3, 4, 7, 8, 9, 13, 20)
"""Name, type and words about it; numbers, texts and lists of them. Tensors belong among the weights, graphs nowhere."""
_TENSOR_NAME, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 8, 13, 14
_OPERATORS = frozenset(
    (
        "Add", "AveragePool", "Cast", "Concat", "Conv", "ConvTranspose", "Div", "Einsum", "Equal", "Erf", "Expand",
        "Flatten", "Gather", "Gelu", "Gemm", "GlobalAveragePool", "Greater", "Identity", "InstanceNormalization",
        "LayerNormalization", "MatMul", "Mul", "Neg", "Pad", "Pow", "ReduceMean", "ReduceSum", "Reshape", "Resize",
        "Sigmoid", "Sin", "Cos", "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose",
        "Unsqueeze", "Where",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GraphFile:
    """A file that was checked. parts: each of `PARTS` as an ONNX model by itself; looked_up: what its blocks look up,
    the names between `keys/` and `step/`."""

    path: Path
    config: FaceXConfig
    parts: Mapping[str, bytes]
    looked_up: tuple[str, ...]


@dataclass(slots=True)
class _Part:
    """kept: fields of the graph, as they are in the file."""

    kept: list[bytes]
    inputs: dict[str, Slot]
    outputs: dict[str, Slot]


def check_exportable(config: FaceXConfig) -> None:
    """Raises UsageError for a configuration that stays with torch."""
    if config.latent != "unshuffle" or config.inpainting != "channels" or config.perception != "embedded":
        raise UsageError(
            f"FaceX {config.name} is built upon Stable Diffusion, and is not exported",
            "export networks of --config compact or tiny",
        )


def token_count(config: FaceXConfig) -> int:
    """N: tokens of a face, and of what a recipe picks of several."""
    return config.identity_tokens + len(TOKEN_ATTRIBUTES) - 1


def metadata_of(config: FaceXConfig, graph: bytes) -> dict[str, str]:
    """What the file of a graph says of itself."""
    return {
        "facex.format": _FORMAT,
        "facex.version": _VERSION,
        "facex.config": config.model_dump_json(),
        "facex.sha256": hashlib.sha256(graph).hexdigest(),
    }


def read_graph_config(path: Path) -> FaceXConfig:
    """The configuration alone, without reading weights. Raises WeightsError for what is no such file."""
    with _mapped(path) as data:
        return _config(path, _metadata(path, data))


def read_graph_file(path: Path) -> GraphFile:
    """All of a file, checked. Raises WeightsError for one that is damaged, altered or something else."""
    with _mapped(path) as data:
        told = _metadata(path, data)
        config = _config(path, told)
        try:
            start, stop = _only_graph(data)
            if hashlib.sha256(data[start:stop]).hexdigest() != told.get("facex.sha256"):
                raise WeightsError(f"{path}: its weights are not those that were exported", "fetch or export it again")
            parts = _divided(data, start, stop)
            looked_up = _checked(config, parts)
            head = _head(data)
        except (ValueError, IndexError, OverflowError) as error:
            raise WeightsError(f"{path}: not a network of FaceX: {error}", _HINT) from error
    models = {name: head + framed(_GRAPH, b"".join(part.kept)) for name, part in parts.items()}
    return GraphFile(path, config, MappingProxyType(models), looked_up)


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise WeightsError(f"{path}: not a network of FaceX: it is too large", _HINT)
        if is_pickle(path):
            raise WeightsError(f"{path}: a pickle, which could run a program when it is opened", _HINT)
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file", _HINT) from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # an empty file cannot be mapped
        raise WeightsError(f"{path}: not an ONNX file: it is empty", _HINT) from error


def _metadata(path: Path, data: mmap.mmap) -> dict[str, str]:
    try:
        rows = [(start, stop) for field, start, stop in fields(data, 0, len(data)) if field == _METADATA]
        if any(stop - start > _LONGEST_TEXT for start, stop in rows):
            raise ValueError("its configuration is too long")
        return {text(data, start, stop, 1): text(data, start, stop, 2) for start, stop in rows}
    except ValueError as error:
        raise WeightsError(f"{path}: not an ONNX file of FaceX: {error}", _HINT) from error


def _config(path: Path, told: Mapping[str, str]) -> FaceXConfig:
    if told.get("facex.format") != _FORMAT:
        raise WeightsError(f"{path}: not a network of FaceX: it does not carry its configuration", _HINT)
    if told.get("facex.version") != _VERSION:
        raise WeightsError(
            f"{path}: layout {told.get('facex.version')} of exported networks; this facex reads {_VERSION}",
            "use the version of facex that wrote it, or export it again",
        )
    try:
        config = FaceXConfig.model_validate_json(told.get("facex.config", ""))
        check_exportable(config)
    except (ValidationError, UsageError) as error:
        raise WeightsError(f"{path}: its configuration cannot be read", _HINT) from error
    if config.size_px > _LARGEST_PX:
        raise WeightsError(f"{path}: crops of {config.size_px} pixels; at most {_LARGEST_PX} are taken", _HINT)
    return config


def _only_graph(data: mmap.mmap) -> tuple[int, int]:
    """Where the graph lies."""
    found = list(fields(data, 0, len(data)))
    if any(field not in _MODEL_FIELDS for field, _, _ in found):
        raise ValueError("it holds functions")
    graphs = [(start, stop) for field, start, stop in found if field == _GRAPH]
    if len(graphs) != 1:
        raise ValueError("it holds no graph")
    return graphs[0]


def _head(data: mmap.mmap) -> bytes:
    """Versions of the format and of ONNX's operators, as fields of a model."""
    version = inner(data, 0, len(data), _IR_VERSION)
    sets = [(start, stop) for field, start, stop in fields(data, 0, len(data)) if field == _OPERATOR_SET]
    if version is None or len(sets) != 1 or text(data, *sets[0], 1):
        raise ValueError("it asks for operators that are none of ONNX's own")
    (start, stop) = sets[0]
    return bytes([_IR_VERSION << 3]) + data[slice(*version)] + framed(_OPERATOR_SET, data[start:stop])


def _divided(data: mmap.mmap, start: int, stop: int) -> dict[str, _Part]:
    """The graphs in the graph, with all that is in them looked at."""
    parts = {name: _Part([], {}, {}) for name in PARTS}
    for field, at, end in fields(data, start, stop):
        if field not in _GRAPH_FIELDS:
            raise ValueError(f"it holds what no network needs (field {field})")
        if field == _NAME:
            continue
        if field == _NODE:
            names = _names_of_node(data, at, end)
        elif field == _INITIALIZER:
            if any(part[0] in (_TENSOR_EXTERNAL, _TENSOR_LOCATION) for part in fields(data, at, end)):
                raise ValueError("some of its weights are in another file")
            names = [text(data, at, end, _TENSOR_NAME)]
        else:
            names = [text(data, at, end, 1)]
        prefix = _prefix_of(names)
        part = parts[prefix]
        part.kept.append(framed(field, data[at:end]))
        if field in (_INPUT, _OUTPUT):
            slots = part.inputs if field == _INPUT else part.outputs
            slots[names[0].removeprefix(prefix)] = slot_of(data, at, end)
    return parts


def _names_of_node(data: mmap.mmap, start: int, stop: int) -> list[str]:
    """What a node takes and makes. Raises ValueError for one that is not let in."""
    names: list[str] = []
    for field, at, end in fields(data, start, stop):  # all of them: of a field that is there twice the last one counts
        content = bytes(data[at:end]).decode("utf-8", "replace") if field != _NODE_ATTRIBUTE else ""
        if (field == _NODE_TYPE and content not in _OPERATORS) or (field == _NODE_DOMAIN and content):
            raise ValueError(f"it holds the operator {content[:40]!r}")
        if field in (_NODE_INPUT, _NODE_OUTPUT) and content:
            names.append(content)
        if field == _NODE_ATTRIBUTE and any(part[0] not in _ATTRIBUTE_FIELDS for part in fields(data, at, end)):
            raise ValueError("an operator of it holds a graph or weights")
    return names


def _prefix_of(names: list[str]) -> str:
    """Raises ValueError for names that do not all belong to the same part."""
    for prefix in PARTS:
        if names and all(name.startswith(prefix) for name in names):
            return prefix
    raise ValueError("its parts are not told apart")


def _checked(config: FaceXConfig, parts: Mapping[str, _Part]) -> tuple[str, ...]:
    """What the blocks look up. Raises ValueError for inputs or outputs that the configuration does not have."""
    tokens, keys, step = (parts[name] for name in PARTS)
    size, grid, count = config.size_px, config.latent_px, token_count(config)
    face: dict[str, Shape] = {
        "rgb": (1, 3, size, size),
        "masks": (1, len(REGIONS), size, size),
        "identity": (1, *config.identity_shape),
        **{name: (1, numbers) for name, numbers in MOTION_SIZES.items()},
    }
    of_step: dict[str, Shape] = {
        "latent": (1, config.latent_channels, grid, grid),
        "timestep": (1,),
        "channels": (1, config.latent_channels + 1, grid, grid),
    }
    looked_up = {name: slot.shape for name, slot in keys.outputs.items()}
    for found, wanted in (
        (tokens.inputs, face),
        (tokens.outputs, {"tokens": (1, count, config.width)}),
        (keys.inputs, {"context": (1, count, config.width)}),
        (step.inputs, {**of_step, **looked_up}),
        (step.outputs, {SAMPLED: of_step["latent"]}),
    ):
        _compare(config, found, wanted)
    if not looked_up or any(slot.dtype != "float32" for slot in keys.outputs.values()):
        raise ValueError("its blocks look nothing up")
    return tuple(looked_up)


def _compare(config: FaceXConfig, found: Mapping[str, Slot], wanted: Mapping[str, Shape]) -> None:
    for name in sorted({*found, *wanted}):
        slot = found.get(name)
        if slot is None or name not in wanted:
            raise ValueError(f"another architecture: it {'lacks' if slot is None else 'has'} {name[:80]}")
        if slot.shape != wanted[name] or slot.dtype != "float32":
            raise ValueError(f"{slot}, but {config.name!r} has {wanted[name]}")

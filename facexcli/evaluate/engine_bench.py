"""What an engine costs a face, and how much of that is its network's: any engine by itself, without media around it.

ONNX swappers are measured with a made graph of their signature and of InSwapper's size, so that nothing has to be
pulled: 37 GFLOP a face at 128 pixels, random weights.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facexcli.engines.base import EngineOptions
from facexcli.engines.onnx.engine import OnnxSwapEngine
from facexcli.engines.onnx.swapper import CHIP_PX, EMBEDDING, RECOGNISER
from facexcli.engines.registry import open_engine
from facexcli.errors import UsageError
from facexcli.faces.align import TEMPLATES
from facexcli.recipes import recipe_named
from facexcli.types import Array, Crop, EditRequest, Motion
from facexcli.weights.catalog import Entry, catalog
from facexcli.weights.sessions import Sessions, load_session
from facexcli.weights.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facexcli.engines.base import Engine
    from facexcli.types import TemplateName

_SKIN = (200, 160, 140)
_WIDE, _NARROW, _WIDE_LAYERS = 256, 160, 7
"""Channels of the made network's layers at half of 128 pixels, 3 x 3 each: 7 * 4.83 and 3.02 GFLOP, and 0.23 around."""
_LAYER_PX = 64


@dataclass(frozen=True, slots=True)
class EngineCost:
    """Medians over `faces` faces, one at a time, in milliseconds.

    `session_ms` is the part that the network runs, and `gflop` what it works out for a face; None where there is none.
    """

    name: str
    runs_on: str
    faces: int
    size_px: int
    face_ms: float
    session_ms: float | None = None
    gflop: float | None = None

    @property
    def overhead(self) -> float | None:
        """Everything but the network, as a share of the network."""
        return None if self.session_ms is None else (self.face_ms - self.session_ms) / self.session_ms

    @property
    def gflop_per_s(self) -> float | None:
        return None if self.session_ms is None or self.gflop is None else self.gflop / (self.session_ms / 1000)


def bench_engine(name: str, faces: int = 10, device: str = "cpu") -> EngineCost:
    """Time `name` on made faces. Raises UsageError for an unknown engine, and what opening one raises."""
    entry = catalog().get(name)
    if entry is None or entry.kind != "swapper":
        engine = open_engine(name, "swap", EngineOptions(device=device)).engine
        return cost_of(engine, faces)
    if find_spec("onnx") is None:
        raise UsageError("the bench of ONNX engines makes a graph with the package onnx", "pip install onnx")
    with tempfile.TemporaryDirectory(prefix="facex-bench-") as folder:
        spent_s: list[float] = []
        engine = OnnxSwapEngine(entry, _made_store(Path(folder), entry), _timed_sessions(spent_s))
        engine.configure(EngineOptions(device=device, batch_size=1))
        return _cost(engine, faces, spent_s, made_gflop(entry))


def cost_of(engine: Engine, faces: int) -> EngineCost:
    """Time an open engine on made faces, and close it. Raises what its first face raises."""
    return _cost(engine, faces, [])


def made_gflop(entry: Entry) -> float:
    """Of the made graph, for one face: two operations a multiplication, 1e9 of them."""
    side = int(entry.facts["size_px"])
    wide = 9 * (_WIDE_LAYERS * _WIDE**2 + _WIDE * _NARROW) * _LAYER_PX**2
    around = (27 * _WIDE * _LAYER_PX**2) + 27 * _NARROW * side**2
    return 2 * (wide + around) / 1e9


def _cost(engine: Engine, faces: int, spent_s: list[float], gflop: float | None = None) -> EngineCost:
    spec = engine.spec
    template, size_px = spec.templates["swap"], spec.crop_sizes_px[0]
    crops = [made_crop(template, size_px, seed) for seed in range(3)]
    identity = engine.prepare(crops[:1], Motion(np.arange(3), np.stack([crop.landmarks_px for crop in crops])))
    requests = [EditRequest(crop, identity, recipe_named("swap")) for crop in crops[1:]]
    engine.render(requests)  # threads are started and memory is taken with the first faces
    wall_s, session_s = zip(*_times(engine, requests, faces, spent_s), strict=True)
    runs_on = str(getattr(engine, "runs_on", ""))
    engine.close()
    session_ms = statistics.median(session_s) * 1000 if spent_s else None
    return EngineCost(spec.name, runs_on, faces, size_px, statistics.median(wall_s) * 1000, session_ms, gflop)


def _times(
    engine: Engine, requests: Sequence[EditRequest], faces: int, spent_s: list[float]
) -> Iterator[tuple[float, float]]:
    """Seconds for each face, and those of its network."""
    for number in range(faces):
        before_s, start = sum(spent_s), time.perf_counter()
        engine.render([requests[number % len(requests)]])
        yield time.perf_counter() - start, sum(spent_s) - before_s


def made_crop(template: TemplateName, size_px: int, seed: int) -> Crop:
    """The mean face's landmarks on something as smooth and as grainy as skin."""
    points = TEMPLATES[template].points_px(size_px).astype(np.float32)
    noise = np.random.default_rng(seed).normal(0, 40, (size_px, size_px, 3)).astype(np.float32)
    rgb = np.clip(cv2.GaussianBlur(noise, (0, 0), 2) + _SKIN, 0, 255).astype(np.uint8)
    return Crop(rgb, np.eye(3), points, template, seed)


class _Timed:
    """A session that tells how long each of its runs took."""

    def __init__(self, session: Any, spent_s: list[float]) -> None:
        self._session, self._spent_s = session, spent_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run_with_iobinding(self, binding: Any) -> None:
        start = time.perf_counter()
        self._session.run_with_iobinding(binding)
        self._spent_s.append(time.perf_counter() - start)


def _timed_sessions(spent_s: list[float]) -> Sessions:
    return Sessions(load=lambda path, providers: _Timed(load_session(path, providers), spent_s))


def _made_store(folder: Path, entry: Entry) -> Store:
    """A store with a made graph for the entry and for all that it works with."""
    store = Store(folder / "weights")
    made = [(entry, _network(entry)), (catalog()[RECOGNISER], _embedder((3, CHIP_PX, CHIP_PX)))]
    if name := entry.facts.get("embedding_converter"):
        made.append((catalog()[name], _embedder((EMBEDDING,))))
    for item, content in made:
        incoming = folder / item.name
        incoming.mkdir()
        for file in item.files:
            (incoming / file).write_bytes(content)
        store.add(item.name, incoming)
    return store


def _network(entry: Entry) -> bytes:
    """A swapper's signature around a column of convolutions. The embedding moves its middle, as it does in all of them.

    Weights are scaled so that values neither vanish nor grow. A last initializer stands for the map of identities.
    """
    side = int(entry.facts["size_px"])
    rng = np.random.default_rng(0)
    widths = [*[_WIDE] * (_WIDE_LAYERS + 1), _NARROW]
    weights = {
        "head": _random(rng, (_WIDE, 3, 3, 3)),
        **{f"w{i}": _random(rng, (after, before, 3, 3)) for i, (before, after) in enumerate(pairwise(widths))},
        "tail": _random(rng, (3, _NARROW, 3, 3)),
        "style": _random(rng, (EMBEDDING, _WIDE)),
        "last": np.eye(EMBEDDING, dtype=np.float32),
    }
    step = side // _LAYER_PX
    helper = import_module("onnx.helper")
    nodes = [
        _conv(helper, "target", "head", "x0", strides=[step, step]),
        helper.make_node("MatMul", ["source", "style"], ["told"]),
        helper.make_node("Unsqueeze", ["told", "axes"], ["told4"]),
        helper.make_node("Add", ["x0", "told4"], ["y0"]),
    ]
    for i in range(len(widths) - 1):
        nodes += [_conv(helper, f"y{i}", f"w{i}", f"x{i + 1}"), helper.make_node("Relu", [f"x{i + 1}"], [f"y{i + 1}"])]
    nodes += [
        helper.make_node("Resize", [f"y{len(widths) - 1}", "", "scales"], ["large"], mode="nearest"),
        _conv(helper, "large", "tail", "last_layer"),
        helper.make_node("Sigmoid", ["last_layer"], ["output"]),
    ]
    constants: dict[str, Array] = {
        "axes": np.array([2, 3], np.int64),
        "scales": np.array([1, 1, step, step], np.float32),
        **weights,
    }
    inputs = {"source": (1, EMBEDDING), "target": (1, 3, side, side)}
    return _graph(nodes, inputs, {"output": (1, 3, side, side)}, constants)


def _embedder(shape: tuple[int, ...]) -> bytes:
    """An embedding out of anything of `shape`: one small matrix."""
    helper = import_module("onnx.helper")
    nodes = [
        helper.make_node("Flatten", ["given"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("MatMul", ["mean", "weights"], ["embedding"]),
    ]
    weights = np.random.default_rng(1).normal(size=(1, EMBEDDING)).astype(np.float32)
    return _graph(nodes, {"given": (1, *shape)}, {"embedding": (1, EMBEDDING)}, {"weights": weights})


def _random(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    inputs = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
    return rng.normal(0, np.sqrt(2 / inputs), shape).astype(np.float32)


def _conv(helper: Any, given: str, weights: str, made: str, strides: Sequence[int] = (1, 1)) -> Any:
    return helper.make_node(
        "Conv", [given, weights], [made], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=list(strides)
    )


def _graph(
    nodes: Sequence[Any],
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, ...]],
    constants: dict[str, Array],
) -> bytes:
    """An ONNX file of floats."""
    helper, to_tensor = import_module("onnx.helper"), import_module("onnx.numpy_helper").from_array
    kind = import_module("onnx").TensorProto.FLOAT
    slots = [
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, shape in each.items()]
        for each in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "made", *slots, [to_tensor(value, name) for name, value in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=9)
    return bytes(model.SerializeToString())

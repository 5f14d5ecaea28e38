"""Small ONNX graphs with the signatures of public swappers, whose answers are known; and a store that holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from facexcli.types import Array
from facexcli.weights.catalog import Entry, catalog
from facexcli.weights.store import Store

EMBEDDING = 512


def install(folder: Path, name: str, graph: bytes | None = None, **options: Any) -> Store:
    """A store in `folder` with the swapper `name`, made by `swapper_graph`, and all that it works with."""
    store = Store(folder)
    entry = catalog()[name]
    add(store, name, {entry.files[0]: graph or swapper_graph(entry, **options)})
    recogniser = catalog()["buffalo_l"]
    add(store, "buffalo_l", {file: recogniser_graph() for file in recogniser.files})
    if converter := entry.facts.get("embedding_converter"):
        add(store, converter, {catalog()[converter].files[0]: converter_graph()})
    return store


def add(store: Store, name: str, files: dict[str, bytes]) -> None:
    if store.installed(name):
        return
    incoming = store.folder.parent / f"incoming-{name}"
    incoming.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (incoming / file).write_bytes(content)
    store.add(name, incoming)


def swapper_graph(
    entry: Entry, shows: str = "target", gain: tuple[float, float, float] = (1, 1, 1), mask: bool = False,
    batch: int | str = 1, half: bool = False, size_px: int | None = None,
    inputs: tuple[str, str] = ("source", "target"), emap: Array | None = None,
) -> bytes:  # fmt: skip
    """A swapper whose picture is the target times `gain` (red first), or which shows its source's embedding.

    `mask` adds a second output: 1 in the upper half of the picture. The values are those that the entry's facts
    declare.
    """
    facts = entry.facts
    size = size_px or int(facts["size_px"])
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    number = np.float16 if half else np.float32
    source, target = inputs
    mean, std, gains = (np.array(v, np.float64).reshape(1, 3, 1, 1) for v in (facts["mean"], facts["std"], gain))
    constants: dict[str, Array] = {}
    nodes = []
    if shows == "target":
        normalised = bool(facts.get("output_is_normalised"))
        # out = (in * std + mean) * gain, and normalised again where the graph is to answer so
        a, b = (gains, ((gains - 1) * mean / std)) if normalised else (std * gains, mean * gains)
        constants |= {"a": a.astype(number), "b": b.astype(number), "nothing": np.zeros((1, 1, 1, 1), number)}
        nodes += [
            helper.make_node("Mul", [target, "a"], ["scaled"]),
            helper.make_node("Add", ["scaled", "b"], ["moved"]),
            helper.make_node("ReduceMean", [source], ["meant"], axes=[1], keepdims=1),
            helper.make_node("Unsqueeze", ["meant", "two"], ["meant4"]),
            helper.make_node("Mul", ["meant4", "nothing"], ["zero"]),
            helper.make_node("Add", ["moved", "zero"], ["output"]),
        ]
        constants["two"] = np.array([2, 3], np.int64)
    else:
        rows = EMBEDDING // size
        constants |= {
            "shape": np.array([-1, 1, rows, size], np.int64), "tiles": np.array([1, 3, size // rows, 1], np.int64),
            "half": np.array(0.5, number), "nothing": np.array(0, number),
        }  # fmt: skip
        nodes += [
            helper.make_node("Reshape", [source, "shape"], ["row"]),
            helper.make_node("Tile", ["row", "tiles"], ["tiled"]),
            helper.make_node("Mul", ["tiled", "half"], ["halved"]),
            helper.make_node("Add", ["halved", "half"], ["shown"]),
            helper.make_node("Mul", [target, "nothing"], ["zero"]),
            helper.make_node("Add", ["shown", "zero"], ["output"]),
        ]
    outputs = [helper.make_tensor_value_info("output", kind, [batch, 3, size, size])]
    if mask:
        upper = np.zeros((1, 1, size, size), number)
        upper[:, :, : size // 2] = 1
        constants |= {"upper": upper, "none": np.array(0, number)}
        nodes += [
            helper.make_node("ReduceMean", ["output"], ["grey"], axes=[1], keepdims=1),
            helper.make_node("Mul", ["grey", "none"], ["black"]),
            helper.make_node("Add", ["black", "upper"], ["mask"]),
        ]
        outputs.append(helper.make_tensor_value_info("mask", kind, [batch, 1, size, size]))
    if facts.get("emap"):
        constants["emap"] = (np.eye(EMBEDDING, dtype=np.float32) if emap is None else emap).astype(number)
    slots = [
        helper.make_tensor_value_info(source, kind, [batch, EMBEDDING]),
        helper.make_tensor_value_info(target, kind, [batch, 3, size, size]),
    ]
    return model(nodes, slots, outputs, constants)


def recogniser_graph() -> bytes:
    """ArcFace's signature: coarse colours times a fixed random matrix, so that it is not of length 1 either."""
    weights = np.random.default_rng(5).normal(size=(147, EMBEDDING)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["input.1"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["683"]),
    ]
    return model(
        nodes,
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, ["None", 3, 112, 112])],
        [helper.make_tensor_value_info("683", TensorProto.FLOAT, ["None", EMBEDDING])],
        {"weights": weights},
    )


def parser_graph() -> bytes:
    """BiSeNet's signature: everything is of the class of the background."""
    weights = np.zeros((19, 3, 1, 1), np.float32)
    return model(
        [helper.make_node("Conv", ["input", "weights"], ["output"])],
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 512, 512])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 19, 512, 512])],
        {"weights": weights},
    )


def converter_graph() -> bytes:
    """A converter's signature: the embedding backwards, times 3."""
    flip = np.eye(EMBEDDING, dtype=np.float32)[::-1] * 3
    return model(
        [helper.make_node("MatMul", ["input", "flip"], ["output"])],
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", EMBEDDING])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", EMBEDDING])],
        {"flip": flip},
    )


def model(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Array]) -> bytes:
    initializers = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "made", inputs, outputs, initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=9)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())

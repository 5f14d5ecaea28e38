"""The paper's extractors, out of small graphs of the same form as the published ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("diffusers")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from facexcli.engines.facex.config import PRESETS, REGIONS  # noqa: E402
from facexcli.engines.facex.extractors import (  # noqa: E402
    ARCFACE,
    FeatureMap,
    extractor_names,
    inner_tensor,
    open_decomposer,
)
from facexcli.errors import WeightsError  # noqa: E402
from facexcli.types import Crop  # noqa: E402
from facexcli.weights.catalog import catalog  # noqa: E402
from facexcli.weights.store import Store  # noqa: E402


def weights(name: str, *shape: int) -> Any:
    values = np.random.default_rng(len(name)).standard_normal(shape, np.float32)
    return numpy_helper.from_array(values, name)


def arcface(path: Path, channels: int = 512, head: bool = True) -> Any:
    """A convolution to 512 x 7 x 7, batch normalisation; then flattened, a layer, and batch normalisation again."""
    nodes = [
        helper.make_node("Conv", ["input.1", "conv"], ["made"], strides=[16, 16]),
        helper.make_node("BatchNormalization", ["made", "g", "b", "m", "v"], ["inner"]),
    ]
    statistics = [
        numpy_helper.from_array(np.full(channels, value, np.float32), name)
        for name, value in (("g", 2.0), ("b", 0.5), ("m", 0.0), ("v", 1.0))
    ]
    given = [weights("conv", channels, 3, 16, 16), *statistics]
    if head:
        nodes += [
            helper.make_node("Flatten", ["inner"], ["flat"]),
            helper.make_node("Gemm", ["flat", "fc"], ["layer"]),
            helper.make_node("BatchNormalization", ["layer", "g4", "g4", "g4", "g4"], ["683"]),
        ]
        given += [weights("fc", channels * 49, 4), numpy_helper.from_array(np.ones(4, np.float32), "g4")]
    output = helper.make_tensor_value_info("683" if head else "inner", TensorProto.FLOAT, None)
    graph = helper.make_graph(
        nodes, "arcface",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, ["None", 3, 112, 112])], [output], given,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))
    return model


def bisenet(path: Path) -> None:
    """Nineteen scores a pixel; class 17, hair, is what is red, and class 1, skin, everything else."""
    kernel = np.zeros((19, 3, 1, 1), np.float32)
    kernel[17, 0] = 5.0
    bias = np.full(19, -9.0, np.float32)
    bias[[1, 17]] = 0.0
    nodes = [helper.make_node("Conv", ["input", "k", "b"], ["output"])]
    graph = helper.make_graph(
        nodes, "bisenet",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 512, 512])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 19, 512, 512])],
        [numpy_helper.from_array(kernel, "k"), numpy_helper.from_array(bias, "b")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))


def test_the_feature_map_before_the_embedding_is_taken_out(tmp_path: Path) -> None:
    model = arcface(tmp_path / "glintr100.onnx")
    assert inner_tensor(model.graph) == "inner"
    rgb = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    found = FeatureMap(tmp_path / "glintr100.onnx")(rgb)
    assert found.shape == (512, 7, 7) and found.dtype == np.float32
    session = ort.InferenceSession(str(tmp_path / "glintr100.onnx"), providers=["CPUExecutionProvider"])
    given = ((rgb.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None]
    (embedding,) = session.run(None, {"input.1": given})
    layer = found.reshape(1, -1) @ numpy_helper.to_array(
        next(each for each in model.graph.initializer if each.name == "fc")
    )
    np.testing.assert_allclose((layer - 1) / np.sqrt(1 + 1e-5) + 1, embedding, rtol=2e-3)


def test_another_graph_is_no_arcface(tmp_path: Path) -> None:
    arcface(tmp_path / "headless.onnx", head=False)
    with pytest.raises(WeightsError, match="not ArcFace"):
        FeatureMap(tmp_path / "headless.onnx")
    arcface(tmp_path / "narrow.onnx", channels=8)
    with pytest.raises(WeightsError, match=r"feature map is \(8, 7, 7\)"):
        FeatureMap(tmp_path / "narrow.onnx")(np.zeros((112, 112, 3), np.uint8))
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(WeightsError, match="not ArcFace"):
        FeatureMap(tmp_path / "text.onnx")


def test_without_onnx_there_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arcface(tmp_path / "glintr100.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(WeightsError, match="needs onnx") as caught:
        FeatureMap(tmp_path / "glintr100.onnx")
    assert "pip install" in caught.value.hint


def test_extractors_in_the_store_are_taken(tmp_path: Path, crop: Any) -> None:
    sd15 = PRESETS["sd15"]
    known = {name: replace(item, sha256={}, size_bytes={}) for name, item in catalog().items()}
    known["antelopev2"] = replace(known["antelopev2"], files=("glintr100.onnx",), archive=None)
    store = Store(tmp_path / "store", known)
    with pytest.raises(WeightsError, match="ArcFace") as caught:
        open_decomposer(sd15, store)
    assert f"facex models pull {ARCFACE[0]}" in caught.value.hint
    assert extractor_names(sd15, store)[1] == "regions landmarks"
    arcface(tmp_path / "glintr100.onnx")
    bisenet(tmp_path / "bisenet_resnet_34.onnx")
    store.add("antelopev2", tmp_path / "glintr100.onnx")
    store.add("bisenet_resnet_34", tmp_path / "bisenet_resnet_34.onnx")
    names = extractor_names(sd15, store)
    assert names == ("identity arcface", "regions bisenet", "motion landmarks", "gaze iris")
    decomposer = open_decomposer(sd15, store)
    face: Crop = crop(3)
    picture = np.zeros_like(face.rgb)
    picture[:32, :, 0] = 255
    facts = decomposer(replace(face, rgb=picture), who=True)
    assert facts.identity.shape == sd15.identity_shape
    assert facts.masks[REGIONS.index("hair"), :31].all() and not facts.masks[REGIONS.index("hair"), 33:].any()
    np.testing.assert_array_equal(facts.masks.sum(axis=0), 1)

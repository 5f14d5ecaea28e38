"""ONNX swappers, proven to the pixel on graphs whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facexcli.engines.base import EngineOptions
from facexcli.errors import DeviceError, NoFaceError, WeightsError
from facexcli.faces.align import TEMPLATES, arcface_chip, five_points
from facexcli.recipes import parse_take, recipe_named
from facexcli.types import Array, Crop, EditRequest, TemplateName
from facexcli.weights.catalog import catalog
from facexcli.weights.sessions import Sessions

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from facexcli.engines.onnx.engine import OnnxSwapEngine  # noqa: E402
from facexcli.engines.onnx.graph import read_graph  # noqa: E402
from tests.engines.graphs import add, install, model, recogniser_graph, swapper_graph  # noqa: E402

SWAPPERS = [entry for entry in catalog().values() if entry.kind == "swapper"]
ONE_OF_EACH = ("hyperswap_1a_256", "inswapper_128", "ghost_1_256", "simswap_256", "hififace_unofficial_256")
SWAP = recipe_named("swap")


def crop(template: TemplateName, size_px: int, seed: int = 0) -> Crop:
    """A face-like crop: noise, with the mean face's landmarks."""
    rgb = np.random.default_rng(seed).integers(0, 256, (size_px, size_px, 3), np.uint8)
    points = TEMPLATES[template].points_px(size_px).astype(np.float32)
    return Crop(rgb, np.eye(3), points, template, seed)


def crops(name: str, count: int) -> list[Crop]:
    facts = catalog()[name].facts
    return [crop(facts["template"], facts["size_px"], seed) for seed in range(count)]


def opened(folder: Path, name: str, *, graph: bytes | None = None, batch_size: int | None = None, **made: Any) -> Any:
    engine = OnnxSwapEngine(catalog()[name], install(folder / "weights", name, graph, **made), Sessions())
    engine.configure(EngineOptions(device="cpu", batch_size=batch_size))
    return engine


def swapped(engine: OnnxSwapEngine, name: str, count: int = 1) -> tuple[list[Crop], list[Any]]:
    source, *canvases = crops(name, count + 1)
    identity = engine.prepare([source])
    return canvases, engine.render([EditRequest(canvas, identity, SWAP) for canvas in canvases])


def embedding_shown(patch: Any, size_px: int, normalised: bool) -> Array:
    """What a graph that shows its source was given: float32 (512,)."""
    values = patch.rgb[: 512 // size_px, :, 0].ravel()
    values = values * 2 - 1 if normalised else values
    return values * 2 - 1


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_swapper_that_returns_its_target_returns_the_canvas(name: str, tmp_path: Path) -> None:
    engine = opened(tmp_path, name)
    (canvas,), (patch,) = swapped(engine, name)
    np.testing.assert_allclose(patch.rgb, canvas.rgb / np.float32(255), atol=1e-5)
    side = canvas.size_px
    assert patch.alpha[side // 2, side // 2] == 1 and patch.alpha[0].max() == patch.alpha[:, -1].max() == 0


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_red_is_the_first_channel(name: str, tmp_path: Path) -> None:
    (canvas,), (patch,) = swapped(opened(tmp_path, name, gain=(0.5, 1, 1)), name)
    expected = canvas.rgb / np.float32(255) * (0.5, 1, 1)
    np.testing.assert_allclose(patch.rgb, expected, atol=1e-5)


def test_a_mask_of_the_graph_is_the_patch_s_alpha(tmp_path: Path) -> None:
    _, (patch,) = swapped(opened(tmp_path, "hyperswap_1a_256", mask=True), "hyperswap_1a_256")
    assert patch.alpha[100, 128] == 1 and patch.alpha[140:].max() == 0


def test_halves_are_cast_as_the_graph_says(tmp_path: Path) -> None:
    (canvas,), (patch,) = swapped(opened(tmp_path, "inswapper_128_fp16", half=True), "inswapper_128_fp16")
    np.testing.assert_allclose(patch.rgb, canvas.rgb / np.float32(255), atol=1e-3)
    assert patch.rgb.dtype == np.float32


@pytest.mark.parametrize("inputs", [("target", "source"), ("latent", "picture")])
def test_inputs_are_told_apart_by_their_shapes(inputs: tuple[str, str], tmp_path: Path) -> None:
    (canvas,), (patch,) = swapped(opened(tmp_path, "inswapper_128", inputs=inputs), "inswapper_128")
    np.testing.assert_allclose(patch.rgb, canvas.rgb / np.float32(255), atol=1e-5)


def _arcface(crop: Crop) -> Array:
    """What the made recogniser answers, worked out by hand."""
    chip = arcface_chip(crop.rgb, crop.landmarks_px).astype(np.float64) / 127.5 - 1
    pooled = chip.reshape(7, 16, 7, 16, 3).mean(axis=(1, 3)).transpose(2, 0, 1).ravel()
    return np.asarray(pooled @ np.random.default_rng(5).normal(size=(147, 512)).astype(np.float32))


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))


def test_hyperswap_takes_the_unit_embedding_of_the_mean_still(tmp_path: Path) -> None:
    engine = opened(tmp_path, "hyperswap_1a_256", shows="source")
    first, second, canvas = crops("hyperswap_1a_256", 3)
    (patch,) = engine.render([EditRequest(canvas, engine.prepare([first, second]), SWAP)])
    expected = _unit((_arcface(first) + _arcface(second)) / 2)
    np.testing.assert_allclose(embedding_shown(patch, 256, normalised=True), expected, atol=1e-4)


def test_inswapper_takes_it_through_the_graph_s_last_initializer(tmp_path: Path) -> None:
    emap = np.random.default_rng(3).normal(size=(512, 512)).astype(np.float32)
    engine = opened(tmp_path, "inswapper_128", shows="source", emap=emap)
    still, canvas = crops("inswapper_128", 2)
    (patch,) = engine.render([EditRequest(canvas, engine.prepare([still]), SWAP)])
    expected = _unit(_unit(_arcface(still)) @ emap)
    np.testing.assert_allclose(embedding_shown(patch, 128, normalised=False), expected, atol=1e-4)


def test_simswap_takes_a_converted_embedding_of_length_1(tmp_path: Path) -> None:
    engine = opened(tmp_path, "simswap_256", shows="source")
    still, canvas = crops("simswap_256", 2)
    (patch,) = engine.render([EditRequest(canvas, engine.prepare([still]), SWAP)])
    np.testing.assert_allclose(embedding_shown(patch, 256, False), _unit(_arcface(still))[::-1], atol=1e-4)


def test_ghost_takes_a_converted_embedding_of_its_own_length(tmp_path: Path) -> None:
    engine = opened(tmp_path, "ghost_1_256", shows="source")
    still = crops("ghost_1_256", 1)[0]
    state = engine.prepare([still])
    np.testing.assert_allclose(state.source[0], 3 * _arcface(still)[::-1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("entry", SWAPPERS, ids=lambda entry: entry.name)
def test_the_templates_are_those_of_the_catalog(entry: Any) -> None:
    """The mean face lies where the five points on which the swapper was trained lie, within the fit's own error."""
    side = entry.facts["size_px"]
    placed = five_points(TEMPLATES[entry.facts["template"]].points_px(side))
    published = np.array(entry.facts["template_points"]) * side
    assert np.abs(placed - published).max() < 0.012 * side
    assert np.abs((placed - published).mean(axis=0)).max() < 0.005 * side


@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_a_free_batch_axis_gives_the_same_patches(batch_size: int | None, tmp_path: Path) -> None:
    engine = opened(tmp_path, "inswapper_128", batch="batch", batch_size=batch_size)
    assert engine.spec.batch == (batch_size or 1), "what the engine likes to be given"
    canvases, patches = swapped(engine, "inswapper_128", 4)
    for canvas, patch in zip(canvases, patches, strict=True):
        np.testing.assert_allclose(patch.rgb, canvas.rgb / np.float32(255), atol=1e-5)


def test_a_fixed_batch_axis_is_respected(tmp_path: Path) -> None:
    canvases, patches = swapped(opened(tmp_path, "inswapper_128", batch_size=4), "inswapper_128", 3)
    assert len(patches) == len(canvases) == 3


def test_a_region_of_a_third_person_comes_from_their_identity(tmp_path: Path) -> None:
    engine = opened(tmp_path, "inswapper_128", shows="source")
    source, canvas, third = crops("inswapper_128", 3)
    recipe, _ = parse_take(SWAP, ["lips=third.jpg"])
    identity = engine.prepare([source])
    (alone,) = engine.render([EditRequest(canvas, identity, SWAP)])
    (theirs,) = engine.render([EditRequest(canvas, engine.prepare([third]), SWAP)])
    (mixed,) = engine.render([EditRequest(canvas, identity, recipe, {"lips": third})])
    x, y = canvas.landmarks_px[62].astype(int)
    np.testing.assert_allclose(mixed.rgb[y, x], theirs.rgb[y, x], atol=0.02)
    np.testing.assert_array_equal(mixed.rgb[:8], alone.rgb[:8])


@pytest.mark.parametrize(
    "wrong",
    [
        swapper_graph(catalog()["inswapper_128"], size_px=256),
        recogniser_graph(),
        swapper_graph(catalog()["ghost_1_256"]),
        swapper_graph(catalog()["simswap_256"], size_px=128),
    ],
    ids=["another size", "no swapper", "another swapper", "no map of identities"],
)
def test_another_signature_is_told_before_anything_is_run(wrong: bytes, tmp_path: Path) -> None:
    engine = OnnxSwapEngine(catalog()["inswapper_128"], install(tmp_path / "weights", "inswapper_128"), Sessions())
    (tmp_path / "own.onnx").write_bytes(wrong)
    with pytest.raises(WeightsError, match=r"own\.onnx") as caught:
        engine.configure(EngineOptions(device="cpu", weights=tmp_path / "own.onnx"))
    assert "expected" in caught.value.message or "map of identities" in caught.value.message
    assert "inswapper_128" in caught.value.hint


def test_what_is_not_installed_says_how_to_get_it(tmp_path: Path) -> None:
    from facexcli.weights.store import Store

    engine = OnnxSwapEngine(catalog()["inswapper_128"], Store(tmp_path))
    with pytest.raises(WeightsError) as caught:
        engine.configure(EngineOptions(device="cpu"))
    assert "facex models pull inswapper_128" in caught.value.hint


def test_weights_of_one_s_own_take_the_place_of_the_catalog_s(tmp_path: Path) -> None:
    store = install(tmp_path / "weights", "inswapper_128")
    own = tmp_path / "own.onnx"
    own.write_bytes(swapper_graph(catalog()["inswapper_128"], gain=(0, 0, 0)))
    engine = OnnxSwapEngine(catalog()["inswapper_128"], store, Sessions())
    engine.configure(EngineOptions(device="cpu", weights=own))
    _, (patch,) = swapped(engine, "inswapper_128")
    assert patch.rgb.max() == 0
    with pytest.raises(WeightsError, match="no file"):
        engine.configure(EngineOptions(device="cpu", weights=tmp_path))


def test_a_network_that_answers_with_no_picture_is_an_error(tmp_path: Path) -> None:
    engine = opened(tmp_path, "inswapper_128", gain=(np.nan, 1, 1))
    with pytest.raises(WeightsError, match="no picture"):
        swapped(engine, "inswapper_128")


def test_a_recogniser_that_answers_with_nothing_is_an_error(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    silent = model(
        [helper.make_node("Mul", ["input", "zero"], ["many"]), helper.make_node("Flatten", ["many"], ["flat"]),
         helper.make_node("Slice", ["flat", "from", "to", "axis"], ["answer"])],
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 512])],
        {"zero": np.zeros(1, np.float32), "from": np.array([0]), "to": np.array([512]), "axis": np.array([1])},
    )  # fmt: skip
    from facexcli.weights.store import Store

    add(Store(tmp_path / "weights"), "buffalo_l", {file: silent for file in catalog()["buffalo_l"].files})
    engine = opened(tmp_path, "inswapper_128")
    with pytest.raises(WeightsError, match=r"w600k_r50\.onnx: answered with no embedding"):
        engine.prepare(crops("inswapper_128", 1))


def test_no_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NoFaceError):
        opened(tmp_path, "inswapper_128").prepare([])


class _NoCuda(Sessions):
    """A machine on which CUDA is offered and does not start."""

    def __init__(self) -> None:
        super().__init__(load=self._refuse)

    @staticmethod
    def _refuse(path: Path, providers: Sequence[str]) -> Any:
        from facexcli.weights.sessions import load_session

        if providers[0].startswith("CUDA"):
            raise DeviceError("CUDA does not start here")
        return load_session(path, providers)


def test_a_card_that_does_not_start_is_told_and_the_cpu_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from facexcli.engines.onnx import providers

    monkeypatch.setattr(providers, "available", lambda: ("CUDAExecutionProvider", "CPUExecutionProvider"))
    monkeypatch.setattr(providers, "_has_nvidia_card", lambda: True)
    engine = OnnxSwapEngine(catalog()["inswapper_128"], install(tmp_path / "w", "inswapper_128"), _NoCuda())
    engine.configure(EngineOptions(device="auto"))
    assert "CUDA" in engine.runs_on
    _, (patch,) = swapped(engine, "inswapper_128")
    assert patch.warnings == ("inswapper_128 runs on the CPU: CUDA does not start here",)
    engine.configure(EngineOptions(device="cuda"))
    with pytest.raises(DeviceError):
        engine.prepare(crops("inswapper_128", 1))


def test_a_graph_is_read_as_onnx_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    path.write_bytes(
        swapper_graph(catalog()["inswapper_128"], batch="batch", emap=np.arange(512.0**2).reshape(512, 512))
    )
    graph = read_graph(path)
    slots = {slot.name: (slot.dtype, slot.shape) for slot in (*graph.inputs, *graph.outputs)}
    assert slots == {
        "source": ("float32", (None, 512)),
        "target": ("float32", (None, 3, 128, 128)),
        "output": ("float32", (None, 3, 128, 128)),
    }
    assert graph.last_initializer is not None
    np.testing.assert_array_equal(graph.last_initializer.ravel(), np.arange(512.0**2, dtype=np.float32))


def test_numbers_that_are_not_raw_are_read_too(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    made = onnx.load_from_string(recogniser_graph())
    made.graph.initializer.append(helper.make_tensor("last", TensorProto.FLOAT, [2, 2], [1, 2, 3, 0.5]))
    path = tmp_path / "graph.onnx"
    path.write_bytes(made.SerializeToString())
    found = read_graph(path).last_initializer
    assert found is not None
    np.testing.assert_array_equal(found, [[1, 2], [3, 0.5]])


def test_a_damaged_graph_is_a_weights_error_and_nothing_else(tmp_path: Path) -> None:
    whole = recogniser_graph()
    path = tmp_path / "graph.onnx"
    rng = np.random.default_rng(0)
    read = 0
    for trial in range(300):
        damaged = bytearray(whole[: int(rng.integers(0, len(whole)))] if trial % 2 else whole)
        for _ in range(8):
            if damaged:
                damaged[int(rng.integers(0, min(len(damaged), 400)))] = int(rng.integers(0, 256))
        path.write_bytes(damaged)
        try:
            read_graph(path)
            read += 1
        except WeightsError as error:
            assert "graph.onnx" in error.message
    assert read < 250

"""What `--engine auto` takes, and what it says: with nothing installed, with some of it, with all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from facexcli.engines import auto
from facexcli.engines.auto import choose_engine
from facexcli.engines.base import EngineOptions
from facexcli.engines.registry import engine_factories, open_engine
from facexcli.errors import DeviceError, UsageError, WeightsError
from facexcli.weights.catalog import catalog
from facexcli.weights.store import Store

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from facexcli.engines.onnx import providers
from facexcli.engines.onnx.providers import providers_for
from tests.engines.graphs import add, install, swapper_graph

ON_CPU = EngineOptions(device="cpu")
CUDA = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return tmp_path / "weights"


def test_with_nothing_installed_it_says_how_to_get_better_results(weights: Path) -> None:
    name, reason = choose_engine("swap", ON_CPU, Store(weights))
    assert name == "mesh"
    assert "facex models pull inswapper_128" in reason and "buffalo_l" in reason and "non-commercial" in reason


def test_the_best_family_that_is_complete_is_taken(weights: Path) -> None:
    install(weights, "ghost_1_256")
    assert choose_engine("swap", ON_CPU, Store(weights))[0] == "ghost_1_256"
    install(weights, "inswapper_128")
    name, reason = choose_engine("swap", ON_CPU, Store(weights))
    assert name == "inswapper_128" and "ghost_1_256" in reason


def test_halves_are_for_cards_and_floats_for_processors(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(weights, "inswapper_128")
    install(weights, "inswapper_128_fp16", half=True)
    assert choose_engine("swap", ON_CPU, Store(weights))[0] == "inswapper_128"
    monkeypatch.setattr(providers, "available", lambda: CUDA)
    assert choose_engine("swap", EngineOptions(device="cuda"), Store(weights))[0] == "inswapper_128_fp16"


def test_a_swapper_without_its_companion_says_what_is_missing(weights: Path) -> None:
    add(Store(weights), "inswapper_128", {"inswapper_128.onnx": swapper_graph(catalog()["inswapper_128"])})
    name, reason = choose_engine("swap", ON_CPU, Store(weights))
    assert name == "mesh" and "facex models pull buffalo_l" in reason


def test_a_swapper_without_onnxruntime_says_so(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(weights, "inswapper_128")
    monkeypatch.setattr(auto, "find_spec", lambda name: None)
    name, reason = choose_engine("swap", ON_CPU, Store(weights))
    assert name == "mesh" and "onnxruntime" in reason


def test_what_no_swapper_can_do_is_the_embedded_engine_s(weights: Path) -> None:
    install(weights, "inswapper_128")
    assert choose_engine("reenact", ON_CPU, Store(weights))[0] == "mesh"


def test_the_choice_says_where_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEX_HOME", str(tmp_path))
    install(tmp_path / "data" / "weights", "inswapper_128")
    choice = open_engine("auto", "swap", ON_CPU)
    assert choice.engine.spec.name == "inswapper_128"
    assert choice.reason.endswith("runs on the CPU, as asked")


def test_every_swapper_of_the_catalog_is_an_engine() -> None:
    names = {entry.name for entry in catalog().values() if entry.kind == "swapper"}
    assert names <= set(engine_factories())
    with pytest.raises(UsageError, match="cannot do"):
        open_engine("inswapper_128", "reenact", ON_CPU)
    with pytest.raises(WeightsError, match="not installed"):
        open_engine("inswapper_128", "swap", ON_CPU)


@pytest.mark.parametrize(
    ("device", "names"),
    [
        ("cpu", ("CPUExecutionProvider",)),
        ("cuda", ("CUDAExecutionProvider", "CPUExecutionProvider")),
        ("cuda:2", ("CUDAExecutionProvider:2", "CPUExecutionProvider")),
        ("tensorrt:1", ("TensorrtExecutionProvider:1", "CUDAExecutionProvider:1", "CPUExecutionProvider")),
        ("auto", ("CUDAExecutionProvider", "CPUExecutionProvider")),
    ],
)
def test_providers_follow_the_device(device: str, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "available", lambda: CUDA)
    monkeypatch.setattr(providers, "_has_nvidia_card", lambda: True)
    assert providers_for(device).names == names


def test_auto_takes_the_cpu_where_no_card_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "available", lambda: CUDA)
    monkeypatch.setattr(providers, "_has_nvidia_card", lambda: False)
    assert providers_for("auto").is_cpu


def test_coreml_is_for_machines_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="CoreML"):
        providers_for("coreml")
    monkeypatch.setattr(providers, "available", lambda: ("CoreMLExecutionProvider", "CPUExecutionProvider"))
    assert providers_for("auto").names[0] == providers_for("coreml").names[0] == "CoreMLExecutionProvider"
    with pytest.raises(UsageError, match="unknown device"):
        providers_for("coreml:1")

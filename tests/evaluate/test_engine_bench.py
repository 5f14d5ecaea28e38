"""The bench of engines, on few faces and small networks; no time is asserted."""

from __future__ import annotations

import pytest

from facexcli.errors import UsageError
from facexcli.evaluate import engine_bench
from facexcli.evaluate.engine_bench import bench_engine, made_gflop
from facexcli.weights.catalog import catalog


def test_the_made_network_is_of_inswapper_s_size() -> None:
    assert made_gflop(catalog()["inswapper_128"]) == pytest.approx(37, abs=0.5)


@pytest.mark.parametrize("name", ["inswapper_128", "ghost_1_256"])
def test_a_swapper_is_measured_with_a_made_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(engine_bench, "_WIDE", 4)
    monkeypatch.setattr(engine_bench, "_NARROW", 3)
    cost = bench_engine(name, faces=2)
    assert cost.session_ms is not None and 0 < cost.session_ms < cost.face_ms
    assert cost.overhead is not None and cost.overhead > 0
    assert cost.gflop_per_s is not None and cost.gflop_per_s > 0
    assert "CPU" in cost.runs_on


def test_other_engines_have_no_network() -> None:
    cost = bench_engine("mesh", faces=2)
    assert cost.face_ms > 0 and cost.session_ms is cost.overhead is cost.gflop_per_s is None


def test_an_unknown_engine_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        bench_engine("inswaper_128")
    assert "inswapper_128" in caught.value.hint

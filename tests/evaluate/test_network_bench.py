"""The bench of FaceX's network, on the smallest one."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from facexcli.cli.app import main  # noqa: E402
from facexcli.engines.facex.config import PRESETS  # noqa: E402
from facexcli.engines.facex.cost import flop_of_stages, flop_per_face  # noqa: E402
from facexcli.errors import DeviceError, UsageError  # noqa: E402
from facexcli.evaluate import network_bench  # noqa: E402
from facexcli.evaluate.network_bench import bench_network  # noqa: E402

STAGES = {"tokens", "reference", "keys", "encode", "steps", "decode"}


def test_every_stage_is_timed_and_counted() -> None:
    cost = bench_network("tiny", size_px=128, steps=2, device="cpu", batch=2, faces=4, compiled=False)
    (run,) = cost.runs
    assert {stage.name for stage in run.stages} == STAGES | {"copies"}
    assert all(stage.ms >= 0 for stage in run.stages) and run.wall_ms > 0 and run.peak_mib > 0
    config = PRESETS["tiny"].model_copy(update={"size_px": 128})
    assert run.tflop == pytest.approx(flop_per_face(config, 2) / 1e12)
    assert run.tflop_per_s == pytest.approx(run.tflop / (run.wall_ms / 1000))
    assert (cost.size_px, cost.steps, cost.batch, cost.dtype) == (128, 2, 2, "float32")


@pytest.mark.slow
def test_what_was_exported_is_timed_beside_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["bench", "engine", "facex", "--faces", "3", "--device", "cpu", "--no-compile", "--onnx"]
    assert main([*arguments, "--config", "sd15"]) == 2
    assert main([*arguments, "--config", "tiny", "--batch-size", "2"]) == 2
    assert "one face at a time" in capsys.readouterr().err
    pytest.importorskip("onnxscript")
    assert main([*arguments, "--config", "tiny", "--steps", "2", "--json"]) == 0
    eager, graph = json.loads(capsys.readouterr().out)["runs"]
    assert (eager["mode"], graph["mode"]) == ("eager", "onnxruntime")
    assert [stage["name"] for stage in eager["stages"]] == [stage["name"] for stage in graph["stages"]]
    assert graph["wall_ms"] > 0 and graph["cpu_ms"] > 0


def test_stages_add_up_to_a_face() -> None:
    config = PRESETS["compact"]
    stages = flop_of_stages(config, 6)
    assert set(stages) == STAGES and sum(stages.values()) == flop_per_face(config, 6)
    assert stages["steps"] == 6 * flop_of_stages(config, 1)["steps"] > 0.9 * sum(stages.values())


def test_the_command_shows_both_ways_side_by_side(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(function: object, **options: object) -> object:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", lambda function, **options: lambda *given: broken(function))
    arguments = ["bench", "engine", "facex", "--config", "tiny", "--steps", "1", "--faces", "3", "--device", "cpu"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "eager" in said and "compiled" in said and "of the matrix product" in said
    assert "no compiler here" in said, "it says why the second way was not what it was to be"
    assert main([*arguments, "--no-compile", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["config"] == "tiny" and len(told["runs"]) == 1


def test_what_cannot_be_timed_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="tinny"):
        bench_network("tinny")
    with pytest.raises(UsageError, match="--size 65"):
        bench_network("tiny", size_px=65)
    with pytest.raises(DeviceError):
        bench_network("tiny", device="cuda:99")
    for wrong in (["mesh", "--config", "tiny"], ["facex", "--dtype", "fp99"]):
        assert main(["bench", "engine", *wrong]) == 2
    capsys.readouterr()

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(network_bench, "_random_network", full)
    with pytest.raises(DeviceError, match="not enough memory") as caught:
        bench_network("tiny", device="cpu")
    assert "--batch-size 1" in caught.value.hint

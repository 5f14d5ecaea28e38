"""FaceX learns: what is frozen stays, what is trained moves, and a checkpoint works in the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("accelerate")

import torch
from safetensors.torch import load_file

from facexcli.cli.app import main
from facexcli.engines.facex.backbone import load_network
from facexcli.engines.facex.checkpoint import load_checkpoint
from facexcli.engines.facex.config import PRESETS, REGIONS
from facexcli.engines.facex.model import BACKBONE, TRAINED, FaceXNetwork
from facexcli.errors import UsageError
from facexcli.events import SilentReporter
from facexcli.media.image import read_image
from facexcli.media.probe import probe
from facexcli.train.batches import packed, tensors_of, unpacked
from facexcli.train.begin import chosen_config, first_network
from facexcli.train.facex import TrainableFaceX, freeze
from facexcli.train.loop import TrainingOptions, train
from facexcli.train.metrics import read_metrics
from facexcli.train.pairs import draw
from facexcli.train.shards import Index, PreparedFaces

TINY = PRESETS["tiny"]
OPTIONS = TrainingOptions(20, 4, learning_rate=1e-3, warmup_steps=1, log_every=10, validate_every=1000, device="cpu")


@pytest.fixture
def network(tmp_path: Path) -> FaceXNetwork:
    return first_network(TINY, None, tmp_path, 0)


def test_twenty_steps_leave_the_frozen_parts_bit_for_bit_and_move_all_others(
    network: FaceXNetwork, prepared: Any, tmp_path: Path
) -> None:
    network.requires_grad_(True)
    for part in BACKBONE:
        getattr(network, part).requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    train(_WithoutEars(network, prepared, "mixed"), tmp_path, OPTIONS, SilentReporter())
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    trainable = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert {name.partition(".")[0] for name in trainable} == set(TRAINED)
    assert moved == trainable


class _WithoutEars(TrainableFaceX):
    """Of faces whose ears are not to be seen, so that the token of what is absent is learned too."""

    def batch(self, key: int, size: int) -> Any:
        batch = dict(super().batch(key, size))
        batch["source/masks"][:, REGIONS.index("ears")] = 0
        return batch


def test_an_embedded_network_is_trained_whole_and_one_of_the_paper_on_top_of_its_backbone(
    network: FaceXNetwork,
) -> None:
    freeze(network)
    assert all(parameter.requires_grad for parameter in network.parameters())
    with torch.device("meta"):
        large = FaceXNetwork(PRESETS["sd15"])
    freeze(large)
    parts = {name.partition(".")[0] for name, parameter in large.named_parameters() if parameter.requires_grad}
    assert parts == set(TRAINED)
    freeze(large, ["unet", "clip"])
    parts = {name.partition(".")[0] for name, parameter in large.named_parameters() if parameter.requires_grad}
    assert parts == {*TRAINED, "unet", "encoder"}


def test_a_public_part_that_is_trained_is_saved_beside_the_checkpoint(
    network: FaceXNetwork, prepared: Any, tmp_path: Path
) -> None:
    TrainableFaceX(network, prepared, "swap", public=["unet"]).save(tmp_path / "best.safetensors")
    loaded = load_network(tmp_path / "best", tmp_path / "best" / "unet")
    assert torch.equal(loaded.unet.conv_in.weight, network.unet.conv_in.weight)


def test_a_training_taken_up_again_is_the_same_bit_for_bit(prepared: Any, tmp_path: Path) -> None:
    def run(folder: str, steps: int, resume: bool = False) -> None:
        (tmp_path / folder).mkdir(exist_ok=True)
        network = first_network(TINY, None, tmp_path, 0)
        options = TrainingOptions(
            steps, 2, learning_rate=1e-3, log_every=1, validate_every=1000, device="cpu", resume=resume
        )
        train(TrainableFaceX(network, prepared, "swap"), tmp_path / folder, options, SilentReporter())

    run("whole", 4)
    run("parts", 2)
    run("parts", 4, resume=True)
    losses = [[row["loss"] for row in read_metrics(tmp_path / name / "metrics.csv")[1:]] for name in ("whole", "parts")]
    assert losses[0] == losses[1] and len(losses[0]) == 4
    whole, parts = (load_file(str(tmp_path / name / "last.safetensors")) for name in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_loss_falls_on_two_samples_that_are_seen_again_and_again(network: FaceXNetwork, prepared: Any) -> None:
    trainable = TrainableFaceX(network, prepared, "swap", outside=0.1)
    batch = trainable.batch(1, 2)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)

    def loss(key: int) -> torch.Tensor:
        return trainable.loss(batch, torch.Generator().manual_seed(key))

    with torch.no_grad():
        before = np.mean([float(loss(key)) for key in range(100, 108)])
    for step in range(60):
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()
    with torch.no_grad():
        after = np.mean([float(loss(key)) for key in range(100, 108)])
    assert after < 0.75 * before


def test_a_loss_without_weight_outside_does_not_look_there(network: FaceXNetwork, prepared: Any) -> None:
    trainable = TrainableFaceX(network, prepared, "swap", outside=0.0)
    batch = dict(trainable.batch(1, 2))
    kept = batch["edited"] == 0
    with torch.no_grad():
        first = trainable.loss(batch, torch.Generator().manual_seed(0))
        assert torch.isfinite(first) and kept.any()
        batch["edited"] = torch.full_like(batch["edited"], 255)
        assert not torch.equal(trainable.loss(batch, torch.Generator().manual_seed(0)), first)


def test_validation_says_the_same_every_time_and_knows_the_best_single_colour(
    network: FaceXNetwork, prepared: Any
) -> None:
    trainable = TrainableFaceX(network.eval(), prepared, "mixed")
    first, second = trainable.validate(), trainable.validate()
    assert first == second
    assert first.values["swap_psnr"] < first.values["swap_psnr_fill"]  # nothing is learned yet
    grid = trainable.grid()
    assert grid.dtype == np.uint8 and grid.shape[1] == 12 * 128


def test_batches_travel_as_bytes_and_come_out_as_they_were(network: FaceXNetwork, prepared: Any) -> None:
    whole = tensors_of(draw(prepared, prepared.index.files, "mixed", 4, np.random.default_rng(0)))
    small = packed(whole)
    assert sum(value.nbytes for value in small.values()) < 0.3 * sum(value.nbytes for value in whole.values())
    for name, value in unpacked(small).items():
        assert value.dtype == whole[name].dtype and (value.float() - whole[name].float()).abs().max() < 0.003, name


def test_a_network_is_compiled_where_that_works_and_trained_as_it_is_where_not(
    network: FaceXNetwork, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainable = TrainableFaceX(network, prepared, "swap", drop=0.0)
    batch = trainable.batch(1, 2)
    plain = trainable.loss(batch, torch.Generator().manual_seed(0))
    said: list[str] = []

    def failing(*_: object, **__: object) -> Any:
        def run(*_: object) -> None:
            raise RuntimeError("no compiler here")

        return run

    for compiler, told in ((failing, 1), (lambda function, dynamic: function, 1)):
        monkeypatch.setattr(torch, "compile", compiler)
        trainable.compile(said.append)
        assert torch.equal(trainable.loss(batch, torch.Generator().manual_seed(0)), plain)
        assert len(said) == told and "no compiler here" in said[0]
        assert all(parameter.grad is None for parameter in network.parameters())
    TrainableFaceX(network, prepared, "swap").compile(said.append)
    assert "--drop 0" in said[1]


def test_a_single_file_is_learned_from_and_judged_by(
    network: FaceXNetwork, prepared: Any, prepared_folder: Path
) -> None:
    index = Index("", (), prepared.index.files[:1], ())
    alone = TrainableFaceX(network.eval(), PreparedFaces(prepared_folder, index), "swap")
    assert alone.judged_by_learned and not TrainableFaceX(network, prepared, "swap").judged_by_learned
    assert np.isfinite(alone.validate().score)


def test_configurations_and_beginnings_that_cannot_be_meant_are_refused(tmp_path: Path, network: FaceXNetwork) -> None:
    variant = tmp_path / "variant.toml"
    fields = json.loads(TINY.model_dump_json())
    unet = fields.pop("unet")
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    lines += ["[unet]", *(f"{name} = {json.dumps(value)}" for name, value in unet.items())]
    variant.write_text("\n".join(lines), "utf-8")
    assert chosen_config(str(variant)) == TINY
    variant.write_text("\n".join(lines).replace("width =", "with ="), "utf-8")
    with pytest.raises(UsageError, match=r"variant\.toml"):
        chosen_config(str(variant))
    with pytest.raises(UsageError, match="unknown configuration"):
        chosen_config("tinny")
    with pytest.raises(UsageError, match="no such file"):
        first_network(TINY, tmp_path / "nowhere", tmp_path, 0)


def test_a_network_trained_by_the_command_swaps_a_clip(
    people: Path, eval_data: Path, prepared_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "net"
    arguments = [
        "train", "facex", "--config", "tiny", "--data", str(people), "--out", str(out), "--prepared",
        str(prepared_folder), "--views", "2", "--frames", "4", "--batch-size", "2", "--device", "cpu",
    ]  # fmt: skip
    assert main([*arguments, "--steps", "2"]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(out / "best.safetensors")
    assert "2 of 7 files are left out" in said.err and "extractors: identity dlib" in said.err
    assert read_image(out / "grid.png").shape[2] == 3
    assert load_checkpoint(out / "best.safetensors").config == TINY
    assert main([*arguments, "--steps", "3"]) == 2 and "--resume" in capsys.readouterr().err
    assert main([*arguments, "--steps", "3", "--resume"]) == 0
    assert [row["step"] for row in read_metrics(out / "metrics.csv")] == [0, 2, 3]
    clip, still = eval_data / "talking" / "grid_brbk7n.mpg", eval_data / "london" / "033_neutral.jpg"
    video = tmp_path / "out.mp4"
    options = ["--engine", "facex", "--weights", str(out / "best.safetensors"), "--steps", "2", "--trim", "#0..#3"]
    assert main(["swap", str(still), str(clip), *options, "-o", str(video), "--progress", "none"]) == 0
    assert probe(video).kind == "video"

"""Recipes of trainings: who has the last word, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("accelerate")

import torch

from facexcli.cli.app import main
from facexcli.config import load_preset, preset_names, training_recipe_names
from facexcli.engines.facex.checkpoint import load_checkpoint
from facexcli.engines.facex.config import PRESETS
from facexcli.engines.facex.model import FaceXNetwork
from facexcli.errors import UsageError
from facexcli.train.begin import chosen_config
from facexcli.train.metrics import read_metrics
from facexcli.train.recipe import chosen_recipe


def test_the_recipe_of_compact_is_for_the_compact_configuration_and_no_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = chosen_recipe("train-compact", {})
    config = chosen_config(recipe.config, recipe.network)
    assert config == PRESETS["compact"]
    assert recipe.half and recipe.augment == "strong" and recipe.minutes is not None and recipe.minutes < 8
    assert "train-compact" in training_recipe_names() and "train-compact" not in preset_names()
    with pytest.raises(UsageError):
        load_preset("train-compact")
    assert main(["presets", "show", "train-compact"]) == 0
    copied = tmp_path / "copied.toml"
    copied.write_text(capsys.readouterr().out, "utf-8")
    assert chosen_recipe(str(copied), {}) == recipe


def test_the_command_line_wins_over_a_recipe_and_a_recipe_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('config = "tiny"\nsteps = 7\nbatch_size = 3\n[network.unet]\nchannels = [64, 64]\n', "utf-8")
    recipe = chosen_recipe(str(file), {"steps": 9}).settled(embedded=True)
    assert (recipe.steps, recipe.batch_size, recipe.task, recipe.augment) == (9, 3, "mixed", "light")
    assert chosen_config(recipe.config, recipe.network).unet.channels == (64, 64)
    assert chosen_recipe(None, {}).settled(embedded=False).task == "generalist"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('agument = "none"', "unknown key 'agument'", "did you mean 'augment'?"),
        ("steps = 0", "steps = 0", ""),
        ('augment = "heavy"', "augment = 'heavy'", ""),
        ('task = "swop"', "must be one of swap", ""),
        ("steps = ", "not TOML", ""),
    ],
)
def test_what_a_recipe_cannot_say_is_refused(tmp_path: Path, text: str, message: str, hint: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(UsageError) as caught:
        chosen_recipe(str(file), {})
    assert "mine.toml" in caught.value.message and message in caught.value.message and hint in caught.value.hint


def test_a_name_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        chosen_recipe("train-compakt", {})
    assert "train-compact" in caught.value.hint
    with pytest.raises(UsageError, match="--augment"):
        chosen_recipe("train-compact", {"augment": "heavy"})
    with pytest.raises(UsageError, match="residual"):
        chosen_config("tiny", {"prediction": "v_prediction", "residual": True})


def test_a_network_with_the_reference_added_answers_with_it_at_the_beginning() -> None:
    config = chosen_config("tiny", {"residual": True})
    network = FaceXNetwork(config).eval()
    picture, hole = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    channels = network.reference_channels(picture, hole)
    noise = torch.randn(1, config.latent_channels, config.latent_px, config.latent_px)
    with torch.no_grad():
        found = network.denoise(noise, torch.tensor(500), network.null_steering(1), channels, None)
    assert torch.equal(network.codec.decode(found), picture)


def test_a_training_goes_on_with_its_weights_in_half_precision_alone(
    people: Path, prepared_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = tmp_path / "mine.toml", tmp_path / "net"
    prepared = tmp_path / "prepared"
    for folder in (prepared, prepared / "also-judge"):
        shutil.copytree(prepared_folder, folder)
    recipe.write_text('config = "tiny"\nviews = 2\nbatch_size = 2\nhalf = true\ndrop = 0\n', "utf-8")
    arguments = [
        "train", "facex", "--recipe", str(recipe), "--data", str(people), "--out", str(out), "--prepared",
        str(prepared), "--device", "cpu", "--also-judge", str(people),
    ]  # fmt: skip
    assert main([*arguments, "--steps", "2"]) == 0
    assert "step 2 of 2 (100.0%), 4 samples; best score" in capsys.readouterr().err
    assert (out / "last.safetensors").stat().st_size < 2.2 * sum(
        parameter.numel() for parameter in load_checkpoint(out / "last.safetensors").parameters()
    )
    (out / "last.state").unlink()
    before = read_metrics(out / "metrics.csv")
    assert {"val_psnr", "val_eval_psnr", "val_eval_swap_psnr"} <= before[-1].keys()
    assert main([*arguments, "--steps", "3"]) == 2 and "--resume" in capsys.readouterr().err
    assert main([*arguments, "--steps", "3", "--resume"]) == 0
    assert "a new optimizer" in capsys.readouterr().err
    after = read_metrics(out / "metrics.csv")
    assert after[: len(before)] == before and [row["step"] for row in after] == [0, 2, 3]
    told: dict[str, Any] = json.loads((out / "progress.json").read_text("utf-8"))
    assert (told["step"], told["samples"]) == (3, 6)


def test_variants_are_trained_side_by_side_once(
    people: Path, prepared_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = tmp_path / "mine.toml", tmp_path / "variants"
    recipe.write_text(
        'config = "tiny"\nviews = 2\nbatch_size = 2\nsteps = 1\ntask = "swap"\nreference = "paste"\ndrop = 0\n'
        "[network]\nresidual = true\n[variants.blind]\ndrop = 1.0\n[variants.late.network]\nsteps = 3\n",
        "utf-8",
    )
    arguments = [
        "bench", "train", "--recipe", str(recipe), "--data", str(people), "--out", str(out), "--prepared",
        str(prepared_folder), "--device", "cpu", "--only", "base", "--only", "blind",
    ]  # fmt: skip
    assert main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows.keys() == {"base", "blind"} and rows["base"]["steps"] == 1
    assert rows["base"]["plain"] == rows["blind"]["plain"] and rows["base"]["psnr"].keys() == {"1", "2", "4"}
    assert abs(rows["base"]["psnr"]["1"]["swap"] - rows["base"]["plain"]["swap"]) < 0.5  # what it learned in a step
    config = load_checkpoint(out / "base" / "last.safetensors").config
    assert config.residual and config.reference == "paste"  # so that the engine shows the same
    written = (out / "base" / "last.safetensors").stat().st_mtime_ns
    assert main(arguments) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table] == ["variant", "base", "blind", "no"]
    assert (out / "base" / "last.safetensors").stat().st_mtime_ns == written
    assert main([*arguments, "--only", "bleind"]) == 2
    assert "did you mean 'blind'" in capsys.readouterr().err

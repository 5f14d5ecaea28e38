"""The training loop by itself, with a network of a few numbers in the place of an engine's."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

import torch
from safetensors.torch import load_file, save_file

from facexcli.errors import DeviceError, InputError, Interrupted, OutputError, UsageError
from facexcli.events import SilentReporter
from facexcli.train.loop import TrainingOptions, train
from facexcli.train.metrics import read_metrics
from facexcli.train.state import Counters
from facexcli.train.trainable import Verdict

OPTIONS = TrainingOptions(20, 4, learning_rate=0.05, warmup_steps=3, log_every=5, validate_every=10, device="cpu")


class Doubling:
    """Learns y = 2 x behind a frozen layer; `at_batch` is called with the key of each batch."""

    def __init__(self, at_loss: Callable[[], None] = lambda: None) -> None:
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1))
        self.network[0].requires_grad_(False)
        self._at_loss = at_loss

    def batch(self, key: int, size: int) -> dict[str, Any]:
        x = torch.from_numpy(np.random.default_rng(key).standard_normal((size, 3), np.float32))
        return {"x": x, "y": 2 * x.sum(dim=1, keepdim=True)}

    def loss(self, batch: Any, random: Any) -> Any:
        self._at_loss()
        noise = 0.01 * torch.randn(batch["y"].shape, generator=random)
        return ((self.network(batch["x"]) - batch["y"] - noise) ** 2).mean()

    def validate(self) -> Verdict:
        given = self.batch(1, 8)
        error = float(((self.network(given["x"]) - given["y"]) ** 2).mean())
        return Verdict({"loss": error}, -error)

    def grid(self) -> np.ndarray:
        return np.zeros((8, 8, 3), np.uint8)

    def save(self, path: Path) -> None:
        save_file({name: value.contiguous() for name, value in self.network.state_dict().items()}, str(path))


def weights(folder: Path) -> dict[str, Any]:
    return dict(load_file(str(folder / "last.safetensors")))


def test_a_training_taken_up_again_equals_one_that_was_never_stopped(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    train(Doubling(), whole, OPTIONS, SilentReporter())
    train(Doubling(), parts, replace(OPTIONS, steps=10), SilentReporter())
    train(Doubling(), parts, replace(OPTIONS, resume=True), SilentReporter())
    assert all(torch.equal(weights(whole)[name], value) for name, value in weights(parts).items())
    columns = ("step", "loss", "val_loss")
    first, second = ([{name: row.get(name) for name in columns} for row in read_metrics(folder / "metrics.csv")]
                     for folder in (whole, parts))  # fmt: skip
    assert first == second
    assert [row["step"] for row in first] == [0, 5, 10, 15, 20]


def test_the_learning_rate_rises_holds_and_falls_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []

    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    step = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    train(Doubling(), tmp_path, replace(OPTIONS, learning_rate=1.0, warmup_steps=4, cooldown=0.25), SilentReporter())
    assert rates == pytest.approx([0.25, 0.5, 0.75, *[1.0] * 13, 0.8, 0.6, 0.4, 0.2])


def test_what_is_frozen_stays_and_what_is_trained_learns(tmp_path: Path) -> None:
    trainable = Doubling()
    frozen = trainable.network[0].weight.clone()
    result = train(trainable, tmp_path, replace(OPTIONS, steps=150), SilentReporter())
    assert torch.equal(trainable.network[0].weight, frozen)
    rows = [row for row in read_metrics(tmp_path / "metrics.csv") if "val_loss" in row]
    assert rows[-1]["val_loss"] < 0.2 * rows[0]["val_loss"]
    assert result.counters.step == 150 and result.ended == "done"
    assert (tmp_path / "best.safetensors").is_file() and (tmp_path / "grid.png").is_file()


def test_accumulated_passes_make_one_update(tmp_path: Path) -> None:
    calls: list[int] = []
    train(Doubling(lambda: calls.append(1)), tmp_path, replace(OPTIONS, steps=5, accumulate=3), SilentReporter())
    assert len(calls) == 15
    assert read_metrics(tmp_path / "metrics.csv")[-1]["step"] == 5


def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    calls: list[int] = []

    def stop_at_seven() -> None:
        calls.append(1)
        if len(calls) == 7:
            signal.raise_signal(signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="step 7") as caught:
        train(Doubling(stop_at_seven), tmp_path, OPTIONS, SilentReporter())
    assert "--resume" in caught.value.hint
    assert signal.getsignal(signal.SIGTERM) is handler
    result = train(Doubling(), tmp_path, replace(OPTIONS, resume=True), SilentReporter())
    assert result.counters.step == 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("render")]


def test_minutes_end_a_run_and_the_next_goes_on(tmp_path: Path) -> None:
    result = train(Doubling(), tmp_path, replace(OPTIONS, minutes=0), SilentReporter())
    assert (result.ended, result.counters.step) == ("time", 1)
    again = train(Doubling(), tmp_path, replace(OPTIONS, minutes=0, resume=True), SilentReporter())
    assert again.counters.step == 2


def test_a_loss_that_is_no_number_ends_with_the_saved_state_untouched(tmp_path: Path) -> None:
    train(Doubling(), tmp_path, replace(OPTIONS, steps=10), SilentReporter())
    saved = (tmp_path / "last.state").read_bytes()
    with pytest.raises(DeviceError, match="no number"):
        broken = replace(OPTIONS, resume=True, learning_rate=float("inf"))
        train(Doubling(), tmp_path, broken, SilentReporter())
    assert (tmp_path / "last.state").read_bytes() == saved


def test_a_state_that_does_not_belong_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no training was saved"):
        train(Doubling(), tmp_path, replace(OPTIONS, resume=True), SilentReporter())
    train(Doubling(), tmp_path, replace(OPTIONS, steps=1, told="tiny"), SilentReporter())
    with pytest.raises(UsageError, match="was tiny"):
        train(Doubling(), tmp_path, replace(OPTIONS, resume=True, told="large"), SilentReporter())
    state = tmp_path / "last.state"
    state.write_bytes(state.read_bytes()[:200])
    with pytest.raises(InputError, match="damaged"):
        train(Doubling(), tmp_path, replace(OPTIONS, resume=True, told="tiny"), SilentReporter())
    assert not list(tmp_path.glob(".*.part*"))


def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    class Full(Doubling):
        def save(self, path: Path) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left on device"):
        train(Full(), tmp_path, OPTIONS, SilentReporter())
    with pytest.raises(OutputError, match="does not exist"):
        train(Doubling(), tmp_path / "nowhere", OPTIONS, SilentReporter())


def test_processes_make_the_same_batches_as_threads(tmp_path: Path) -> None:
    for name, processes in (("threads", 0), ("processes", 2)):
        (tmp_path / name).mkdir()
        train(Doubling(), tmp_path / name, replace(OPTIONS, processes=processes), SilentReporter())
    threads, forked = weights(tmp_path / "threads"), weights(tmp_path / "processes")
    assert all(torch.equal(forked[name], value) for name, value in threads.items())


def test_what_fails_in_a_process_reaches_the_caller(tmp_path: Path) -> None:
    class Failing(Doubling):
        def batch(self, key: int, size: int) -> dict[str, Any]:
            raise InputError("shard damaged", "prepare again")

    with pytest.raises(InputError, match="shard damaged"):
        train(Failing(), tmp_path, replace(OPTIONS, processes=1), SilentReporter())


def test_a_run_says_how_far_it_is() -> None:
    counters = Counters(50, 400, 12.5, 40)
    assert counters.how_far(200, 10, 60) == (
        "step 50 of 200 (25.0%), 400 samples; best score 12.50, at step 40; about 15 minutes left at this pace"
    )
    assert "left" not in counters.how_far(50, 10, 60)

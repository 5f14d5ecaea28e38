"""The training loop, for any network behind `Trainable`, on one device or, started by `accelerate launch`, on several.

OUT/last.safetensors    the moving average of the weights, as the engine reads them
OUT/last.state          all that a later run needs to go on (safetensors): weights, optimizer, average, counters
OUT/progress.json       its counters; with last.safetensors beside it a later run can go on without the state
OUT/best.safetensors    the average at the step that did best on held-out people
OUT/grid.png            what that step made of held-out samples; grid_last.png is the latest step's
OUT/metrics.csv         the course
"""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from safetensors import SafetensorError
from torch import nn

from facexcli.errors import DeviceError, Interrupted, OutputError
from facexcli.events import Informed, StageAdvanced, StageFinished, StageStarted
from facexcli.media.image import write_image
from facexcli.pipeline.parallel import ordered_map
from facexcli.seeds import noise_key
from facexcli.train.interrupts import stop_asked
from facexcli.train.loader import made_by_processes
from facexcli.train.metrics import MetricsTable, TensorBoardLog
from facexcli.train.state import (
    Counters,
    MovingAverage,
    could_not_save,
    load_progress,
    load_state,
    save_progress,
    save_state,
    trained_parameters,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

    from facexcli.events import Reporter, StageName
    from facexcli.train.metrics import MetricsSink
    from facexcli.train.trainable import Batch, Trainable

STATE, PROGRESS = "last.state", "progress.json"
_AHEAD = 4
"""Batches that are made while the device works on another."""
_STAGE: StageName = "train"
_TELL_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How a network is trained.

    steps: updates in all, those of earlier runs included. minutes: this run ends after so many, whatever is left; None
    for no limit. batch_size: samples of one pass on one device; `accumulate` passes make an update. warmup_steps: the
    learning rate grows to its value over so many. cooldown: it falls to nothing over the last share of the steps.
    resume: go on with what OUT has; anew: with its counters alone, by an optimizer that begins anew, since the network
    has the weights already. told: see `Counters`. workers: threads that make batches, or where there are any,
    processes.
    """

    steps: int
    batch_size: int = 32
    accumulate: int = 1
    learning_rate: float = 1e-4
    warmup_steps: int = 100
    cooldown: float = 0.0
    weight_decay: float = 0.01
    ema_decay: float = 0.9999
    clip_norm: float = 1.0
    seed: int = 0
    minutes: float | None = None
    log_every: int = 50
    validate_every: int = 500
    resume: bool = False
    anew: bool = False
    device: str = "auto"
    workers: int = 2
    processes: int = 0
    told: str = ""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How a run ended. loss: the mean over the last `log_every` steps; NaN where there was none."""

    counters: Counters
    loss: float
    ended: Literal["done", "time"]


def train(trainable: Trainable, out: Path, options: TrainingOptions, reporter: Reporter) -> TrainingResult:
    """Train until the steps are done, the minutes are over, or the user asks to stop.

    Raises Interrupted where the user did, after everything was saved; OutputError where `out` cannot be written;
    DeviceError where a batch does not fit into memory or the loss is no number; InputError and UsageError for a state
    that does not belong to this training.
    """
    with stop_asked() as stop:
        run = _Run(trainable, out, options, reporter)
        try:
            return run.until(stop)
        finally:
            run.close()


class _Objective(nn.Module):
    """The loss as a module's `forward`, which is what accelerate makes parallel and puts into lower precision."""

    def __init__(self, trainable: Trainable) -> None:
        super().__init__()
        self.network = trainable.network
        self._loss = trainable.loss

    def forward(self, batch: Batch, random: torch.Generator) -> torch.Tensor:
        return self._loss(batch, random)


class _Run:
    """One run of the loop; what it remembers between two steps."""

    def __init__(self, trainable: Trainable, out: Path, options: TrainingOptions, reporter: Reporter) -> None:
        self._trainable, self._out, self._options, self._reporter = trainable, out, options, reporter
        self._accelerator = _accelerator(options)
        self._is_main = self._accelerator.is_main_process
        network = trainable.network.to(self._accelerator.device)
        self._parameters = trained_parameters(network)
        self._optimizer = torch.optim.AdamW(
            self._parameters.values(), options.learning_rate, (0.9, 0.999), weight_decay=options.weight_decay
        )
        self._average = MovingAverage(self._parameters, options.ema_decay)
        self._counters = Counters(told=options.told)
        if options.resume and options.anew:
            self._counters = replace(load_progress(out / PROGRESS), told=options.told)
        elif options.resume:
            self._counters = load_state(out / STATE, options.told, self._parameters, self._optimizer, self._average)
        self._warm_from = self._counters.step if options.anew else 0
        self._objective, self._stepper = self._accelerator.prepare(_Objective(trainable), self._optimizer)
        self._random = torch.Generator(self._accelerator.device)
        self._sinks: list[MetricsSink] = self._open_sinks() if self._is_main else []
        self._started_s = self._told_s = time.monotonic()
        self._wall_before_s = self._counters.wall_s

    def until(self, stop: threading.Event) -> TrainingResult:
        """Steps, with their records between them."""
        first = self._counters.step
        self._reporter.emit(StageStarted(_STAGE, self._options.steps, "steps"))
        if first == 0:
            self._record(None, 0.0)
        with closing(self._batches(first)) as prepared:
            return self._walk(prepared, first, stop)

    def _walk(self, prepared: Iterable[list[Batch]], first: int, stop: threading.Event) -> TrainingResult:
        options = self._options
        losses: list[torch.Tensor] = []
        mean_loss, since_s = float("nan"), time.monotonic()
        ended: Literal["done", "time"] = "done"
        for step, batches in enumerate(prepared, first + 1):
            losses.append(self._step(step, batches))
            samples = self._counters.samples + self._samples_per_step
            self._counters = replace(self._counters, step=step, samples=samples)
            is_last = step == options.steps
            out_of_time = self._any(options.minutes is not None and self._wall_s() >= 60 * options.minutes)
            stopping = self._any(stop.is_set())
            if step % options.log_every == 0 or is_last or out_of_time or stopping:
                mean_loss = self._mean(losses)
                pace = len(losses) * self._samples_per_step / max(time.monotonic() - since_s, 1e-9)
                losses = []
                self._record(mean_loss, pace, judge=step % options.validate_every == 0 or is_last or out_of_time)
                since_s = time.monotonic()
            if stopping:
                self._save()
                raise Interrupted(f"interrupted at step {step}", "everything is saved; --resume goes on from there")
            if out_of_time and not is_last:
                ended = "time"
                break
            self._tell_progress(first)
        self._reporter.emit(StageFinished(_STAGE, self._counters.step - first, self._wall_s()))
        self._reporter.emit(
            Informed(self._counters.how_far(options.steps, self._counters.step - first, self._wall_s()))
        )
        return TrainingResult(self._counters, mean_loss, ended)

    def close(self) -> None:
        """Close the records."""
        for sink in self._sinks:
            sink.close()

    @property
    def _samples_per_step(self) -> int:
        return self._options.batch_size * self._options.accumulate * int(self._accelerator.num_processes)

    def _batches(self, first: int) -> Generator[list[Batch]]:
        """The batches of each step after `first`, made ahead; this process's share of them."""
        options, rank = self._options, self._accelerator.process_index

        def made(step: int) -> list[Batch]:
            keys = [noise_key(options.seed, rank, step * options.accumulate + part, "batch")
                    for part in range(options.accumulate)]  # fmt: skip
            return [self._trainable.batch(key, options.batch_size) for key in keys]

        steps = range(first + 1, options.steps + 1)
        if options.processes:
            on_cuda = self._accelerator.device.type == "cuda"
            return made_by_processes(made, steps, options.processes, pinned=on_cuda)
        return ordered_map(made, steps, options.workers, _AHEAD)

    def _step(self, step: int, batches: list[Batch]) -> torch.Tensor:
        """One update; its loss, still on the device, so that nothing waits for it."""
        options, device = self._options, self._accelerator.device
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate(step)
        self._random.manual_seed(noise_key(options.seed, self._accelerator.process_index, step, "noise") >> 1)
        self._set_mode(training=True)
        total = torch.zeros((), device=device)
        try:
            for batch in batches:
                moved = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
                with self._accelerator.accumulate(self._objective):
                    loss = self._objective(moved, self._random)
                    self._accelerator.backward(loss)
                    if self._accelerator.sync_gradients:
                        self._accelerator.clip_grad_norm_(self._parameters.values(), options.clip_norm)
                    self._stepper.step()
                    self._stepper.zero_grad()
                total += loss.detach()
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"{device}: not enough memory for a batch of {options.batch_size}",
                "lower --batch-size, and raise --accumulate as much",
            ) from error
        self._average.update(step)
        return total / len(batches)

    def _rate(self, step: int) -> float:
        """The learning rate of a step: up, level, and in a straight line down to the end (as in Hägele et al., "Scaling
        laws and compute-optimal training beyond fixed training durations", 2024)."""
        options = self._options
        warm = (step - self._warm_from) / max(1, options.warmup_steps)
        left = (options.steps + 1 - step) / max(1.0, options.cooldown * options.steps)
        return options.learning_rate * min(1.0, warm, left if options.cooldown else 1.0)

    def _set_mode(self, *, training: bool) -> None:
        """Dropout and the like, on or off."""
        self._trainable.network.train(training)

    def _mean(self, losses: list[torch.Tensor]) -> float:
        """Over all devices. Raises DeviceError for a loss that is no number: what was saved before is kept."""
        mean: torch.Tensor = self._accelerator.reduce(torch.stack(losses).mean(), "mean")
        if not torch.isfinite(mean):
            raise DeviceError(
                f"the loss is no number at step {self._counters.step}",
                "go on from the last saved step with --resume and a lower --lr",
            )
        return float(mean)

    def _any(self, mine: bool) -> bool:
        """Whether any of the processes says so: they end together, or would wait for each other for ever."""
        if self._accelerator.num_processes == 1:
            return mine
        said: torch.Tensor = self._accelerator.reduce(torch.tensor(float(mine), device=self._accelerator.device), "sum")
        return bool(said > 0)

    def _record(self, loss: float | None, pace: float, *, judge: bool = True) -> None:
        """A row of the records; where the network is judged, its checkpoints and pictures too."""
        values: dict[str, float] = {} if loss is None else {"loss": loss, "samples_per_s": pace}
        if judge and self._is_main:
            values |= self._judged()
        for sink in self._sinks:
            sink.write(self._counters.step, values)
        if judge:
            self._save()
        if values:
            told = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            self._reporter.emit(Informed(f"step {self._counters.step}: {told}"))

    def _judged(self) -> dict[str, float]:
        """Held-out samples under the averaged weights; keeps the best checkpoint."""
        self._set_mode(training=False)
        with self._average.applied(), torch.no_grad(), self._saving(self._out / "best.safetensors"):
            verdict = self._trainable.validate()
            grid = self._trainable.grid()
            write_image(self._out / "grid_last.png", grid)
            step = self._counters.step
            if step and verdict.score > self._counters.best_score:
                self._counters = replace(self._counters, best_score=verdict.score, best_step=step)
                self._trainable.save(self._out / "best.safetensors")
                write_image(self._out / "grid.png", grid)
        return {f"val_{name}": value for name, value in verdict.values.items()}

    def _save(self) -> None:
        """The latest weights and the state. On the main process alone."""
        if not self._is_main or not self._counters.step:
            return
        self._counters = replace(self._counters, wall_s=self._wall_before_s + self._wall_s())
        with self._saving(self._out / STATE):
            with self._average.applied():
                self._trainable.save(self._out / "last.safetensors")
            save_progress(self._out / PROGRESS, self._counters)
            save_state(self._out / STATE, self._counters, self._parameters, self._optimizer, self._average)

    @contextmanager
    def _saving(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OutputError:
            raise
        except (OSError, SafetensorError) as error:
            raise could_not_save(path, error, self._counters.step) from error

    def _open_sinks(self) -> list[MetricsSink]:
        table = MetricsTable(self._out / "metrics.csv", after=self._counters.step if self._options.resume else -1)
        try:
            return [table, TensorBoardLog(self._out / "tensorboard")]
        except ImportError:
            self._reporter.emit(Informed("tensorboard is not installed: the course is in metrics.csv alone"))
            return [table]

    def _wall_s(self) -> float:
        return time.monotonic() - self._started_s

    def _tell_progress(self, first: int) -> None:
        now = time.monotonic()
        if now - self._told_s >= _TELL_EVERY_S:
            self._told_s = now
            done = self._counters.step
            self._reporter.emit(StageAdvanced(_STAGE, done, (done - first) / max(now - self._started_s, 1e-3)))


def _accelerator(options: TrainingOptions) -> Any:
    """On the device of `--device`; bf16 where it has that."""
    from facexcli.device import choose_device

    on_cpu = choose_device(options.device).kind == "cpu"
    has_bf16 = not on_cpu and torch.cuda.is_bf16_supported(including_emulation=False)
    return Accelerator(
        cpu=on_cpu,
        mixed_precision="bf16" if has_bf16 else "no",
        gradient_accumulation_steps=options.accumulate,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )

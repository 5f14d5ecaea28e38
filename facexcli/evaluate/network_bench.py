"""What FaceX's network costs a face, stage by stage, on random weights: the time is the same as with trained ones.

Perception and the media around it are not in it: see `engine_bench` and `facex bench speed` for those.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from pydantic import ValidationError

from facexcli.device import choose_device
from facexcli.diffusion.schedule import SamplingPlan
from facexcli.engines.facex.config import FaceXConfig, config_named
from facexcli.engines.facex.cost import Clock, flop_of_stages, measured_flops
from facexcli.engines.facex.execution import Execution, Layout, choose_dtype
from facexcli.engines.facex.model import FaceXNetwork
from facexcli.engines.facex.running import made_faces, made_inputs
from facexcli.errors import DeviceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facexcli.engines.facex.ford import FaceFacts
    from facexcli.engines.facex.running import Given
    from facexcli.settings import DtypeName

_CUDA_BATCH = 4
_LEAST_ROUNDS = 3
_CALLERS = 2
"""As many as paint frames side by side: while one waits for its pictures, the other's are begun."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """Medians, for one face: milliseconds, and the GFLOP that were counted (0 for what is no arithmetic)."""

    name: str
    ms: float
    gflop: float


@dataclass(frozen=True, slots=True)
class NetworkRun:
    """The network in one way of running it.

    wall_ms: of a face in steady state, copies included. peak_mib: of the device's memory, on a CPU of the process since
    it began. first_s: until the first faces were done, compiling included. note: why it is not run as it was asked to.
    """

    mode: str
    stages: tuple[StageCost, ...]
    wall_ms: float
    peak_mib: float
    first_s: float
    note: str = ""

    @property
    def tflop(self) -> float:
        return sum(stage.gflop for stage in self.stages) / 1000

    @property
    def tflop_per_s(self) -> float:
        return self.tflop / (self.wall_ms / 1000)


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """What was measured. peak_tflop_per_s: of a large matrix product in the same precision, on the same device."""

    config: str
    size_px: int
    steps: int
    batch: int
    device: str
    dtype: str
    peak_tflop_per_s: float
    runs: tuple[NetworkRun, ...]


def bench_network(
    config: str = "tiny",
    size_px: int | None = None,
    steps: int | None = None,
    device: str = "auto",
    dtype: DtypeName = "auto",
    batch: int | None = None,
    faces: int = 10,
    *,
    compiled: bool = True,
) -> NetworkCost:
    """Time a configuration of FaceX on made faces, as it is and compiled.

    Raises UsageError for a configuration or a size that cannot be, DeviceError for a device that is not there or has
    too little memory.
    """
    shape = _sized(config_named(config), size_px)
    place = torch.device(choose_device(device).name)
    kind = choose_dtype(place, dtype)
    plan = SamplingPlan("dpm++", steps or shape.steps, karras=True, prediction=shape.prediction)
    layout = Layout(place, kind, batch or (1 if place.type == "cpu" else _CUDA_BATCH))
    peak = measured_flops(place, kind)
    try:
        network = _random_network(shape, place)
        modes = [layout, replace(layout, compiled=True)] if compiled else [layout]
        runs = tuple(_run(Execution(network, plan, each), faces) for each in modes)
    except torch.OutOfMemoryError as error:
        raise DeviceError(f"{place}: not enough memory for {config} at {size_px} px",
                          "take --batch-size 1, a smaller --size or --config") from error  # fmt: skip
    name = str(kind).removeprefix("torch.")
    return NetworkCost(config, shape.size_px, plan.steps, layout.batch, _named(place), name, peak / 1e12, runs)


def _sized(config: FaceXConfig, size_px: int | None) -> FaceXConfig:
    if size_px is None:
        return config
    try:
        return FaceXConfig.model_validate(config.model_dump() | {"size_px": size_px})
    except ValidationError as error:
        raise UsageError(f"--size {size_px}: {error.errors()[0]['msg']}", "take 256 or 512") from error


def _random_network(config: FaceXConfig, device: torch.device) -> FaceXNetwork:
    """Made where it runs. A controller that is nothing but zeros would take less power than a trained one."""
    torch.manual_seed(0)
    with torch.device(device):
        network = FaceXNetwork(config)
    for parameter in network.controller.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return network


def _run(execution: Execution, faces: int) -> NetworkRun:
    start = time.perf_counter()
    execution.warm_up()
    people, picked = made_faces(execution.config, execution.batch), made_inputs(execution)
    for _ in range(2):  # memory is taken, and kernels are loaded or recorded
        execution.tokens(people)
        execution.sampled(picked)
    first_s = time.perf_counter() - start
    rounds = max(_LEAST_ROUNDS, -(-faces // execution.batch))
    on_cuda = execution.layout.device.type == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(execution.layout.device)
    laps = [_laps_s(execution, people, picked) for _ in range(rounds)]
    gflop = flop_of_stages(execution.config, execution.plan.steps, execution.layout.guidance)
    stages = tuple(
        StageCost(name, 1000 * statistics.median(lap[name] for lap in laps) / execution.batch, gflop.get(name, 0) / 1e9)
        for name in laps[0]
    )
    wall_ms = _wall_ms(execution, people, picked, rounds)
    peak = torch.cuda.max_memory_allocated(execution.layout.device) / 2**20 if on_cuda else _peak_rss_mib()
    execution.close()
    mode = "compiled" if execution.layout.compiled else "eager"
    return NetworkRun(mode, stages, wall_ms, peak, first_s, "; ".join(execution.doubts))


def _laps_s(execution: Execution, people: Sequence[FaceFacts], picked: Given) -> Mapping[str, float]:
    """Seconds of each stage, for a batch."""
    names: list[str] = []
    clock = Clock(execution.layout.device)

    def observe(stage: str) -> None:
        names.append(stage)
        clock.mark()

    nobody, execution.observe = execution.observe, observe
    execution.tokens(people)
    execution.sampled(picked)
    execution.observe = nobody
    found: dict[str, float] = defaultdict(float)
    for name, seconds in zip(names, clock.laps_s(), strict=True):
        found[name] += seconds
    return found


def _wall_ms(execution: Execution, people: Sequence[FaceFacts], picked: Given, rounds: int) -> float:
    """Of a face, with as many callers as there are in a render."""

    def once(_: int) -> None:
        execution.tokens(people)
        execution.sampled(picked)

    with ThreadPoolExecutor(1 if execution.layout.device.type == "cpu" else _CALLERS) as callers:
        start = time.perf_counter()
        list(callers.map(once, range(rounds)))
        return 1000 * (time.perf_counter() - start) / (rounds * execution.batch)


def _named(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def _peak_rss_mib() -> float:
    """Of this process, since it began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10

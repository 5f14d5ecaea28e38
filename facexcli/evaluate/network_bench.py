"""What FaceX's network costs a face, stage by stage, on random weights: the time is the same as with trained ones.

Perception and the media around it are not in it: see `engine_bench` and `facex bench speed` for those.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import ValidationError

from facexcli.device import choose_device
from facexcli.engines.base import EngineOptions
from facexcli.engines.facex.config import FaceXConfig, config_named
from facexcli.engines.facex.cost import Clock, flop_of_stages, measured_flops
from facexcli.engines.facex.execution import Execution, Layout, choose_dtype
from facexcli.engines.facex.graph_execution import check_options
from facexcli.engines.facex.graph_file import check_exportable
from facexcli.engines.facex.model import FaceXNetwork
from facexcli.engines.facex.running import made_faces, made_inputs, planned
from facexcli.errors import DeviceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facexcli.diffusion.schedule import SamplingPlan
    from facexcli.engines.facex.ford import FaceFacts
    from facexcli.engines.facex.running import Given, Running
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

    wall_ms: of a face in steady state, copies included; cpu_ms: of the processor's time. peak_mib: of the device's
    memory, on a CPU of the process since it began. first_s: until the first faces were done, compiling included. note:
    why it is not run as it was asked to.
    """

    mode: str
    stages: tuple[StageCost, ...]
    wall_ms: float
    cpu_ms: float
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
    exported: bool = False,
) -> NetworkCost:
    """Time a configuration of FaceX on made faces, as it is, compiled, and exported, run by onnxruntime.

    Raises UsageError for a configuration or a size that cannot be, or that cannot be exported, DeviceError for a device
    that is not there or has too little memory.
    """
    shape = _sized(config_named(config), size_px)
    place = torch.device(choose_device(device).name)
    kind = choose_dtype(place, dtype)
    options = EngineOptions(device=place.type, steps=steps, batch_size=batch, dtype=dtype)
    if exported:
        check_exportable(shape)
        check_options(options)
    plan = planned(shape, options)
    layout = Layout(place, kind, batch or (1 if place.type == "cpu" else _CUDA_BATCH))
    peak = measured_flops(place, kind)
    try:
        network = _random_network(shape, place)
        modes = [layout, replace(layout, compiled=True)] if compiled else [layout]
        runs = [_by_torch(Execution(network, plan, each), faces) for each in modes]
        if exported:
            runs.append(_by_onnxruntime(network, plan, options, faces))
    except torch.OutOfMemoryError as error:
        raise DeviceError(f"{place}: not enough memory for {config} at {size_px} px",
                          "take --batch-size 1, a smaller --size or --config") from error  # fmt: skip
    name = str(kind).removeprefix("torch.")
    return NetworkCost(config, shape.size_px, plan.steps, layout.batch, _named(place), name, peak / 1e12, tuple(runs))


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


def _run(running: Running, plan: SamplingPlan, mode: str, faces: int, ready_s: float) -> NetworkRun:
    """ready_s: what it took so far, until the network was compiled or loaded."""
    start = time.perf_counter()
    people, picked = made_faces(running.config, running.batch), made_inputs(running)
    for _ in range(2):  # memory is taken, and kernels are loaded or recorded
        running.tokens(people)
        running.sampled(picked)
    first_s = ready_s + time.perf_counter() - start
    rounds = max(_LEAST_ROUNDS, -(-faces // running.batch))
    device = torch.device(running.place)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    laps = [_laps_s(running, people, picked, device) for _ in range(rounds)]
    gflop = flop_of_stages(running.config, plan.steps)
    stages = tuple(
        StageCost(name, 1000 * statistics.median(lap[name] for lap in laps) / running.batch, gflop.get(name, 0) / 1e9)
        for name in laps[0]
    )
    wall_ms, cpu_ms = _steady_ms(running, people, picked, rounds)
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else _peak_rss_mib()
    running.close()
    return NetworkRun(mode, stages, wall_ms, cpu_ms, peak, first_s, "; ".join(running.doubts))


def _by_torch(execution: Execution, faces: int) -> NetworkRun:
    start = time.perf_counter()
    execution.warm_up()
    mode = "compiled" if execution.layout.compiled else "eager"
    return _run(execution, execution.plan, mode, faces, time.perf_counter() - start)


def _by_onnxruntime(network: FaceXNetwork, plan: SamplingPlan, options: EngineOptions, faces: int) -> NetworkRun:
    from facexcli.engines.facex.export import export_network
    from facexcli.engines.facex.graph_execution import open_graph_execution

    with tempfile.TemporaryDirectory(prefix="facex-bench-") as folder:
        file = Path(folder) / "network.onnx"
        export_network(network, file)
        start = time.perf_counter()
        execution = open_graph_execution(file, options)
        return _run(execution, plan, "onnxruntime", faces, time.perf_counter() - start)


def _laps_s(running: Running, people: Sequence[FaceFacts], picked: Given, device: torch.device) -> Mapping[str, float]:
    """Seconds of each stage, for a batch."""
    names: list[str] = []
    clock = Clock(device)

    def observe(stage: str) -> None:
        names.append(stage)
        clock.mark()

    nobody, running.observe = running.observe, observe
    running.tokens(people)
    running.sampled(picked)
    running.observe = nobody
    found: dict[str, float] = defaultdict(float)
    for name, seconds in zip(names, clock.laps_s(), strict=True):
        found[name] += seconds
    return found


def _steady_ms(running: Running, people: Sequence[FaceFacts], picked: Given, rounds: int) -> tuple[float, float]:
    """Of a face, by the wall and of the processor's time, with as many callers as there are in a render."""

    def once(_: int) -> None:
        running.tokens(people)
        running.sampled(picked)

    with ThreadPoolExecutor(_CALLERS) as callers:
        start, cpu_s = time.perf_counter(), time.process_time()
        list(callers.map(once, range(rounds)))
        faces = rounds * running.batch
        return 1000 * (time.perf_counter() - start) / faces, 1000 * (time.process_time() - cpu_s) / faces


def _named(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def _peak_rss_mib() -> float:
    """Of this process, since it began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10

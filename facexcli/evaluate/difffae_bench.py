"""What DiffFAE costs a face, with DDIM and with DPM-Solver++, on random weights: the time is that of trained ones."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from facexcli.device import choose_device
from facexcli.engines.base import EngineOptions
from facexcli.engines.difffae.checkpoint import save_network
from facexcli.engines.difffae.config import config_named
from facexcli.engines.difffae.cost import flop_per_face
from facexcli.engines.difffae.embedded_face import EmbeddedFace
from facexcli.engines.difffae.engine import DiffFAEEngine
from facexcli.engines.difffae.model import DiffFAENetwork
from facexcli.engines.facex.cost import measured_flops
from facexcli.evaluate.engine_bench import made_crop
from facexcli.recipes import recipe_named
from facexcli.types import EditRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from facexcli.settings import SamplerName

Result = TypeVar("Result")

WALKS: tuple[tuple[SamplerName, int], ...] = (("ddim", 50), ("dpm++", 10))
"""What the paper samples with (sec. 5.1), and what it says would be faster (app. E)."""


@dataclass(frozen=True, slots=True)
class WalkCost:
    """Milliseconds of a face, all in all (median), and the GFLOP that were counted."""

    sampler: str
    steps: int
    face_ms: float
    gflop: float


@dataclass(frozen=True, slots=True)
class DiffFAECost:
    """size_px: of the crop. fit_ms: coefficients of a query. render_ms: its I_R. prepare_ms: a source, once a video.
    gflop_per_s: of a large matrix product on this machine's CPU."""

    config: str
    device: str
    size_px: int
    faces: int
    prepare_ms: float
    fit_ms: float
    render_ms: float
    walks: tuple[WalkCost, ...]
    gflop_per_s: float


def bench_difffae(config_name: str = "tiny", device: str = "auto", faces: int = 10) -> DiffFAECost:
    """Time the engine on made faces; physical model and identity are those that come with facex.

    Raises UsageError for an unknown configuration, DeviceError for a device that is not there.
    """
    config = config_named(config_name).model_copy(update={"physical": "embedded", "identity": "dlib"})
    place = choose_device(device)
    crops = [made_crop("ffhq", config.size_px, seed) for seed in range(3)]
    model = EmbeddedFace()
    fit_ms, coefficients = _timed(lambda: model.coefficients(crops[1], texture=True), 5)
    render_ms, _ = _timed(lambda: model.render([coefficients], config.size_px), 10)
    walks: list[WalkCost] = []
    prepare_ms = 0.0
    with tempfile.TemporaryDirectory(prefix="facex-bench-") as folder:
        path = Path(folder) / "random.safetensors"
        torch.manual_seed(0)
        save_network(DiffFAENetwork(config), path)
        for sampler, steps in WALKS:
            engine = DiffFAEEngine()
            engine.configure(EngineOptions(weights=path, device=place.name, sampler=sampler, steps=steps))
            prepare_ms, state = _timed(partial(engine.prepare, crops[:1]), 3)
            recipe = recipe_named("reenact")
            request = EditRequest(crops[0], state, recipe, dict.fromkeys(recipe.provided_by("driving"), crops[1]))
            face_ms, _ = _timed(partial(engine.render, [request]), faces)
            walks.append(WalkCost(sampler, steps, face_ms, flop_per_face(config, steps) / 1e9))
            engine.close()
    return DiffFAECost(
        config.name, place.name, config.size_px, faces, prepare_ms, fit_ms, render_ms, tuple(walks),
        measured_flops() / 1e9,
    )  # fmt: skip


def _timed(work: Callable[[], Result], rounds: int) -> tuple[float, Result]:
    """The median in milliseconds after one round that does not count, and the last answer."""
    found = work()
    spent = []
    for _ in range(rounds):
        start = time.perf_counter()
        found = work()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent) * 1000, found

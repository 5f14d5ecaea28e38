"""What a face costs to compute, counted rather than guessed, and what this machine does in a second."""

from __future__ import annotations

import time
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from facexcli.engines.facex.config import MOTION_SIZES, REGIONS
from facexcli.engines.facex.model import FaceTensors, FaceXNetwork, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from facexcli.engines.facex.config import FaceXConfig

Result = TypeVar("Result")

_SIDE, _ROUNDS = 768, 5
_CUDA_SIDE, _CUDA_PRODUCTS = 8192, 10


class Clock:
    """Times what a device does, by its own events: asking for work is not doing it. On a CPU by the wall."""

    def __init__(self, device: torch.device) -> None:
        self._marks: list[Any] = []
        self._on_cuda = device.type == "cuda"
        self.mark()

    def mark(self) -> None:
        """Remember this moment; nothing waits for it."""
        if self._on_cuda:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter())

    def laps_s(self) -> list[float]:
        """Seconds between the moments that were remembered, once all is done."""
        if not self._on_cuda:
            return [after - before for before, after in pairwise(self._marks)]
        self._marks[-1].synchronize()
        return [before.elapsed_time(after) / 1000 for before, after in pairwise(self._marks)]

    def lap_s(self) -> float:
        """Seconds from the beginning until now."""
        self.mark()
        return sum(self.laps_s())


@lru_cache(maxsize=8)
@torch.inference_mode()
def flop_of_stages(config: FaceXConfig, steps: int, guidance: float = 1.0) -> Mapping[str, int]:
    """Floating-point operations of one face by what is done in it, in order; two for a multiplication and addition.

    Counted on the meta device: nothing is computed and no weights are made.
    """
    with torch.device("meta"):
        network = FaceXNetwork(config).to("meta")  # what is kept beside the weights too
        size, latent = config.size_px, config.latent_px
        face = FaceTensors(
            torch.empty(1, 3, size, size),
            torch.empty(1, len(REGIONS), size, size),
            torch.empty(1, *config.identity_shape),
            {name: torch.empty(1, count) for name, count in MOTION_SIZES.items()},
        )
        picture, hole = torch.empty(1, 3, size, size), torch.empty(1, 1, size, size)
        noise = torch.empty(1, config.latent_channels, latent, latent)
        counted: dict[str, int] = {}

        def count(stage: str, work: Callable[[], Result]) -> Result:
            with FlopCounterMode(display=False) as counter:
                found = work()
            counted[stage] = counter.get_total_flops()
            return found

        tokens = count("tokens", lambda: network.tokens(face))
        reference = count("reference", lambda: network.inpainting_tokens(picture))
        channels = network.reference_channels(picture, hole)
        steering = count("keys", lambda: network.steering(joined([*tokens.parts.values(), reference])))
        count("encode", lambda: network.codec.encode(picture))
        count("steps", lambda: network.denoise(noise, torch.empty(()), steering, channels, None))
        count("decode", lambda: network.codec.decode(noise))
    counted["steps"] *= steps * (1 if guidance == 1 else 2)
    return MappingProxyType(counted)


def flop_per_face(config: FaceXConfig, steps: int, guidance: float = 1.0) -> int:
    """Floating-point operations of one face: tokens, reference, `steps` of the UNet, and the codec both ways."""
    return sum(flop_of_stages(config, steps, guidance).values())


def measured_flops(device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> float:
    """Floating-point operations a second of matrix products on a device, by default the CPU; the best round."""
    on_cuda = device is not None and device.type == "cuda"
    side = _CUDA_SIDE if on_cuda else _SIDE
    matrix = torch.randn(side, side, device=device).to(dtype)  # ones would take less power than pictures do
    best_s = float("inf")
    for _ in range(_ROUNDS):
        clock = Clock(device or torch.device("cpu"))
        for _ in range(_CUDA_PRODUCTS if on_cuda else 1):
            torch.mm(matrix, matrix)
        best_s = min(best_s, clock.lap_s() / (_CUDA_PRODUCTS if on_cuda else 1))
    return 2 * side**3 / best_s


def expectation(flop: float, flops: float) -> str:
    """How long a face takes at best, in words."""
    seconds = flop / flops
    told = f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"
    return f"a face takes at least {told} ({flop / 1e12:.1f} TFLOP at {flops / 1e9:.0f} GFLOP/s)"

"""What a face costs to compute, counted rather than guessed, and what this machine does in a second."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from facexcli.engines.facex.config import MOTION_SIZES, REGIONS
from facexcli.engines.facex.model import FaceTensors, FaceXNetwork, joined

if TYPE_CHECKING:
    from facexcli.engines.facex.config import FaceXConfig

_SIDE, _ROUNDS = 768, 5


@lru_cache(maxsize=8)
@torch.inference_mode()
def flop_per_face(config: FaceXConfig, steps: int, guidance: float = 1.0) -> int:
    """Floating-point operations of one face: tokens, reference, `steps` of the UNet, and the codec both ways.

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
        noise, timestep = torch.empty(1, config.latent_channels, latent, latent), torch.empty(())
        with FlopCounterMode(display=False) as around:
            tokens = joined([*network.tokens(face).parts.values(), network.inpainting_tokens(picture)])
            channels = network.reference_channels(picture, hole)
            steering = network.steering(tokens)
            network.codec.decode(network.codec.encode(picture))
        with FlopCounterMode(display=False) as step:
            network.predictor(steering, channels)(noise, timestep)
    passes = steps * (1 if guidance == 1 else 2)
    return int(around.get_total_flops() + passes * step.get_total_flops())


def measured_flops() -> float:
    """Floating-point operations a second of matrix products in float32 on this CPU, the best of a few rounds."""
    matrix = torch.ones(_SIDE, _SIDE)
    best_s = float("inf")
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        best_s = min(best_s, time.perf_counter() - start)
    return 2 * _SIDE**3 / best_s


def expectation(flop: float, flops: float) -> str:
    """How long a face takes at best, in words."""
    seconds = flop / flops
    told = f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"
    return f"a face takes at least {told} ({flop / 1e12:.1f} TFLOP at {flops / 1e9:.0f} GFLOP/s)"

"""What a face costs to compute, counted rather than guessed."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from facexcli.engines.difffae.model import DiffFAENetwork

if TYPE_CHECKING:
    from facexcli.engines.difffae.config import DiffFAEConfig


@lru_cache(maxsize=8)
@torch.inference_mode()
def flop_per_face(config: DiffFAEConfig, steps: int) -> int:
    """Floating-point operations of one face: I_R's latent, `steps` of the UNet, and decoding; slots are made once.

    Counted on the meta device: nothing is computed and no weights are made.
    """
    with torch.device("meta"):
        network = DiffFAENetwork(config).to("meta")
        picture = torch.empty(1, 3, config.size_px, config.size_px)
        latent = torch.empty(1, config.latent_channels, config.latent_px, config.latent_px)
        slots = torch.empty(1, config.slots.count, config.slots.width)
        identity = torch.empty(1, config.identity_width) if config.identity_width else None
        with FlopCounterMode(display=False) as around:
            network.latents.encode(picture)
            network.latents.decode(latent)
        with FlopCounterMode(display=False) as step:
            network.denoiser(latent, torch.empty((), dtype=torch.long), latent, slots, identity)
    return int(around.get_total_flops() + steps * step.get_total_flops())

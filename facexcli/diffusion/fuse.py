"""Masked fusion: outside of a mask, every step of sampling is held on the canvas (FaceX, sec. 3.5 and fig. 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

Values: TypeAlias = Any
"""Tensors of torch, or arrays of numpy: what is only added and multiplied is the same for both."""


@dataclass(frozen=True, slots=True)
class MaskedFusion:
    """Holds a latent on the noised canvas where the mask is 0.

        z <- M * z + (1 - M) * (sqrt(abar) * z0_canvas + sqrt(1 - abar) * eps)

    mask: (B, 1, h, w) in 0..1, see `latent_mask`. canvas, noise: (B, C, h, w); the noise stays the same through all
    steps, and through the video.
    """

    mask: Values
    canvas: Values
    noise: Values

    def __call__(self, latent: Values, signal_level: float) -> Values:
        """The latent (B, C, h, w) after a step that left it at abar = `signal_level`; 1 takes the canvas as it is."""
        noised = add_noise(self.canvas, self.noise, signal_level)
        return self.mask * latent + (1 - self.mask) * noised


def add_noise(clean: Values, noise: Values, signal_level: float) -> Values:
    """sqrt(abar) * clean + sqrt(1 - abar) * noise (DDPM, eq. 4); `clean` itself at abar = 1."""
    if signal_level == 1:
        return clean
    return float(signal_level**0.5) * clean + float((1 - signal_level) ** 0.5) * noise


def latent_mask(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """A mask of pixels (B, 1, H, W) on the latent grid, 1 wherever a cell holds any of it: (B, 1, h, w), 0 or 1."""
    from torch.nn import functional

    return functional.adaptive_max_pool2d((mask > 0).to(mask.dtype), grid)

"""Region features f_R (sec. 3.2): the encoder's grid, made finer by the FPN adapter and pooled over each region."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from facexcli.engines.facex.config import REGIONS

if TYPE_CHECKING:
    from facexcli.engines.facex.config import FaceXConfig

_EPSILON = 1e-6


class FPNAdapter(nn.Module):
    """Recovers the detail that a transformer's coarse grid lacks: 16 x 16 -> 32 x 32 -> 64 x 64.

    Each level goes through a 1 x 1 lateral convolution to the last width; coarse levels are added to finer ones.
    """

    def __init__(self, width: int, widths: tuple[int, int]) -> None:
        super().__init__()
        middle, last = widths
        self.up = nn.ModuleList(
            [nn.ConvTranspose2d(width, middle, 2, stride=2), nn.ConvTranspose2d(middle, last, 2, stride=2)]
        )
        self.lateral = nn.ModuleList([nn.Conv2d(channels, last, 1) for channels in (width, middle, last)])
        self.smooth = nn.Conv2d(last, last, 3, padding=1)

    def forward(self, coarse: Tensor) -> Tensor:
        """(B, C, 16, 16) -> (B, widths[1], 64, 64)."""
        level, summed = coarse, self.lateral[0](coarse)
        for up, lateral in zip(self.up, list(self.lateral)[1:], strict=True):
            level = functional.silu(up(level))
            summed = functional.interpolate(summed, scale_factor=2.0, mode="nearest") + lateral(level)
        smoothed: Tensor = self.smooth(summed)
        return smoothed


def mask_pool(features: Tensor, masks: Tensor) -> Tensor:
    """The mean feature of each region, sum(F * m) / (sum(m) + 1e-6).

    features (B, C, h, w); masks (B, R, h, w) in 0..1 -> (B, R, C).
    """
    weights = masks / (masks.sum(dim=(2, 3), keepdim=True) + _EPSILON)
    return torch.einsum("bchw,brhw->brc", features, weights)


class RegionFeatures(nn.Module):
    """Eight tokens a picture. A region that is not to be seen has a learned token of its own."""

    def __init__(self, config: FaceXConfig) -> None:
        super().__init__()
        self.fpn = FPNAdapter(config.encoder_width, config.fpn_widths)
        self.absent = nn.Parameter(torch.zeros(len(REGIONS), config.fpn_widths[1]))

    def forward(self, coarse: Tensor, masks: Tensor) -> Tensor:
        """coarse (B, C, 16, 16), masks (B, 8, S, S) in 0..1 -> (B, 8, widths[1])."""
        features = self.fpn(coarse)
        small = functional.adaptive_avg_pool2d(masks, features.shape[-2:])
        present = small.sum(dim=(2, 3)) > _EPSILON
        return torch.where(present[..., None], mask_pool(features, small), self.absent.to(features.dtype))

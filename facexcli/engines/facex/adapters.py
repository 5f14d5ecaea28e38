"""The two adapters of FORS (sec. 3.3): phi_R brings representations to one width, phi_SD to what the UNet attends to.

Both work on each token by itself, on purpose: tokens of a source image are made once a video, and picked from then on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from facexcli.engines.facex.config import MOTION_SIZES, REGIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facexcli.engines.facex.config import FaceXConfig

_RESIDUAL_BLOCKS = 2


class RepresentationAdapter(nn.Module):
    """phi_R: a linear layer for each representation, and an embedding that tells the tokens apart."""

    def __init__(self, config: FaceXConfig) -> None:
        super().__init__()
        given, numbers = config.identity_shape
        sizes = {"identity": numbers, "regions": config.fpn_widths[1], **MOTION_SIZES}
        counts = {"identity": config.identity_tokens, "regions": len(REGIONS), **dict.fromkeys(MOTION_SIZES, 1)}
        if config.inpainting == "tokens":
            sizes["inpainting"], counts["inpainting"] = config.encoder_width, 1  # CLIP has told its tokens apart
        spread = {**dict.fromkeys(sizes, 1), "identity": config.identity_tokens // given}
        self.linear = nn.ModuleDict(
            {name: nn.Linear(size, spread[name] * config.width) for name, size in sizes.items()}
        )
        self.kind = nn.ParameterDict(
            {name: nn.Parameter(0.02 * torch.randn(count, config.width)) for name, count in counts.items()}
        )

    def forward(self, representations: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each (B, N, its size) -> (B, tokens, width), under the same names."""
        return {
            name: self.linear[name](value).reshape(len(value), -1, self.kind[name].shape[-1]) + self.kind[name]
            for name, value in representations.items()
        }


class SDAdapter(nn.Module):
    """phi_SD: two residual multilayer perceptrons."""

    def __init__(self, config: FaceXConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(config.width),
                nn.Linear(config.width, config.adapter_hidden),
                nn.GELU(),
                nn.Linear(config.adapter_hidden, config.width),
            )
            for _ in range(_RESIDUAL_BLOCKS)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        for block in self.blocks:
            tokens = tokens + block(tokens)
        return tokens

"""The image encoder behind region features and inpainting reference: CLIP, or a small network trained along."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from facexcli.engines.facex.config import FaceXConfig

GRID = 16
_CLIP_PX = 224
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_SMALL_PX = 64


class ClipEncoder(nn.Module):
    """CLIP ViT-L/14's last hidden state: it is aligned with the text that Stable Diffusion attends to (sec. 3.2)."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        from transformers import CLIPVisionConfig, CLIPVisionModel

        self.clip = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, patch_size=14
            )
        )
        # Not in a checkpoint, so made with their values even where weights are only announced (the meta device).
        with torch.device("cpu"):
            self.register_buffer("mean", torch.tensor(_CLIP_MEAN).view(1, 3, 1, 1), persistent=False)
            self.register_buffer("std", torch.tensor(_CLIP_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, rgb: Tensor) -> Tensor:
        """rgb (B, 3, S, S) in -1..1 -> tokens (B, 1 + 256, 1024): the class, then 16 x 16 patches, row by row."""
        small = functional.interpolate(rgb, (_CLIP_PX, _CLIP_PX), mode="bicubic", antialias=True)
        hidden: Tensor = self.clip(((small + 1) / 2 - self.mean) / self.std).last_hidden_state
        return hidden


class SmallEncoder(nn.Module):
    """Four convolutions from 64 pixels to 16 x 16 features; the first token is their mean, in CLIP's layout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.layers = nn.Sequential(
            nn.Conv2d(3, half, 3, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(half, half, 3, padding=1), nn.SiLU(),
            nn.Conv2d(half, width, 3, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip

    def forward(self, rgb: Tensor) -> Tensor:
        """rgb (B, 3, S, S) in -1..1 -> tokens (B, 1 + 256, width)."""
        small = functional.interpolate(rgb, (_SMALL_PX, _SMALL_PX), mode="bilinear", antialias=True)
        patches = self.layers(small).flatten(2).transpose(1, 2)
        return torch.cat([patches.mean(dim=1, keepdim=True), patches], dim=1)


def make_encoder(config: FaceXConfig) -> nn.Module:
    """The encoder of a configuration, with random weights."""
    return ClipEncoder() if config.perception == "paper" else SmallEncoder(config.encoder_width)


def feature_map(tokens: Tensor) -> Tensor:
    """An encoder's tokens (B, 1 + 256, C) as the picture (B, C, 16, 16) that they describe."""
    batch, _, width = tokens.shape
    return tokens[:, 1:].transpose(1, 2).reshape(batch, width, GRID, GRID)

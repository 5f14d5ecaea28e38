"""DECA's coarse encoder (Feng et al. 2021, sec. 4.1): a ResNet-50 and two layers, from a face to 236 numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from facexcli.engines.resnet import ResNet50
from facexcli.errors import WeightsError

if TYPE_CHECKING:
    from pathlib import Path

    from facexcli.types import Array

DECA_PX = 224
SIZES = {"shape": 100, "texture": 50, "expression": 50, "pose": 6, "camera": 3, "light": 27}
"""How many numbers describe what, in their order."""
_PREFIX = "E_flame."


@dataclass(frozen=True, slots=True)
class DecaCode:
    """float32 each: shape (100,), texture (50,), expression (50,), pose (6,), camera (3,), light (9, 3)."""

    shape: Array
    texture: Array
    expression: Array
    pose: Array
    camera: Array
    light: Array


class DecaEncoder(nn.Module):
    """The names of its parts are those of DECA's own checkpoint. width: of the first level, 64."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.encoder = ResNet50(width)
        features = self.encoder.features
        self.layers = nn.Sequential(nn.Linear(features, 1024), nn.ReLU(), nn.Linear(1024, sum(SIZES.values())))

    def forward(self, rgb: Tensor) -> Tensor:
        """(B, 3, 224, 224) in 0..1 to (B, 236)."""
        found: Tensor = self.layers(self.encoder(rgb))
        return found

    @torch.inference_mode()
    def code(self, rgb: Array) -> DecaCode:
        """Of one crop, uint8 (224, 224, 3)."""
        given = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
        numbers = self(given)[0].numpy()
        parts = np.split(numbers, np.cumsum(list(SIZES.values()))[:-1])
        named = dict(zip(SIZES, parts, strict=True))
        return DecaCode(**{**named, "light": named["light"].reshape(9, 3)})


def load_deca(path: Path) -> DecaEncoder:
    """The encoder of DECA's checkpoint, as `facex models add deca` converted it.

    Raises WeightsError for a file of another architecture.
    """
    try:
        tensors = load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a safetensors file, or cut short", "facex models add deca PATH") from error
    own = {name.removeprefix(_PREFIX): value for name, value in tensors.items() if name.startswith(_PREFIX)}
    first = own.get("encoder.conv1.weight")
    network = DecaEncoder(64 if first is None else len(first))
    try:
        network.load_state_dict(own)
    except RuntimeError as error:
        raise WeightsError(
            f"{path}: not DECA's encoder: {str(error).splitlines()[-1].strip()}", "facex models add deca PATH"
        ) from error
    return network.eval()

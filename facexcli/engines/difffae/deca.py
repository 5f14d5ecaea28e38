"""DECA's coarse encoder (Feng et al. 2021, sec. 4.1): a ResNet-50 and two layers, from a face to 236 numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from facexcli.errors import WeightsError

if TYPE_CHECKING:
    from pathlib import Path

    from facexcli.types import Array

DECA_PX = 224
SIZES = {"shape": 100, "texture": 50, "expression": 50, "pose": 6, "camera": 3, "light": 27}
"""How many numbers describe what, in their order."""
_BLOCKS, _EXPANSION = (3, 4, 6, 3), 4
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
        self.encoder = _ResNet50(width)
        features = 8 * width * _EXPANSION
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


class _ResNet50(nn.Module):
    """He et al. 2016, table 1, without its last layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        before = width
        for level, count in enumerate(_BLOCKS):
            inner = width * 2**level
            blocks = []
            for place in range(count):
                blocks.append(_Bottleneck(before, inner, 2 if level and not place else 1))
                before = inner * _EXPANSION
            self.add_module(f"layer{level + 1}", nn.Sequential(*blocks))

    def forward(self, rgb: Tensor) -> Tensor:
        hidden = functional.max_pool2d(functional.relu(self.bn1(self.conv1(rgb))), 3, 2, 1)
        for level in range(len(_BLOCKS)):
            hidden = self.get_submodule(f"layer{level + 1}")(hidden)
        return hidden.mean(dim=(2, 3))


class _Bottleneck(nn.Module):
    def __init__(self, before: int, inner: int, stride: int) -> None:
        super().__init__()
        after = inner * _EXPANSION
        self.conv1, self.bn1 = nn.Conv2d(before, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, after, 1, bias=False), nn.BatchNorm2d(after)
        self.downsample: nn.Module | None = None
        if stride > 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, hidden: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(hidden)))
        inner = functional.relu(self.bn2(self.conv2(inner)))
        skipped = hidden if self.downsample is None else self.downsample(hidden)
        return functional.relu(self.bn3(self.conv3(inner)) + skipped)

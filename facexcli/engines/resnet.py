"""ResNet-50 (He et al. 2016, table 1) without its last layer, as public face models are built upon it.

The stride is at the 3 x 3 convolution of a block, as torchvision has it; names of the parts are torchvision's too.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

_BLOCKS, _EXPANSION = (3, 4, 6, 3), 4


class ResNet50(nn.Module):
    """width: channels of the first level; the published networks have 64."""

    def __init__(self, width: int = 64) -> None:
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
        self.features = before

    def forward(self, rgb: Tensor) -> Tensor:
        """(B, 3, H, W) to the mean of the last level, (B, `features`)."""
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

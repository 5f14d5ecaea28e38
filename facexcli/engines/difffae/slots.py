"""Region-responsive Semantic Composition (sec. 4.2, app. B): a portrait as a few tokens, each of a part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from facexcli.engines.difffae.config import DiffFAEConfig, EncoderShape

_EPSILON = 1e-6
_GROUPS = 8


class Slots(NamedTuple):
    """tokens: (B, K, width). masks: (B, K, g, g), who looks where; at each place they add up to 1 over the slots."""

    tokens: Tensor
    masks: Tensor


class RegionEncoder(nn.Module):
    """phi_E (table 4): a picture (B, 3, S, S) in -1..1 as features (B, width, g, g) that know of their places."""

    def __init__(self, shape: EncoderShape, width: int, grid_px: int) -> None:
        super().__init__()
        widths = [shape.base * factor for factor in shape.multipliers]
        self.patches = nn.Conv2d(3, widths[0], shape.patch_px, shape.patch_px)
        self.down, self.smaller = nn.ModuleList(), nn.ModuleList()
        before, skipped = widths[0], [widths[0]]
        for level, after in enumerate(widths):
            blocks = nn.ModuleList()
            for _ in range(shape.blocks):
                blocks.append(_Residual(before, after))
                before = after
                skipped.append(after)
            self.down.append(blocks)
            if level + 1 < len(widths):
                self.smaller.append(nn.Conv2d(after, after, 3, 2, 1))
                skipped.append(after)
        self.middle = nn.ModuleList(
            [_Residual(before, before), _SelfAttention(before, shape.heads), _Residual(before, before)]
        )
        self.up, self.larger = nn.ModuleList(), nn.ModuleList()
        for level, after in reversed(list(enumerate(widths))):
            blocks = nn.ModuleList()
            for _ in range(shape.blocks + 1):
                blocks.append(_Residual(before + skipped.pop(), after))
                before = after
            self.up.append(blocks)
            if level:
                self.larger.append(nn.Conv2d(after, after, 3, padding=1))
        self.last = nn.Sequential(_norm(before), nn.SiLU(), nn.Conv2d(before, width, 3, padding=1))
        self.places = _Places(width, grid_px)

    def forward(self, rgb: Tensor) -> Tensor:
        hidden: Tensor = self.patches(rgb)
        skipped = [hidden]
        for level, blocks in enumerate(self.down):
            for block in blocks:  # type: ignore[attr-defined]
                hidden = block(hidden)
                skipped.append(hidden)
            if level < len(self.smaller):
                hidden = self.smaller[level](hidden)
                skipped.append(hidden)
        for layer in self.middle:
            hidden = layer(hidden)
        for level, blocks in enumerate(self.up):
            for block in blocks:  # type: ignore[attr-defined]
                hidden = block(torch.cat([hidden, skipped.pop()], dim=1))
            if level < len(self.larger):
                hidden = self.larger[level](functional.interpolate(hidden, scale_factor=2.0))
        features: Tensor = self.places(self.last(hidden))
        return features


class SlotAttention(nn.Module):
    """Slots compete for places (Locatello et al. 2020, alg. 1); they start from learned places of their own, so that
    each keeps its part from one picture to the next."""

    def __init__(self, count: int, width: int, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations
        self.start = nn.Parameter(torch.randn(count, width))  # far apart: slots that start alike stay alike
        self.norm_inputs, self.norm_slots, self.norm_hidden = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.update = nn.GRUCell(width, width)
        self.hidden = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, inputs: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features (B, N, width) to slots (B, K, width) and attention (B, K, N), which sums to 1 over the slots."""
        batch, _, width = inputs.shape
        inputs = self.norm_inputs(inputs)
        keys, values = self.key(inputs), self.value(inputs)
        slots = (self.start if start is None else start).expand(batch, -1, -1)
        for _ in range(self.iterations):
            scores = self.query(self.norm_slots(slots)) @ keys.transpose(1, 2) * width**-0.5
            attention = scores.softmax(dim=1)
            shares = (attention + _EPSILON) / (attention + _EPSILON).sum(dim=2, keepdim=True)
            found = shares @ values
            slots = self.update(found.flatten(0, 1), slots.reshape(-1, width)).view(batch, -1, width)
            slots = slots + self.hidden(self.norm_hidden(slots))
        return slots, attention


class RegionSlots(nn.Module):
    """Encoder and slot attention: what the denoiser is told of the source, and the masks of eq. 7."""

    def __init__(self, config: DiffFAEConfig) -> None:
        super().__init__()
        shape = config.slots
        self.encoder = RegionEncoder(config.encoder, shape.width, config.grid_px)
        self.mix = nn.Sequential(
            nn.LayerNorm(shape.width), nn.Linear(shape.width, shape.width), nn.ReLU(),
            nn.Linear(shape.width, shape.width),
        )  # fmt: skip
        self.attention = SlotAttention(shape.count, shape.width, shape.iterations)

    def forward(self, rgb: Tensor) -> Slots:
        """rgb: (B, 3, S, S) in -1..1."""
        features = self.encoder(rgb)
        side = features.shape[-1]
        tokens, attention = self.attention(self.mix(features.flatten(2).transpose(1, 2)))
        return Slots(tokens, attention.reshape(*attention.shape[:2], side, side))


class SlotDecoder(nn.Module):
    """zeta: each slot, spread over the picture, becomes a picture and a mask of its own (Watters et al. 2019); only
    pretraining needs it. Parts are large: half of the resolution is enough for them, a quarter of the work."""

    def __init__(self, config: DiffFAEConfig) -> None:
        super().__init__()
        width, self._side, self._size_px = config.decoder_width, max(8, config.size_px // 8), config.size_px
        self.places = _Places(config.slots.width, self._side)
        self.first = nn.Conv2d(config.slots.width, width, 3, padding=1)
        doublings = (config.size_px // self._side).bit_length() - 2
        self.grow = nn.ModuleList([nn.ConvTranspose2d(width, width, 4, 2, 1) for _ in range(doublings)])
        self.last = nn.Conv2d(width, 4, 3, padding=1)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Slots (B, K, width) to pictures (B, K, 3, S, S) in about -1..1 and masks (B, K, 1, S, S), which sum to 1."""
        batch, count, width = tokens.shape
        spread = tokens.reshape(-1, width, 1, 1).expand(-1, -1, self._side, self._side)
        hidden = functional.relu(self.first(self.places(spread)))
        for layer in self.grow:
            hidden = functional.relu(layer(hidden))
        made = functional.interpolate(self.last(hidden), (self._size_px,) * 2, mode="bilinear", align_corners=False)
        made = made.reshape(batch, count, *made.shape[1:])
        return made[:, :, :3], made[:, :, 3:].softmax(dim=1)


class SlotAutoencoder(nn.Module):
    """RSC as it is pretrained (sec. 4.3): a picture, taken apart and put together again."""

    def __init__(self, config: DiffFAEConfig) -> None:
        super().__init__()
        self.config = config
        self.regions = RegionSlots(config)
        self.decoder = SlotDecoder(config)

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """The picture again, (B, 3, S, S), and the masks of its parts, (B, K, S, S)."""
        return self.put_together(self.regions(rgb).tokens)

    def put_together(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What `forward` gives, out of slots (B, K, width)."""
        pictures, masks = self.decoder(tokens)
        return (pictures * masks).sum(dim=1), masks[:, :, 0]


class _Places(nn.Module):
    """Adds what a linear layer makes of each cell's distances from the four sides."""

    grid: Tensor

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(4, width, 1)
        line = torch.linspace(0, 1, side)
        y, x = torch.meshgrid(line, line, indexing="ij")
        self.register_buffer("grid", torch.stack([x, y, 1 - x, 1 - y])[None], persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        placed: Tensor = features + self.project(self.grid)
        return placed


class _Residual(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _norm(before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1),
            _norm(after), nn.SiLU(), nn.Conv2d(after, after, 3, padding=1),
        )  # fmt: skip
        self.skip = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        added: Tensor = self.skip(hidden) + self.layers(hidden)
        return added


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, hidden: Tensor) -> Tensor:
        tokens = self.norm(hidden).flatten(2).transpose(1, 2)
        found: Tensor = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return hidden + found.transpose(1, 2).view_as(hidden)


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(_GROUPS, width)

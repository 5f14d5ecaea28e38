"""What DiffFAE is trained on: prepared views of people as tensors, and which of them are held out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from facexcli.engines.difffae.roles import ROLES, expected_regions

if TYPE_CHECKING:
    from torch import Tensor

    from facexcli.engines.difffae.config import DiffFAEConfig
    from facexcli.train.portraits import Portraits
    from facexcli.train.trainable import Batch
    from facexcli.types import Array

_VALIDATED = 48


class PortraitViews:
    """The prepared views as tensors, split into those to learn from and those to judge by.

    train, held: the numbers of either, int (N,); of those to judge by at most 48, spread evenly. Views are asked for by
    their numbers, int (B,).
    """

    def __init__(self, config: DiffFAEConfig, portraits: Portraits) -> None:
        self._portraits, self._weight = portraits, config.region_prior
        self._has_identity = config.identity_width > 0
        self.train, held = _split(portraits)
        self.held = held[:: max(1, len(held) // _VALIDATED)][:_VALIDATED]
        _, first, which, counts = np.unique(portraits.owner, return_index=True, return_inverse=True, return_counts=True)
        self._first, self._count = first[which], counts[which]
        if self._weight:
            regions = [expected_regions(mask, config.grid_px) for mask in portraits.mask]
            self._regions = torch.from_numpy(np.stack(regions))

    def rgb(self, views: Array) -> Tensor:
        """float32 (B, 3, S, S) in -1..1."""
        return _pictures(self._portraits.rgb[views])

    def faces(self, views: Array) -> Tensor:
        """Where the faces are: bool (B, S, S)."""
        return torch.from_numpy(self._portraits.mask[views])

    def regions(self, views: Array) -> dict[str, Tensor]:
        """Where parts are expected, (B, 4, g, g), if the configuration wants to know."""
        return {"regions": self._regions[torch.from_numpy(views)]} if self._weight else {}

    def mates(self, queries: Array, shares: Array) -> Array:
        """Another view of each person, which one the shares in 0..1 say; the same where there is no other."""
        first, count = self._first[queries], self._count[queries]
        step = np.where(count > 1, 1 + np.floor(shares * np.maximum(count - 1, 1)).astype(int), 0)
        return np.asarray(first + (queries - first + step) % count)

    def pair(self, sources: Array, queries: Array) -> dict[str, Tensor]:
        """`source`, `query` and `rendered` as `rgb` gives them. `regions` are the source's; so is `identity`, (B, D),
        if the configuration wants it."""
        found = {
            "source": self.rgb(sources),
            "query": self.rgb(queries),
            "rendered": _pictures(self._portraits.rendered[queries]),
            **self.regions(sources),
        }
        if self._has_identity:
            found["identity"] = torch.from_numpy(self._portraits.identity[sources])
        return found

    def prior(self, batch: Batch, *masks: Tensor) -> Tensor:
        """How far slots are from where faces, hair, clothes and backgrounds mostly are: a cross entropy, under the
        configuration's weight. masks: (B, K, n, n) each; of fewer slots than four nothing is expected."""
        total = torch.zeros((), device=masks[0].device)
        if not self._weight or masks[0].shape[1] < len(ROLES):
            return total
        wanted = batch["regions"]
        for each in masks:
            side = wanted.shape[-1]
            shares = functional.adaptive_avg_pool2d(each[:, : len(ROLES)], (side, side)).clamp(min=1e-4)
            total = total - (wanted * shares.log()).sum(dim=1).mean()
        return self._weight * total


def _split(portraits: Portraits) -> tuple[Array, Array]:
    """The views to learn from, and those to judge by; all for both where nothing is held out."""
    held, train = np.flatnonzero(portraits.held_out), np.flatnonzero(~portraits.held_out)
    everything = np.arange(len(portraits))
    return (train if len(train) else everything), (held if len(held) else everything)


def _pictures(rgb: Array) -> Tensor:
    """uint8 (B, S, S, 3) -> float32 (B, 3, S, S) in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float() / 127.5 - 1

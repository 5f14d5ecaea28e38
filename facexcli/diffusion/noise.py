"""Starting noise that depends on whose face it is and on nothing else: what does not change cannot flicker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facexcli.seeds import generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from facexcli.types import Array


def drawn_noise(
    keys: Sequence[tuple[int, int]], shape: tuple[int, ...], purpose: str, frame_index: int | None = None
) -> Array:
    """Standard normal noise, float32 (len(keys), *shape): every device and every runtime starts from the same.

    Args:
        keys: (seed, track) of each sample.
        shape: of one sample.
        purpose: see `seeds.noise_key`.
        frame_index: None for noise that a track keeps.
    """
    return np.stack(
        [generator(seed, track_id, frame_index, purpose).standard_normal(shape, np.float32) for seed, track_id in keys]
    )


def track_noise(
    keys: Sequence[tuple[int, int]], shape: tuple[int, ...], purpose: str, frame_index: int | None = None
) -> torch.Tensor:
    """`drawn_noise` for torch, on the CPU."""
    import torch

    return torch.from_numpy(drawn_noise(keys, shape, purpose, frame_index))

"""Noise keys: where every random number comes from.

A key is a hash of (root seed, track, frame, purpose), so that the same plan draws the same noise whatever the batch
size, the segment borders or the worker. Noise is fixed per track by default (frame None): what does not change from
frame to frame cannot flicker.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


def noise_key(root_seed: int, track_id: int, frame_index: int | None, purpose: str) -> int:
    """A 64-bit integer in 0..2**64-1, the same on every machine and in every version of Python.

    Args:
        root_seed: the run's seed.
        track_id: whose face.
        frame_index: None for noise that a track keeps.
        purpose: what the noise is for, so that two uses do not share their numbers.
    """
    frame = "" if frame_index is None else str(frame_index)
    text = f"{root_seed}\0{track_id}\0{frame}\0{purpose}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def generator(root_seed: int, track_id: int, frame_index: int | None, purpose: str) -> np.random.Generator:
    """numpy's default generator, seeded with the noise key."""
    return np.random.default_rng(noise_key(root_seed, track_id, frame_index, purpose))

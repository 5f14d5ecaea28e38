"""The waves that a face's watermark is made of, and what a key says of each: for who marks and who searches.

They are those of a lapped cosine transform (Princen and Bradley 1986) in a small grid that is aligned to the face.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from facexcli.types import Array

GRID_PX = 128
"""Side of the grid that the face is looked at in: the FFHQ template at this size."""
PUBLIC_KEY = b"facex public watermark"
"""Everybody's key: anybody can find the mark, and whoever sets out to remove it can."""
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Of R, G and B: ITU-R BT.709."""
SYMBOL_BITS = 16
LEFT, TOP, WIDTH, HEIGHT = 24, 24, 80, 96
"""The face in the grid."""
BOX_PX = (WIDTH, HEIGHT)
SPACING = 50.0
"""Of the lattice that coefficients are moved to: codes of 255, for a wave of unit length."""
_VERSION = b"facex watermark 2"
_SYMBOLS = 2
_SYNC_SHARE = 0.62
_HOP = 12
"""Half the side of a wave's window."""
_BAND = (0.06, 0.19)
"""Cycles a grid pixel: below is the light on the face, above is what a coarse encoding takes away."""
_COVERED = 0.8
"""So much of a wave's window lies in the face."""


def make_dither(key: bytes, run_id: int) -> Array:
    """The mark of a run (32 bits): where each wave's coefficient belongs, float32 (N,) in 0..1."""
    dither = np.empty(len(_waves().rows), np.float32)
    dither[sync()] = sync_dither(key)
    for symbol, waves in enumerate(by_symbol()):
        value = run_id >> (SYMBOL_BITS * symbol) & (1 << SYMBOL_BITS) - 1
        dither[waves] = symbol_dither(key, symbol, value)
    return dither


def coefficients(boxes: Array) -> Array:
    """How much of each wave there is in (..., HEIGHT, WIDTH): float32 (..., N)."""
    waves = _waves()
    return np.asarray((waves.down @ boxes @ waves.across.T)[..., waves.rows, waves.columns])


def picture(coefficients: Array) -> Array:
    """The waves added up: float32 (HEIGHT, WIDTH)."""
    waves = _waves()
    table = np.zeros((len(waves.down), len(waves.across)), np.float32)
    table[waves.rows, waves.columns] = coefficients
    return np.asarray(waves.down.T @ table @ waves.across)


@dataclass(frozen=True, slots=True, eq=False)
class _Waves:
    """Orthogonal waves of unit length: wave i is the outer product of down[rows[i]] and across[columns[i]]."""

    down: Array
    across: Array
    rows: Array
    columns: Array


@lru_cache(maxsize=1)
def _waves() -> _Waves:
    """Those in the band whose windows lie in the face."""
    face = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.ellipse(face, (WIDTH // 2, HEIGHT // 2 + 2), (WIDTH // 2 - 6, HEIGHT // 2 - 6), 0, 0, 360, 1.0, -1)
    down, down_hz, down_window = _lapped(HEIGHT)
    across, across_hz, across_window = _lapped(WIDTH)
    covered = down_window @ face @ across_window.T / _HOP**2
    frequency = np.hypot(down_hz[:, None], across_hz)
    rows, columns = np.nonzero((covered >= _COVERED) & (frequency >= _BAND[0]) & (frequency < _BAND[1]))
    used_rows, rows = np.unique(rows, return_inverse=True)
    used_columns, columns = np.unique(columns, return_inverse=True)
    return _Waves(down[used_rows].astype(np.float32), across[used_columns].astype(np.float32), rows, columns)


def _lapped(length: int) -> tuple[Array, Array, Array]:
    """The modified discrete cosine transform of a line: waves (K, length), cycles a pixel (K,), windows (K, length)."""
    orders = np.arange(int(2 * _HOP * _BAND[1]) + 1)
    starts = np.arange(-_HOP, length, _HOP)
    place = np.arange(length) - starts[:, None, None] + 0.5
    within = (place > 0) & (place < 2 * _HOP)
    window = np.where(within, np.sin(np.pi * place / (2 * _HOP)), 0.0)
    waves = np.sqrt(2 / _HOP) * window * np.cos(np.pi / _HOP * (place + _HOP / 2) * (orders[:, None] + 0.5))
    frequency = np.tile((orders + 0.5) / (2 * _HOP), len(starts))
    power = np.repeat((window**2)[:, 0], len(orders), axis=0)
    return waves.reshape(-1, length), frequency, power


@lru_cache(maxsize=1)
def by_symbol() -> tuple[Array, ...]:
    """The waves that carry each symbol, as many for each; by chance, so that each is everywhere in the face."""
    count = len(_waves().rows)
    drawn = np.frombuffer(hashlib.shake_256(_VERSION + b" roles").digest(4 * count), "<u4")
    each = int(count * (1 - _SYNC_SHARE)) // _SYMBOLS
    return tuple(np.sort(np.argsort(drawn, kind="stable")[: each * _SYMBOLS].reshape(_SYMBOLS, each)))


@lru_cache(maxsize=1)
def sync() -> Array:
    """The waves that are the same in every run."""
    return np.setdiff1d(np.arange(len(_waves().rows)), np.concatenate(by_symbol()))


@lru_cache(maxsize=4)
def sync_dither(key: bytes) -> Array:
    """float32 (waves,) in 0..1."""
    return _drawn(b" sync\0" + key, len(sync()))


def symbol_dither(key: bytes, symbol: int, value: int) -> Array:
    """float32 (waves,) in 0..1."""
    return _drawn(b" %d %d\0" % (symbol, value) + key, len(by_symbol()[symbol]))


def _drawn(seed: bytes, count: int) -> Array:
    drawn = np.frombuffer(hashlib.shake_256(_VERSION + seed).digest(2 * count), "<u2")
    return (drawn.astype(np.float32) + np.float32(0.5)) / np.float32(65536)

"""PQ and HLG pictures as SDR, and the way back.

What looks at faces was made for SDR pictures, so it is shown a rendition: light up to the reference white of HDR
programmes (203 cd/m2, ITU-R BT.2408-7) as a BT.1886 display of that white would show it, in BT.709 primaries, and
brighter light compressed: 1000 cd/m2 are 1, what is brighter yet lies a little above 1. A white of an SDR still thus
becomes a highlight and not a flash. The curve is smooth and strictly monotone, so that the way back is exact. HLG is
taken as its nominal 1000 cd/m2 display shows it (BT.2100 table 5), with the system gamma on each component by itself,
which keeps it reversible.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from facexcli.types import Array, ColorDescription

_PQ, _HLG = 16, 18
_BT2020 = 9
_REFERENCE_WHITE_NITS = 203.0
_DISPLAY_GAMMA = 2.4
_PQ_PEAK_NITS, _HLG_PEAK_NITS = 10000.0, 1000.0
_WHITE_NITS = 1000.0
"""What the rendition shows as 1."""
_HLG_SYSTEM_GAMMA = 1.2
# SMPTE ST 2084, BT.2100 table 4.
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
# ARIB STD-B67, BT.2100 table 5.
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
_KNEE = 0.75
"""Up to here the rendition is what an SDR display would show; above, highlights are compressed."""
_PEAK = (_WHITE_NITS / _REFERENCE_WHITE_NITS) ** (1 / _DISPLAY_GAMMA)
_BEND = (1 - _KNEE) / (_PEAK - 1)
# A BT.2020 primary has components of up to 1.7 in BT.709.
_PQ_OVER = ((2 * _PQ_PEAK_NITS / _REFERENCE_WHITE_NITS) ** (1 / _DISPLAY_GAMMA) - _KNEE) / (_PEAK - _KNEE)
_BRIGHTEST = _PQ_OVER * (1 + _BEND) / (_PQ_OVER + _BEND)
"""Where the brightest that PQ can say lies above the knee, in the rendition."""
# Linear light, BT.2087-0 equation of its annex 2 (inverse of BT.709 to BT.2020).
_BT709_FROM_BT2020 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]]
)


def is_hdr(color: ColorDescription) -> bool:
    """Whether the transfer is PQ (SMPTE ST 2084) or HLG (ARIB STD-B67)."""
    return color.transfer in (_PQ, _HLG)


def sdr_from_hdr(rgb: Array, color: ColorDescription) -> Array:
    """The SDR rendition of a PQ or HLG R'G'B' signal in 0..1: float32 (..., 3), negative outside of BT.709."""
    nits = _nits_from_pq(rgb) if color.transfer == _PQ else _nits_from_hlg(rgb)
    if color.primaries == _BT2020:
        nits = nits @ _BT709_FROM_BT2020.T.astype(np.float32)
    level = _signed_power(nits * np.float32(1 / _REFERENCE_WHITE_NITS), 1 / _DISPLAY_GAMMA)
    return _compressed(level).astype(np.float32)


@lru_cache(maxsize=4)
def sdr_table(color: ColorDescription) -> Array:
    """The rendition of 8-bit R'G'B', uint8 (256,): good enough to find faces by, without the change of primaries."""
    signal = np.repeat(np.linspace(0, 1, 256, dtype=np.float32)[:, None], 3, axis=1)
    shown = sdr_from_hdr(signal, color)[:, 1]
    return np.asarray(np.round(np.clip(shown, 0, 1) * 255), np.uint8)


def hdr_from_sdr(rgb: Array, color: ColorDescription) -> Array:
    """The PQ or HLG signal of an SDR rendition: float32 (..., 3); the inverse of `sdr_from_hdr`."""
    level = _expanded(np.asarray(rgb, np.float32))
    nits = _signed_power(level, _DISPLAY_GAMMA) * np.float32(_REFERENCE_WHITE_NITS)
    if color.primaries == _BT2020:
        nits = nits @ np.linalg.inv(_BT709_FROM_BT2020).T.astype(np.float32)
    nits = np.maximum(nits, 0)
    signal = _pq_from_nits(nits) if color.transfer == _PQ else _hlg_from_nits(nits)
    return signal.astype(np.float32)


def _compressed(level: Array) -> Array:
    """Identity up to the knee, then a hyperbola of the same slope that takes the level of white to 1."""
    over = np.maximum(level - np.float32(_KNEE), 0) / np.float32(_PEAK - _KNEE)
    bent = over * np.float32(1 + _BEND) / (over + np.float32(_BEND))
    return np.minimum(level, np.float32(_KNEE)) + np.float32(1 - _KNEE) * bent


def _expanded(value: Array) -> Array:
    over = np.maximum(value - np.float32(_KNEE), 0) / np.float32(1 - _KNEE)
    over = np.minimum(over, np.float32(_BRIGHTEST))
    straight = over * np.float32(_BEND) / (np.float32(1 + _BEND) - over)
    return np.minimum(value, np.float32(_KNEE)) + np.float32(_PEAK - _KNEE) * straight


def _signed_power(values: Array, exponent: float) -> Array:
    powers: Array = np.sign(values) * np.abs(values) ** np.float32(exponent)
    return powers


def _nits_from_pq(signal: Array) -> Array:
    root = np.clip(signal, 0, 1) ** np.float32(1 / _M2)
    linear = (np.maximum(root - np.float32(_C1), 0) / (np.float32(_C2) - np.float32(_C3) * root)) ** np.float32(1 / _M1)
    nits: Array = np.float32(_PQ_PEAK_NITS) * linear
    return nits


def _pq_from_nits(nits: Array) -> Array:
    power = (nits * np.float32(1 / _PQ_PEAK_NITS)) ** np.float32(_M1)
    signal: Array = ((np.float32(_C1) + np.float32(_C2) * power) / (1 + np.float32(_C3) * power)) ** np.float32(_M2)
    return signal


def _nits_from_hlg(signal: Array) -> Array:
    signal = np.clip(signal, 0, 1)
    low = signal * signal * np.float32(1 / 3)
    high = (np.exp((signal - np.float32(_C)) * np.float32(1 / _A)) + np.float32(_B)) * np.float32(1 / 12)
    scene = np.where(signal <= 0.5, low, high)
    nits: Array = np.float32(_HLG_PEAK_NITS) * scene ** np.float32(_HLG_SYSTEM_GAMMA)
    return nits


def _hlg_from_nits(nits: Array) -> Array:
    scene = np.minimum(nits * np.float32(1 / _HLG_PEAK_NITS), 1) ** np.float32(1 / _HLG_SYSTEM_GAMMA)
    low = np.sqrt(3 * scene)
    high = np.float32(_A) * np.log(np.maximum(12 * scene - np.float32(_B), np.float32(1e-6))) + np.float32(_C)
    return np.where(scene <= 1 / 12, low, high)

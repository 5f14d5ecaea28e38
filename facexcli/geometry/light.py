"""Light as spherical harmonics of the second order: nine numbers a colour say how bright a surface of any direction is.

Source: R. Ramamoorthi and P. Hanrahan, "An Efficient Representation for Irradiance Environment Maps", SIGGRAPH 2001.
Order and factors of the basis are those of DECA (Feng et al. 2021), so that its 27 numbers mean the same.

Normals are unit vectors with x to the right of the picture, y up and z towards the camera. Colours are linear light.
"""

from __future__ import annotations

import numpy as np

from facexcli.types import Array

COEFFICIENTS = 9
_FACTORS = np.array(
    [
        1 / np.sqrt(4 * np.pi),
        *[2 * np.pi / 3 * np.sqrt(3 / (4 * np.pi))] * 3,
        *[np.pi / 4 * 3 * np.sqrt(5 / (12 * np.pi))] * 3,
        np.pi / 4 * 1.5 * np.sqrt(5 / (12 * np.pi)),
        np.pi / 4 * 0.5 * np.sqrt(5 / (4 * np.pi)),
    ],
    np.float32,
)


def sh_basis(normals: Array) -> Array:
    """float32 (..., 9) for unit normals (..., 3): 1, x, y, z, xy, xz, yz, xx - yy, 3zz - 1, each with its factor."""
    given = np.asarray(normals, np.float32)
    x, y, z = given[..., 0], given[..., 1], given[..., 2]
    basis = np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], axis=-1)
    return np.asarray(basis * _FACTORS)


def shade(normals: Array, light: Array) -> Array:
    """How bright a white surface is: float32 (..., 3) for normals (..., 3) under light (9, 3). May be negative, where a
    light is sharper than nine numbers can say."""
    return np.asarray(sh_basis(normals) @ np.asarray(light, np.float32))


def even_light(level: float = 1.0) -> Array:
    """Light from everywhere that makes white surfaces `level` bright: float32 (9, 3)."""
    light = np.zeros((COEFFICIENTS, 3), np.float32)
    light[0] = level / _FACTORS[0]
    return light


def directional_light(direction: Array, ambient: float = 0.3, strength: float = 1.0) -> Array:
    """A distant lamp in `direction` (3,) and the rest from everywhere, white: float32 (9, 3).

    A surface that faces the lamp is about ambient + strength bright. The nine numbers are the projection of a clamped
    cosine: 1/4, 1/2 and 5/16 of its bands (Ramamoorthi and Hanrahan 2001, eq. 8, for a lamp of unit irradiance).
    """
    towards = np.asarray(direction, np.float64) / np.linalg.norm(direction)
    x, y, z = towards
    bands = np.array([0.25, *0.5 * towards, *(15 / 16 * np.array([x * y, x * z, y * z])), 15 / 64 * (x * x - y * y),
                      5 / 64 * (3 * z * z - 1)])  # fmt: skip
    light = (strength * bands / _FACTORS)[:, None].repeat(3, axis=1)
    light[0] += ambient / _FACTORS[0]
    return np.asarray(light, np.float32)


def solve_light(normals: Array, brightness: Array, weights: Array, ridge: float = 0.0) -> Array:
    """The light that explains brightness (N, 3) of white surfaces with normals (N, 3) best: float32 (9, 3).

    Args:
        weights: (N,), how much each says.
        ridge: how far all but the even part is drawn to nothing, as a share of what the data say.
    """
    basis = sh_basis(normals).astype(np.float64)
    weighted = basis * np.asarray(weights, np.float64)[:, None]
    normal = weighted.T @ basis
    penalty = np.full(COEFFICIENTS, ridge * np.trace(normal) / COEFFICIENTS)
    penalty[0] = 0
    normal += np.diag(penalty + 1e-9 * np.trace(normal) + 1e-12)
    return np.asarray(np.linalg.solve(normal, weighted.T @ np.asarray(brightness, np.float64)), np.float32)


def linear_from_srgb(rgb: Array) -> Array:
    """sRGB (uint8, or float 0..1) as linear light: float32 (IEC 61966-2-1)."""
    if rgb.dtype == np.uint8:
        return np.asarray(_DECODED[rgb])
    value = np.clip(rgb, 0, 1)
    return np.asarray(np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4), np.float32)


def srgb_from_linear(light: Array) -> Array:
    """Linear light as sRGB: float32, clipped to 0..1."""
    value = np.clip(np.asarray(light, np.float32), 0, 1)
    return _ENCODED[np.asarray(value * (len(_ENCODED) - 1) + np.float32(0.5), np.int32)]


_DECODED = linear_from_srgb(np.arange(256) / 255)
_STEPS = np.arange(65536) / 65535
_ENCODED: Array = np.where(
    _STEPS <= 0.0031308, 12.92 * _STEPS, 1.055 * np.maximum(_STEPS, 1e-9) ** (1 / 2.4) - 0.055
).astype(np.float32)

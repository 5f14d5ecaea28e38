"""Noise keys: the same everywhere, different wherever something is different."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from facexcli.seeds import generator, noise_key

_KEYS = st.tuples(
    st.integers(0, 2**63 - 1), st.integers(0, 10**6), st.none() | st.integers(0, 10**6), st.text(max_size=8)
)


def test_a_key_never_changes() -> None:
    # Written down once: plans that were made by an older version have to draw the same noise.
    assert noise_key(0, 0, None, "latent") == 0xD6AA8C24F8C5C111
    assert noise_key(7, 3, 120, "latent") == 0xB0D1FC06C26B4F83


@given(_KEYS, _KEYS)
def test_keys_differ_where_anything_differs(
    a: tuple[int, int, int | None, str], b: tuple[int, int, int | None, str]
) -> None:
    assert (noise_key(*a) == noise_key(*b)) == (a == b)


@given(_KEYS)
def test_a_key_fits_in_64_bits(key: tuple[int, int, int | None, str]) -> None:
    assert 0 <= noise_key(*key) < 2**64


def test_a_generator_repeats_itself() -> None:
    first, again = (generator(1, 2, 3, "x").normal(size=100) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, generator(1, 2, 4, "x").normal(size=100))

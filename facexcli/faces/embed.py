"""Arithmetic on identity embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.types import Array


def unit(vector: Array) -> Array:
    """float32 (D,) of norm 1. Raises ValueError for a vector without direction."""
    values = np.asarray(vector, np.float64)
    norm = float(np.linalg.norm(values))
    if not norm > 0:
        raise ValueError("an embedding must have a direction")
    return (values / norm).astype(np.float32)


def mean_embedding(embeddings: Sequence[Array]) -> Array | None:
    """The unit vector nearest to all of `embeddings` in the mean, or None for none."""
    return unit(np.mean(np.asarray(embeddings, np.float64), axis=0)) if len(embeddings) else None


def embedding_distance(a: Array, b: Array) -> float:
    """Euclidean distance of two unit embeddings, 0..2; compare with `Analyzer.same_person_distance`."""
    return float(np.linalg.norm(np.asarray(a, np.float64) - np.asarray(b, np.float64)))


def identity_distance(a_raw: Array, b_raw: Array) -> float:
    """Euclidean distance of two raw 128-d dlib descriptors (`DlibAnalyzer.descriptor`), as benchmarks report it.

    dlib's network does not normalise its output (norms are about 1.3 to 1.5), and its customary threshold of 0.6 is for
    raw descriptors; `Face.embedding` is normalised, so its distances are smaller and must not be mixed with these.
    """
    return float(np.linalg.norm(np.asarray(a_raw, np.float64) - np.asarray(b_raw, np.float64)))

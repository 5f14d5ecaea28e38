"""Reads pickles of numpy arrays and of what wraps them, such as FLAME's, without running what else they may hold.

Only the child process of `weights.convert` imports this. A pickle may name arrays, sparse matrices and chumpy's arrays;
the last two become plain arrays by what they carry, and the packages themselves are never asked.
"""

from __future__ import annotations

import pickle
from typing import IO, Any

import numpy as np

_ARRAYS = frozenset(
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
    for name in ("_reconstruct", "scalar", "ndarray", "dtype")
) | {("_codecs", "encode")}
_SPARSE = ("scipy.sparse.csc", "scipy.sparse._csc", "scipy.sparse.csr", "scipy.sparse._csr")


class _Carrier:
    """Stands in for an object: keeps what it would have been given."""

    def __init__(self, *given: Any) -> None:
        self.state: Any = given

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Sparse(_Carrier):
    pass


class _Rows(_Sparse):
    pass


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ARRAYS:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        if module in _SPARSE and name in ("csc_matrix", "csr_matrix"):
            return _Rows if name == "csr_matrix" else _Sparse
        if module.split(".")[0] == "chumpy":
            return _Carrier
        raise pickle.UnpicklingError(f"it holds {module}.{name}")


def load_arrays(stream: IO[bytes]) -> Any:
    """What is in the pickle, with arrays for everything that carries one. Raises pickle.UnpicklingError."""
    return _plain(_Reader(stream, encoding="latin1").load())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, _Sparse):
        return _dense(value)
    if isinstance(value, _Carrier):
        carried = value.state.get("x") if isinstance(value.state, dict) else None
        return None if carried is None else _plain(carried)
    return value


def _dense(value: _Sparse) -> Any:
    state = value.state
    columns, rows = (int(size) for size in reversed(state["_shape"]))
    dense = np.zeros((rows, columns), np.float64)
    starts = np.asarray(state["indptr"])
    major = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    minor = np.asarray(state["indices"])
    place = (major, minor) if isinstance(value, _Rows) else (minor, major)
    np.add.at(dense, place, np.asarray(state["data"]))
    return dense

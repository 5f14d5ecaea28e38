"""Compiling the parts of a network (torch.compile), and keeping what was compiled for the next run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

from facexcli.config import data_folder

if TYPE_CHECKING:
    from collections.abc import Callable

_FOLDERS = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}


def compiled(function: Callable[..., Any], *, on_cuda: bool) -> Callable[..., Any]:
    """`function` compiled at its first call, for the shapes that it is called with.

    On CUDA the fastest kernels are looked for (max-autotune) and recorded as CUDA graphs, whose results lie where the
    next call puts its own: they are copied, which is nothing beside what made them. To be called in one thread only.
    """
    keep_what_is_compiled()
    mode = "max-autotune" if on_cuda else None
    fast = torch.compile(function, mode=mode, fullgraph=True, dynamic=False)

    def run(*arguments: Any) -> Any:
        found = fast(*arguments)
        return _copied(found) if on_cuda else found

    return run


def in_words(error: Exception) -> str:
    """The line of a compiler's error that says most, and no more than a line of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"[:200]


def keep_what_is_compiled() -> None:
    """In the user's data folder, unless the environment names another place."""
    for variable, name in _FOLDERS.items():
        os.environ.setdefault(variable, str(data_folder() / "compiled" / name))


def _copied(found: Any) -> Any:
    if isinstance(found, torch.Tensor):
        return found.clone()
    return None if found is None else found.mapped(torch.Tensor.clone)

"""Weights that a user names: files of their own, or what was pulled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facexcli.weights.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def named_place(named: Path, store: Store | None = None) -> Path:
    """A file or a folder as it is, or what the store has under that name: its file, or of several the folder.

    What is neither comes back as it is, for whoever opens it to say so. Raises WeightsError for a name of the catalog
    that is not installed, or was altered.
    """
    if named.exists():
        return named
    known = store or Store()
    item = known.known.get(str(named))
    if item is None:
        return named
    files = [known.path(item.name, file) for file in item.files]
    return files[0] if len(files) == 1 else known.folder / item.name

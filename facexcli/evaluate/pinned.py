"""A copy of facex's own code, so that a measurement that takes long is of one version, whoever edits the files."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import facexcli
from facexcli.batch.resume import code_digest

_START = (
    "import {imports}; {first}sys.path.insert(0, {folder!r}); sys.argv[0] = 'facex'; "
    "runpy.run_module('facexcli', run_name='__main__', alter_sys=True)"
)


class PinnedCode:
    """The package as it is now, in a folder; `command` runs it, whatever the working directory is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        origin = Path(facexcli.__file__).parent
        self._package = self._folder / origin.name
        shutil.copytree(origin, self._package, ignore=shutil.ignore_patterns("__pycache__"))

    @property
    def digest(self) -> str:
        """SHA-256 of the copy, by which two measurements can be told to be of the same code."""
        return code_digest(self._package)

    def command(self, *arguments: str | Path, cores: frozenset[int] = frozenset()) -> list[str]:
        """`facex ARGUMENTS`, with all that it starts on the given cores, or on any."""
        first = f"os.sched_setaffinity(0, {set(cores)}); " if cores else ""
        imports = "os, runpy, sys" if cores else "runpy, sys"
        start = _START.format(imports=imports, first=first, folder=str(self._folder))
        return [sys.executable, "-c", start, *map(str, arguments)]


__all__ = ["PinnedCode"]

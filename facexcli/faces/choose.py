"""Which analyzer a run uses, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facexcli.errors import unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facexcli.faces.base import Analyzer

ANALYZERS = ("auto", "dlib", "insightface")


@dataclass(frozen=True, slots=True)
class Pack:
    """A model pack of insightface: its name, and verified files by task (see `insightface_backend.pack_files`)."""

    name: str
    files: Mapping[str, Path]


def choose_analyzer(
    name: str = "auto", insightface_root: Path | None = None, pack: Pack | None = None
) -> tuple[Analyzer, str]:
    """The analyzer called `name` and one sentence that says why it was chosen.

    `auto` takes insightface when its package and its model pack are there, else the embedded dlib.

    Args:
        name: one of `ANALYZERS`.
        insightface_root: the folder that holds `models/buffalo_l`; insightface's own default when None.
        pack: a model pack that is used instead of the one in that folder.
    Raises:
        UsageError: an unknown name.
        WeightsError: insightface was asked for and is not complete.
    """
    if name not in ANALYZERS:
        raise unknown_name("analyzer", name, ANALYZERS)
    from facexcli.faces.dlib_backend import DlibAnalyzer
    from facexcli.faces.insightface_backend import InsightFaceAnalyzer, missing_parts

    if name == "dlib":
        return DlibAnalyzer(), "dlib, as asked"
    missing = missing_parts(insightface_root, pack.files if pack else None)
    if name == "insightface" or not missing:
        reason = "as asked" if name == "insightface" else "its model pack is installed"
        if pack is None:
            return InsightFaceAnalyzer(insightface_root), f"insightface, {reason}"
        return InsightFaceAnalyzer(files=pack.files, pack=pack.name), f"insightface with {pack.name}, {reason}"
    return DlibAnalyzer(), f"dlib, the embedded one, because {missing}"

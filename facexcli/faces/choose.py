"""Which analyzer a run uses, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from facexcli.errors import unknown_name

if TYPE_CHECKING:
    from facexcli.faces.base import Analyzer

ANALYZERS = ("auto", "dlib", "insightface")


def choose_analyzer(name: str = "auto", insightface_root: Path | None = None) -> tuple[Analyzer, str]:
    """The analyzer called `name` and one sentence that says why it was chosen.

    `auto` takes insightface when its package and its model pack are there, else the embedded dlib.

    Args:
        name: one of `ANALYZERS`.
        insightface_root: the folder that holds `models/buffalo_l`; insightface's own default when None.
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
    missing = missing_parts(insightface_root)
    if name == "insightface" or not missing:
        reason = "as asked" if name == "insightface" else "its model pack is installed"
        return InsightFaceAnalyzer(insightface_root), f"insightface, {reason}"
    return DlibAnalyzer(), f"dlib, the embedded one, because {missing}"

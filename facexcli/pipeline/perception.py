"""Which perception a run has: what the user has pulled, verified, else what comes with the package."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from facexcli.faces import choose
from facexcli.fusion.segmentation import KNOWN
from facexcli.weights.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from facexcli.faces.base import Analyzer

PACKS = ("buffalo_l", "antelopev2")
"""Packs of insightface, the preferred one first."""
_LANDMARKS = "1k3d68.onnx"


def choose_analyzer(name: str = "auto", store: Store | None = None) -> tuple[Analyzer, str]:
    """As `faces.choose.choose_analyzer`, with the pack that is in the store, if one is.

    Raises what that raises, and WeightsError for a file of the pack that was altered.
    """
    store = store or Store()
    pack = next((each for each in PACKS if store.installed(each)), None)
    if name == "dlib" or pack is None or find_spec("insightface") is None:
        return choose.choose_analyzer(name)
    facts = store.known[pack].facts
    files = {"detection": facts["detection"], "landmark_3d_68": _LANDMARKS, "recognition": facts["recognition"]}
    verified = {task: store.path(pack, file) for task, file in files.items()}
    return choose.choose_analyzer(name, pack=choose.Pack(pack, verified))


def occlusion_network(store: Store | None = None) -> Path | None:
    """The best network that is installed and sees what covers a face, verified; None where there is none.

    Raises WeightsError for a file that was altered.
    """
    store = store or Store()
    names = {item.files[0]: name for name, item in store.known.items()}
    for file in KNOWN:
        if file in names and store.installed(names[file]):
            return store.path(names[file], file)
    return None

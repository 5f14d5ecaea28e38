"""What the contracts share: a portrait, and an analyzer that sees nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from facexcli.faces.base import Detection
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.types import Array

_PORTRAIT_PX = 700


class _Blind(DlibAnalyzer):
    """Sees nobody but the person of the portrait."""

    name = "blind"

    def detect(self, rgb: Array, *, thorough: bool = False) -> list[Detection]:
        return super().detect(rgb, thorough=thorough) if rgb.shape[:2] == (_PORTRAIT_PX, _PORTRAIT_PX) else []


@pytest.fixture(scope="session")
def blind() -> DlibAnalyzer:
    return _Blind()


@pytest.fixture(scope="session")
def portrait(eval_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person to take the face of."""
    path = tmp_path_factory.mktemp("still") / "portrait.png"
    with Image.open(eval_data / "london" / "087_neutral.jpg") as picture:
        picture.resize((_PORTRAIT_PX, _PORTRAIT_PX), Image.Resampling.BOX).save(path)
    return path

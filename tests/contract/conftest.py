"""What the contracts share: an analyzer that sees nobody but the person of the portrait."""

from __future__ import annotations

import pytest

from facexcli.faces.base import Detection
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.types import Array
from tests.conftest import STILL_PX


class _Blind(DlibAnalyzer):
    """Sees nobody but the person of the portrait."""

    name = "blind"

    def detect(self, rgb: Array, *, thorough: bool = False) -> list[Detection]:
        return super().detect(rgb, thorough=thorough) if rgb.shape[:2] == (STILL_PX, STILL_PX) else []


@pytest.fixture(scope="session")
def blind() -> DlibAnalyzer:
    return _Blind()

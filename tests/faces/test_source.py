from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facexcli.errors import NoFaceError
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.source import find_faces, find_source_face
from facexcli.types import Array

Stills = Callable[[str], Array]


def test_hard_portraits_have_their_face_found(analyzer: DlibAnalyzer, still: Stills, eval_data: Path) -> None:
    """Glasses, hats, hard light, hands and hair; full profiles show too little of a face for 68 points."""
    tags = {item["name"]: item["tag"] for item in json.loads((eval_data / "portraits.json").read_text())}
    names = [name for name, tag in tags.items() if name.startswith("t2i") and tag != "profile"][::3]
    missed = [name for name in names if not find_faces(still(f"portraits/{name}"), analyzer)]
    assert missed == []


def test_the_largest_face_is_the_source(analyzer: DlibAnalyzer, still: Stills) -> None:
    large, small = still("london/009_neutral.jpg"), still("london/033_neutral.jpg")[::3, ::3]
    both = np.full((768, 1100, 3), 200, np.uint8)
    both[:, :768] = large
    both[200 : 200 + small.shape[0], 800 : 800 + small.shape[1]] = small
    faces = find_faces(both, analyzer)
    assert len(faces) == 2
    face = find_source_face(both, analyzer)
    assert face.box_px[2] < 768
    assert face.embedding is not None


def test_a_face_that_fills_the_picture_is_found(analyzer: DlibAnalyzer, still: Stills) -> None:
    rgb = np.ascontiguousarray(still("london/087_neutral.jpg")[220:640, 190:580])
    points = find_source_face(rgb, analyzer).landmarks_px
    assert 0 < points[36, 0] < points[45, 0] < 390


def test_a_picture_without_a_face_is_an_error() -> None:
    class Blind(DlibAnalyzer):
        def detect(self, rgb: Array, *, thorough: bool = False) -> list[object]:  # type: ignore[override]
            return []

    with pytest.raises(NoFaceError):
        find_source_face(np.zeros((50, 60, 3), np.uint8), Blind())

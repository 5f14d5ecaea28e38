"""A source that smiles gives no teeth, and no folds, to a canvas whose mouth is shut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facexcli.engines.mesh.engine import MeshEngine
from facexcli.engines.mesh.face_warp import face_map
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.fusion.mask import face_unit_px, forehead_points
from facexcli.geometry.warp import displacement_map
from facexcli.pipeline.stills import load_still
from facexcli.recipes import recipe_named
from facexcli.types import Array, Crop, EditRequest

SIZE_PX = 256


@pytest.fixture(scope="module")
def faces(eval_data: Path) -> dict[str, Crop]:
    analyzer = DlibAnalyzer()
    names = ("120_smiling", "120_neutral", "009_neutral")
    return {name: load_still(eval_data / "london" / f"{name}.jpg", analyzer).crop("ffhq", SIZE_PX) for name in names}


def points_of(crop: Crop) -> Array:
    return np.vstack([crop.landmarks_px, forehead_points(crop.landmarks_px)]).astype(np.float64)


def test_two_faces_with_the_same_mouth_have_one_smooth_warp(faces: dict[str, Crop]) -> None:
    source, canvas = points_of(faces["120_neutral"]), points_of(faces["120_neutral"])
    np.testing.assert_array_equal(face_map(source, canvas, SIZE_PX), displacement_map(source, canvas, SIZE_PX))


def test_the_warp_below_a_shut_mouth_does_not_fold(faces: dict[str, Crop]) -> None:
    source, canvas = points_of(faces["120_smiling"]), points_of(faces["009_neutral"])
    source_y = face_map(source, canvas, SIZE_PX)[..., 1]
    x = round(float(canvas[57, 0]))
    below = source_y[round(float(canvas[57, 1])) : round(float(canvas[8, 1])), x]
    assert (np.diff(below) > 0).all()


def test_a_smiling_source_shows_no_teeth_in_a_shut_mouth(faces: dict[str, Crop]) -> None:
    engine = MeshEngine()
    canvas = faces["009_neutral"]
    request = EditRequest(canvas, engine.prepare([faces["120_smiling"]]), recipe_named("swap"))
    (patch,) = engine.render([request])
    lips = canvas.landmarks_px[60:68].mean(axis=0)
    reach = round(0.12 * face_unit_px(canvas.landmarks_px))
    x, y = np.round(lips).astype(int)
    mouth = patch.rgb[y - reach // 2 : y + reach // 2 + 1, x - reach : x + reach + 1]
    redness = mouth[..., 0] - mouth[..., 1]  # teeth are grey, lips are red
    assert np.quantile(redness, 0.01) > 0.05

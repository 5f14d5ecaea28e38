"""`facex eval`: a table for people, JSON for programs, and one clear line for what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from facexcli.evaluate.values import load_evaluation
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.fusion.mask import face_outline
from facexcli.geometry.warp import similarity
from facexcli.media.image import read_image, write_image

if TYPE_CHECKING:
    from conftest import Facex


@pytest.fixture(scope="module")
def pictures(photographs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(result, source, canvas): a face pasted onto another, which is all that a judge needs."""
    analyzer = DlibAnalyzer()
    (face, face_px), (canvas, canvas_px) = (
        (rgb, analyzer.landmarks(rgb, analyzer.detect(rgb)[0].box_px).landmarks_px)
        for rgb in map(read_image, photographs)
    )
    height, width = canvas.shape[:2]
    moved = cv2.warpAffine(face, similarity(face_px, canvas_px)[:2], (width, height))
    inside = np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [np.round(face_outline(canvas_px)).astype(np.int32)], 1)
    folder = tmp_path_factory.mktemp("eval")
    write_image(folder / "result.png", np.where(inside[..., None] > 0, moved, canvas))
    write_image(folder / "source.png", face)
    write_image(folder / "canvas.png", canvas)
    write_image(folder / "wall.png", np.full((60, 60, 3), 90, np.uint8))
    return folder / "result.png", folder / "source.png", folder / "canvas.png"


def test_a_table_that_people_read(facex: Facex, pictures: tuple[Path, Path, Path]) -> None:
    result, source, canvas = pictures
    shown = facex("eval", result, "--source", source, "--canvas", canvas, "--save", "e.json")
    assert shown.code == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert max(map(len, lines[1:])) <= 80
    rows = {line.split()[0]: line.split()[1] for line in lines if line[:1].isalpha() and len(line.split()) > 1}
    assert float(rows["identity_distance"]) < 0.6
    assert rows["untouched_ssim"] != "nan"
    assert "not measured" in lines
    assert any(line.strip().startswith("fid: needs") for line in lines)
    assert load_evaluation(Path("e.json")).metrics["identity_distance"].value < 0.6


def test_json_has_everything_and_nothing_else_is_printed(facex: Facex, pictures: tuple[Path, Path, Path]) -> None:
    result, source, canvas = pictures
    shown = facex("eval", result, "--source", source, "--canvas", canvas, "--json", "-q")
    assert (shown.code, shown.stderr) == (0, "")
    found = json.loads(shown.stdout)
    assert found["metrics"]["swap_rate"]["value"] == 1
    assert found["people"][0]["values"]["flicker"] == [None]
    assert found["missing"].keys() >= {"fid", "lpips"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--canvas", "canvas.png"), 2, "nobody says who"),
        (("--source", "source.png"), 2, "nothing says what was edited"),
        (("--source", "source.png", "--map", "source.png=1", "--canvas", "canvas.png"), 2, "--map"),
        (("--source", "none.png", "--canvas", "canvas.png"), 3, "none.png"),
        (("--source", "source.png", "--canvas", "none.png"), 3, "none.png"),
        (("--source", "source.png", "--canvas", "source.png"), 3, "pixels"),
        (("--source", "wall.png", "--canvas", "canvas.png"), 4, "wall.png: no face"),
        (("--source", "source.png", "--canvas", "canvas.png", "--save", "wall.png"), 7, "exists"),
    ],
)
def test_one_line_says_what_is_wrong(
    arguments: tuple[str, ...],
    code: int,
    said: str,
    facex: Facex,
    pictures: tuple[Path, Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(pictures[0].parent)
    shown = facex("eval", pictures[0], *arguments)
    assert shown.code == code, shown.stderr
    assert shown.stdout == ""
    error, hint = shown.stderr.splitlines()[-2:]
    assert said in error and hint.startswith("hint: ")

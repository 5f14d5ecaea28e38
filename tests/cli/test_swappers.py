"""`facex swap` with an ONNX swapper, whole: what its network does not change stays, and what is missing is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from facexcli.doctor import choices_here
from facexcli.media.image import read_image
from facexcli.types import Array
from facexcli.weights.catalog import catalog
from tests.cli.conftest import Facex

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from tests.engines.graphs import install, swapper_graph

_SIDE_PX, _SOFT_PX = 400, 2.5
"""A portrait of the London set in which the face is smaller than a crop of 256 pixels, and softer than pixels are, so
that resampling it there and back loses nothing. A shift by half a pixel would still be seen."""


@pytest.fixture
def home(facex: Facex, tmp_path: Path) -> Path:
    """The empty user's folder that `facex` runs with."""
    return tmp_path / "home"


@pytest.fixture
def still(eval_data: Path) -> Path:
    return eval_data / "london" / "087_neutral.jpg"


@pytest.fixture
def canvas(eval_data: Path, tmp_path: Path) -> Path:
    path = tmp_path / "canvas.png"
    with Image.open(eval_data / "london" / "009_neutral.jpg") as picture:
        small = picture.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BOX)
        small.filter(ImageFilter.GaussianBlur(_SOFT_PX)).save(path)
    return path


def _swap(facex: Facex, still: Path, canvas: Path, *flags: str) -> tuple[Array, Array, str]:
    shown = facex("swap", str(still), str(canvas), "-o", "out.png", "--min-face", "24", *flags)
    assert shown.code == 0, shown.stderr
    return read_image(canvas).astype(int), read_image(Path("out.png")).astype(int), shown.stderr


@pytest.mark.parametrize("name", ["hyperswap_1a_256", "simswap_256"])
def test_a_swapper_that_changes_nothing_leaves_the_picture(
    name: str, facex: Facex, home: Path, still: Path, canvas: Path
) -> None:
    install(home / "data" / "weights", name)
    before, after, said = _swap(facex, still, canvas, "--engine", name, "--watermark", "off")
    difference = np.abs(before - after)
    assert difference.max() <= 2 and np.abs((after - before).mean(axis=(0, 1))).max() < 0.02
    assert np.abs(before[:, 1:] - before[:, :-1]).max() > 8, "a shift would not be seen"
    assert f"engine {name}: asked for with --engine; runs on the CPU" in said


def test_a_swapper_that_takes_red_away_takes_it_from_the_face_alone(
    facex: Facex, home: Path, still: Path, canvas: Path
) -> None:
    install(home / "data" / "weights", "hyperswap_1a_256", gain=(0.5, 1, 1))
    before, after, _ = _swap(facex, still, canvas)  # auto: it is the only one that is installed
    changed = np.abs(before - after)[..., 0] > 20
    rows, columns = np.nonzero(changed)
    assert 0.03 < changed.mean() < 0.25
    inside = np.s_[int(np.median(rows)), int(np.median(columns))]
    np.testing.assert_allclose(after[inside], before[inside] * (0.5, 1, 1), atol=4)
    np.testing.assert_array_equal(before[:10], after[:10])


def test_a_wrong_file_ends_before_anything_is_rendered(facex: Facex, home: Path, still: Path, canvas: Path) -> None:
    install(home / "data" / "weights", "inswapper_128")
    Path("own.onnx").write_bytes(swapper_graph(catalog()["inswapper_128"], size_px=256))
    named = ("--engine", "inswapper_128", "--weights", "own.onnx")
    shown = facex("swap", str(still), str(canvas), "-o", "out.png", *named)
    assert shown.code == 5
    assert "own.onnx" in shown.stderr and "expected inputs of 1 x 3 x 128 x 128" in shown.stderr
    assert "render" not in shown.stderr and not Path("out.png").exists()


def test_with_nothing_installed_a_run_says_once_what_would_help(
    facex: Facex, home: Path, still: Path, canvas: Path
) -> None:
    _, _, said = _swap(facex, still, canvas)
    assert said.count("facex models pull inswapper_128") == 1


def test_engines_that_are_not_installed_say_how_to_get_them(facex: Facex, home: Path) -> None:
    install(home / "data" / "weights", "ghost_1_256")
    rows = {row["engine"]: row for row in json.loads(facex("engines", "--json").stdout)["engines"]}
    assert rows["ghost_1_256"]["available"] and not rows["simswap_256"]["available"]
    assert "facex models pull simswap_256" in rows["simswap_256"]["reason"]


def test_doctor_says_what_is_active_and_what_would_improve_it(home: Path) -> None:
    bare = {each.purpose: each for each in choices_here()}
    assert set(bare) == {"faces", "swap", "occlusion"}
    assert "mesh" in bare["swap"].active and "facex models pull inswapper_128" in bare["swap"].better
    assert "facex models pull buffalo_l" in bare["faces"].better
    assert "facex models pull xseg_3" in bare["occlusion"].better
    install(home / "data" / "weights", "inswapper_128")
    found = {each.purpose: each for each in choices_here()}
    assert "inswapper_128" in found["swap"].active and found["swap"].better == ""

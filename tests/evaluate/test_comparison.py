"""Engines over the same pairs: the engine that changes nothing proves the measures, and the rest of the bench."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from facexcli.cli.app import main
from facexcli.engines.base import EngineOptions
from facexcli.errors import InputError, NoFaceError, UsageError, WeightsError
from facexcli.evaluate import comparison
from facexcli.evaluate import comparison_grid as drawing
from facexcli.evaluate.comparison import (
    METRICS,
    Contestant,
    Result,
    Row,
    SetResult,
    as_json,
    compare,
    contestants,
    engine_costs,
    verdicts,
)
from facexcli.evaluate.comparison_grid import TILE_PX, comparison_grid
from facexcli.evaluate.comparison_pairs import MOST_PAIRS, Pair, choose_pairs
from facexcli.evaluate.engine_bench import EngineCost
from facexcli.events import SilentReporter
from facexcli.media.image import write_image
from facexcli.settings import Settings
from facexcli.types import Array

if TYPE_CHECKING:
    from tests.conftest import SmallStill


@pytest.fixture(scope="module")
def compared(eval_data: Path, small_still: SmallStill, tmp_path_factory: pytest.TempPathFactory) -> list[SetResult]:
    """One person's own face by two engines, and a few frames of a clip by one."""
    folder = tmp_path_factory.mktemp("compared")
    sides, _ = contestants(["mesh", "unchanged"], [], Settings())
    clip = Pair(small_still("009_neutral"), eval_data / "talking" / "grid_sbia1a.mpg", range(20, 31))
    return [
        *compare(sides, {"self-swap": [own_face(small_still)]}, folder, SilentReporter()),
        *compare(sides[1:], {"talking": [clip]}, folder, SilentReporter()),
    ]


def own_face(small_still: SmallStill) -> Pair:
    return Pair(small_still("087_smiling"), small_still("087_neutral"))


def test_the_engine_that_changes_nothing_is_found_to_change_nothing(compared: list[SetResult]) -> None:
    mesh, same = compared[0].rows
    assert (mesh.label, same.label) == ("mesh", "unchanged")
    figures = {name: value for name, value in same.figures.items() if value is not None}
    assert figures["face_psnr"] > 37  # the face went through a crop of 384 pixels and back
    assert figures["canvas_distance"] < 0.05
    assert figures["pose_error"] < 0.6  # degrees; the fit's own noise
    assert figures["opening_error"] < 0.01
    assert figures["landmark_error"] < 0.005
    (clip,) = compared[1].rows
    told = {name: value for name, value in clip.figures.items() if value is not None}
    assert told["swap_rate"] == 0
    assert told["expression_error"] < 0.01
    assert 0.5 < told["flicker_ratio"] < 1.05  # the encoder takes grain away
    assert told["canvas_distance"] < 0.2 < 0.5 < told["identity_distance"]


def test_an_engine_that_paints_is_told_from_one_that_does_not(compared: list[SetResult]) -> None:
    mesh, same = (row.figures for row in compared[0].rows)
    for name, sign in (("face_psnr", 1), ("face_ssim", 1), ("canvas_distance", -1), ("landmark_error", -1)):
        best, worse = same[name], mesh[name]
        assert best is not None and worse is not None
        assert sign * best > sign * worse, name
    assert mesh["face_psnr"] == pytest.approx(29, abs=3)


def test_a_pair_with_nobody_to_edit_is_left_out_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compared: list[SetResult]
) -> None:
    """For all engines, even where only one of them cannot: means are over the same pairs."""

    def made(pair: Pair, side: Contestant, *rest: object) -> Result:
        if (pair.canvas.stem, side.label) == ("nobody", "unchanged"):
            raise NoFaceError("nobody.png: no face found to edit")
        return compared[0].results[own][side.label]

    (own,) = compared[0].results
    monkeypatch.setattr(comparison, "_result", made)
    sides = sides_of("mesh", "unchanged")
    pairs = [replace(own, canvas=Path("nobody.png")), own]
    (found,) = compare(sides, {"london": pairs}, tmp_path, SilentReporter())
    assert found.left_out == ("087_smiling into nobody: nobody.png: no face found to edit",)
    assert list(found.results) == [own]
    assert found.rows[0].figures["landmark_error"] == compared[0].rows[0].figures["landmark_error"]


def test_the_grid_shows_every_pair_and_every_engine(compared: list[SetResult]) -> None:
    grid = comparison_grid(compared)
    rows, columns = 2, 4
    assert grid.shape[0] == pytest.approx(rows * (TILE_PX + 28), abs=10)
    assert grid.shape[1] == pytest.approx(columns * (TILE_PX + 6), abs=10)
    for row in range(rows):
        for column in range(columns if row == 0 else columns - 1):
            top, left = 6 + row * (TILE_PX + 28), 6 + column * (TILE_PX + 6)
            tile = grid[top : top + TILE_PX, left : left + TILE_PX]
            assert tile.std() > 20, (row, column)
    first = grid[6 : 6 + TILE_PX].astype(float)
    source, canvas, mesh, same = (first[:, 6 + n * (TILE_PX + 6) :][:, :TILE_PX] for n in range(columns))
    assert np.abs(same - canvas).mean() < np.abs(mesh - canvas).mean() < np.abs(source - canvas).mean()


def test_a_picture_whose_face_the_judge_misses_is_shown_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another analyzer may have found it."""

    def missed(rgb: Array, analyzer: object) -> None:
        raise NoFaceError("no face")

    monkeypatch.setattr(drawing, "find_source_face", missed)
    stripes = np.zeros((TILE_PX, TILE_PX, 3), np.uint8)
    stripes[:, ::2] = 255
    files = [tmp_path / name for name in ("source.png", "canvas.png", "result.png")]
    for path in files:
        write_image(path, stripes)
    source, canvas, result = files
    made = {Pair(source, canvas): {"mesh": Result(result, None)}}
    grid = comparison_grid([SetResult("london", made, (), ())])
    for column in range(3):
        left = 6 + column * (TILE_PX + 6)
        np.testing.assert_array_equal(grid[6 : 6 + TILE_PX, left : left + TILE_PX], stripes)


def test_a_comparison_without_a_pair_has_no_grid() -> None:
    with pytest.raises(NoFaceError, match="no pair"):
        comparison_grid([SetResult("london", {}, (), ("a into b: no face",))])


def test_pairs_are_drawn_by_the_seed_and_mixed(eval_data: Path) -> None:
    sets = choose_pairs(eval_data, MOST_PAIRS, 0)
    assert sets == choose_pairs(eval_data, MOST_PAIRS, 0) != choose_pairs(eval_data, MOST_PAIRS, 1)
    assert {name: len(pairs) for name, pairs in sets.items()} == {
        "self-swap": 12, "london": 12, "portraits": 12, "talking": 6,
    }  # fmt: skip
    for name, pairs in sets.items():
        assert len({pair.canvas for pair in pairs}) == len(pairs)
        assert all(pair.source.is_file() and pair.canvas.is_file() and pair.source != pair.canvas for pair in pairs)
        same_person = [pair.source.stem.split("_")[:1] == pair.canvas.stem.split("_")[:1] for pair in pairs]
        if name != "portraits":
            assert set(same_person) == {name == "self-swap"}
    assert {pair.canvas.stem.split("_")[1] for pair in sets["london"]} == {"neutral", "smiling"}
    tags = {entry["name"]: entry["tag"] for entry in json.loads((eval_data / "portraits.json").read_text())}
    assert {tags[pair.canvas.name] for pair in sets["portraits"]} == set(tags.values())
    assert [tags[pair.source.name] for pair in sets["portraits"]] == ["male", "female"] * 6
    assert sets["talking"][0].trim == "#20..#50"


def test_fewer_pairs_are_the_first_of_more(eval_data: Path) -> None:
    more = choose_pairs(eval_data, 6, 0)
    for name, pairs in choose_pairs(eval_data, 2, 0).items():
        assert pairs == more[name][: len(pairs)]


def test_a_folder_without_the_data_is_named(tmp_path: Path, eval_data: Path) -> None:
    with pytest.raises(InputError, match="london"):
        choose_pairs(tmp_path, 1, 0)
    for folder in ("london", "talking"):
        (tmp_path / folder).symlink_to(eval_data / folder)
    with pytest.raises(InputError, match=r"portraits\.json"):
        choose_pairs(tmp_path, 1, 0)
    (tmp_path / "portraits.json").write_text('[{"tag": "male", "name": "a.jpg"}]')
    with pytest.raises(InputError, match="fewer than 12 portraits"):
        choose_pairs(tmp_path, 1, 0)


def test_the_trained_engine_is_left_out_where_there_are_no_weights() -> None:
    sides, absent = contestants([], [], Settings())
    assert [side.label for side in sides] == ["mesh", "unchanged"]
    assert "left out" in absent and "facex" in absent
    assert sides[0].settings.provenance.mark == "off" and sides[0].settings.compute.cache_mb == 0


def test_engines_and_weights_that_cannot_be_are_a_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="unknown engine 'mash'") as caught:
        contestants(["mash"], [], Settings())
    assert "mesh" in caught.value.hint
    with pytest.raises((UsageError, WeightsError), match="facex"):
        contestants(["facex"], [], Settings())
    with pytest.raises(UsageError, match="not compared"):
        contestants(["mesh"], [Path("none.safetensors")], Settings())

    def refused(name: str, recipe: str, options: EngineOptions) -> None:
        raise WeightsError(f"{options.weights}: no such file")

    monkeypatch.setattr(comparison, "open_engine", refused)
    with pytest.raises(WeightsError, match=r"none\.safetensors"):
        contestants(["facex"], [Path("none.safetensors")], Settings())


def test_several_weights_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[EngineOptions] = []

    class Choice:
        class engine:
            @staticmethod
            def close() -> None: ...

    monkeypatch.setattr(comparison, "open_engine", lambda name, recipe, options: opened.append(options) or Choice)
    sides, _ = contestants(["mesh", "facex"], [Path("a/one.safetensors"), Path("two.safetensors")], Settings())
    assert [side.label for side in sides] == ["mesh", "facex one", "facex two"]
    assert [options.weights for options in opened] == [None, Path("a/one.safetensors"), Path("two.safetensors")]
    sides, _ = contestants(["facex"], [Path("a/best.safetensors"), Path("b/best.safetensors")], Settings())
    assert [side.label for side in sides] == ["facex a/best", "facex b/best"]
    with pytest.raises(UsageError, match="same name"):
        contestants([], [Path("a/best.safetensors"), Path("a/best.safetensors")], Settings())


def row(label: str, **figures: float | None) -> Row:
    return Row(label, 1.0, figures)


def made_sets(**changes: float | None) -> list[SetResult]:
    """Mesh, and another engine with changed figures."""
    values: dict[str, float | None] = {
        "face_psnr": 30.0, "identity_distance": 0.4, "seam": 1.1, "flicker_ratio": 0.8,
    }  # fmt: skip
    rows = (row("mesh", **values), row("facex", **(values | changes)), row("unchanged", **values))
    return [SetResult(name, {}, rows, ()) for name in METRICS]


def sides_of(*labels: str) -> list[Contestant]:
    return [Contestant(label, Settings()) for label in labels]


def test_verdicts_compare_with_the_baseline() -> None:
    sides = sides_of("mesh", "facex", "unchanged")
    better = verdicts(sides, made_sets(face_psnr=33.5, seam=1.0, flicker_ratio=0.7))
    assert list(better) == ["facex"]
    assert len(better["facex"]) == 9 and all(figure.met for figure in better["facex"])
    worse = verdicts(sides, made_sets(face_psnr=32.9, identity_distance=0.41, seam=1.2, flicker_ratio=None))["facex"]
    assert [figure.met for figure in worse] == [True] + [False] * 8
    assert math.isnan(worse[-1].value)
    perfect = verdicts(sides, made_sets(face_psnr=math.inf))["facex"]
    assert perfect[1].met
    lost = [
        replace(result, rows=tuple(replace(row, found=0.5) if row.label == "facex" else row for row in result.rows))
        for result in made_sets(face_psnr=33.5)
    ]
    assert [figure.met for figure in verdicts(sides, lost)["facex"]] == [False] + [True] * 8
    assert verdicts(sides_of("facex", "unchanged"), made_sets()) == {}


def test_a_result_in_which_the_judge_finds_nobody_counts_as_lost(tmp_path: Path) -> None:
    lost = Result(tmp_path / "lost.png", None)
    assert lost.figure("identity_distance") is None
    told = comparison._row("mesh", "london", [lost])
    assert told.found == 0 and set(told.figures.values()) == {None}


def test_json_has_everything_and_no_nan() -> None:
    sides, sets = sides_of("mesh", "facex"), made_sets(face_psnr=math.inf, seam=None)
    costs = {"mesh": EngineCost("mesh", "", 5, 384, 10.0)}
    told = as_json(sets, costs, verdicts(sides, sets), "left out: nothing")
    read = json.loads(json.dumps(told, allow_nan=False))
    assert read["sets"][0]["engines"]["facex"]["face_psnr"] == "inf"
    assert read["sets"][1]["engines"]["facex"]["seam"] is None
    assert read["speed"]["mesh"]["faces_per_s"] == 100
    assert read["verdicts"]["facex"][0]["met"] is True


def test_engines_are_timed_alone() -> None:
    sides, _ = contestants(["unchanged"], [], Settings())
    cost = engine_costs(sides)["unchanged"]
    assert cost.face_ms > 0 and cost.faces == 5


@pytest.fixture
def without_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of swaps, figures that were made up."""

    def made(sides: list[Contestant], sets: object, folder: Path, reporter: object) -> Iterator[SetResult]:
        for result in made_sets(face_psnr=33.5):
            yield replace(result, left_out=("a into b: no face",))

    monkeypatch.setattr(comparison, "compare", made)
    monkeypatch.setattr(comparison, "verdicts", lambda sides, sets: verdicts(sides_of("mesh", "facex"), sets))


@pytest.mark.usefixtures("without_runs")
def test_the_command_prints_a_table_or_json(
    eval_data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEX_TEST_DATA", str(eval_data))
    made = {name: tuple(name for name in METRICS[name] if name in made_sets()[0].rows[0].figures) for name in METRICS}
    monkeypatch.setattr(comparison, "METRICS", made)
    monkeypatch.setattr(comparison, "engine_costs", lambda sides: {"mesh": EngineCost("mesh", "", 5, 384, 10.0)})
    assert main(["bench", "compare", "--pairs", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("left out: engine 'facex'")
    assert lines[2].split()[:2] == ["found", "PSNR"]
    assert lines[3].split()[:3] == ["mesh", "100%", "30.000"]
    assert "  left out: a into b: no face" in lines
    assert lines[-1] == "facex: 9 of 9 targets met"
    assert main(["bench", "compare", "--pairs", "1", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"sets", "speed", "verdicts", "left_out"}


def test_the_command_refuses_what_cannot_be_before_any_work(
    eval_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = tmp_path / "grid.png"
    grid.write_bytes(b"mine")
    assert main(["bench", "compare", "--data", str(eval_data), "--grid", str(grid)]) != 0
    assert "--overwrite" in capsys.readouterr().err and grid.read_bytes() == b"mine"
    for place, told in ((tmp_path / "grid.gif", "a picture"), (tmp_path / "none" / "grid.png", "no folder")):
        assert main(["bench", "compare", "--data", str(eval_data), "--grid", str(place)]) != 0
        assert told in capsys.readouterr().err
    assert main(["bench", "compare", "--data", str(eval_data), "--engine", "mash"]) == 2
    assert "unknown engine 'mash'" in capsys.readouterr().err

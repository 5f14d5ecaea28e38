"""The editing commands on real photographs: results, plans, and what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from facexcli.media.image import read_image

if TYPE_CHECKING:
    from conftest import Facex

Photographs = tuple[Path, Path]


def test_swap_prints_the_output_and_nothing_else(facex: Facex, photographs: Photographs) -> None:
    shown = facex("swap", *photographs, "-o", "out.png", "-q")
    assert (shown.code, shown.stdout, shown.stderr) == (0, "out.png\n", "")
    before, after = read_image(photographs[1]), read_image(Path("out.png"))
    changed = np.abs(before.astype(int) - after).max(axis=2) > 8
    assert before.shape == after.shape
    assert 0.02 < changed.mean() < 0.3, "the face is changed, and only the face"


def test_json_describes_the_run(facex: Facex, photographs: Photographs) -> None:
    shown = facex("swap", *photographs, "-o", "out.png", "--json", "--progress", "none")
    result = json.loads(shown.stdout)
    assert result["output"] == "out.png"
    assert result["engine"] == "mesh"
    assert result["frames"] == 1
    assert result["swap_rate"] == 1
    assert {"perception", "weights", "faces_per_track", "stage_s", "warnings", "provenance"} <= set(result)


def test_progress_as_json_lines(facex: Facex, photographs: Photographs) -> None:
    shown = facex("swap", *photographs, "-o", "out.png", "--progress", "jsonl")
    events = [json.loads(line) for line in shown.stderr.splitlines()]
    finished = [event for event in events if event["event"] == "stage_finished"]
    assert [event["done"] for event in finished if event["stage"] == "render"] == [1]
    assert any("mesh" in event["message"] for event in events if event["event"] == "info"), "the engine is told"


def test_a_dry_run_prints_a_plan_that_runs(facex: Facex, photographs: Photographs) -> None:
    shown = facex("swap", *photographs, "-o", "planned.png", "--feather", "0.25", "--dry-run")
    assert shown.code == 0
    assert not Path("planned.png").exists()
    assert json.loads(shown.stdout)["settings"]["look"]["feather"] == 0.25
    Path("plan.json").write_text(shown.stdout)
    assert facex("swap", "--plan", "plan.json").stdout == "planned.png\n"
    facex("swap", *photographs, "-o", "direct.png", "--feather", "0.25")
    assert np.array_equal(read_image(Path("planned.png")), read_image(Path("direct.png")))
    wrong = facex("reenact", "--plan", "plan.json")
    assert (wrong.code, "facex swap --plan plan.json" in wrong.stderr) == (2, True)


def test_a_preset_and_a_file_reach_the_plan(facex: Facex, photographs: Photographs) -> None:
    Path("facex.toml").write_text("[output]\ncrf = 30\n[look]\nfeather = 0.75")
    shown = facex("swap", *photographs, "-o", "out.png", "--dry-run", "--preset", "fast", "--strength", "0.5")
    settings = json.loads(shown.stdout)["settings"]
    assert settings["output"]["crf"] == 23, "the preset overrules the file"
    assert settings["look"]["feather"] == 0.75
    assert settings["look"]["strength"] == 0.5


def test_a_folder_of_stills_is_one_person(facex: Facex, photographs: Photographs) -> None:
    stills = Path("stills")
    stills.mkdir()
    for name in ("a.png", "b.png"):
        (stills / name).write_bytes(photographs[0].read_bytes())
    (stills / "notes.txt").write_text("not a picture")
    plan = json.loads(facex("swap", stills, photographs[1], "-o", "out.png", "--dry-run").stdout)
    assert [Path(item["path"]).name for item in plan["sources"]] == ["a.png", "b.png"]


def test_an_existing_output_is_kept(facex: Facex, photographs: Photographs) -> None:
    Path("out.png").write_bytes(b"precious")
    shown = facex("swap", *photographs, "-o", "out.png")
    assert (shown.code, "--overwrite" in shown.stderr) == (7, True)
    assert Path("out.png").read_bytes() == b"precious"
    assert facex("swap", *photographs, "-o", "out.png", "--overwrite", "-q").code == 0
    assert Path("out.png").read_bytes() != b"precious"


@pytest.mark.parametrize(
    ("source", "target", "output", "code"),
    [
        ("missing.jpg", "{admiral}", "out.png", 3),
        ("{astronaut}", "missing.mp4", "out.mp4", 3),
        ("empty.png", "{admiral}", "out.png", 3),
        ("{astronaut}", "text.mp4", "out.mp4", 3),
        ("blank.png", "{admiral}", "out.png", 4),
        ("{astronaut}", "blank.png", "out.png", 4),
        ("{astronaut}", "{admiral}", "no/such/folder/out.png", 7),
        ("{astronaut}", "{admiral}", "out.xyz", 7),
    ],
)
def test_bad_input_is_one_line_a_hint_and_nothing_written(
    facex: Facex, photographs: Photographs, source: str, target: str, output: str, code: int
) -> None:
    from facexcli.media.image import write_image

    Path("empty.png").touch()
    Path("text.mp4").write_text("not a video\n" * 100)
    write_image(Path("blank.png"), np.full((240, 320, 3), 128, np.uint8))
    before = sorted(Path().rglob("*"))
    names = {"astronaut": photographs[0], "admiral": photographs[1]}
    shown = facex("swap", source.format(**names), target.format(**names), "-o", output, "--progress", "none")
    assert shown.code == code, shown.stderr
    assert shown.stdout == ""
    errors = [line for line in shown.stderr.splitlines() if line.startswith("facex: error: ")]
    assert len(errors) == 1
    assert shown.stderr.splitlines()[-1].startswith("hint: ")
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("take", ["pose=driving", "lips=driving", "hair=source", "lps=source", "lips"])
def test_a_provider_that_a_swap_does_not_have_is_refused(facex: Facex, photographs: Photographs, take: str) -> None:
    shown = facex("swap", *photographs, "-o", "out.png", "--take", take)
    assert shown.code == 2
    assert take.partition("=")[0] in shown.stderr
    assert not Path("out.png").exists()


def test_a_missing_device_is_said(facex: Facex, photographs: Photographs) -> None:
    shown = facex("swap", *photographs, "-o", "out.png", "--device", "cuda:99")
    assert shown.code == 6
    assert "cuda:99" in shown.stderr

"""Reports of real runs: what is measured, what is shown, where it may go, and what happens when nothing can be said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import facexcli
from facexcli.cli.app import main
from facexcli.events import StageFinished, StageStarted
from tests.heard import Heard

if TYPE_CHECKING:
    from conftest import Swapped


Command = Callable[..., tuple[int, str, str]]
WriteClip = Callable[..., Path]


@pytest.fixture
def facex(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """(exit code, output, errors) of a command line, run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEX_HOME", str(tmp_path / "home"))

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def run_of_part(swapped: Swapped, portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> facexcli.RunResult:
    """A swap of frames 4 to 13."""
    settings = facexcli.resolve({"codec": "h264", "trim": "#4..#14"})
    output = tmp_path_factory.mktemp("part") / "part.mp4"
    return facexcli.swap([portrait], swapped.canvas, output, settings=settings)


def test_a_part_of_a_clip_is_measured_and_shown(run_of_part: facexcli.RunResult, tmp_path: Path) -> None:
    heard = Heard()
    facexcli.write_report(run_of_part, tmp_path / "part.html", reporter=heard)
    text = (tmp_path / "part.html").read_text("utf-8")
    assert "Not measured" not in text
    assert text.count('class="compare"') == 8
    for words in (
        "Frames swapped",
        "100.0",
        "person 1",
        "Identity similarity",
        "Pose",
        "Flicker",
        "Speed of each stage",
    ):
        assert words in text, words
    assert not heard.warned
    started = [event.stage for event in heard.events if isinstance(event, StageStarted)]
    assert started == ["analyse", "analyse-result", "measure", "report"]
    finished = next(event for event in heard.events if isinstance(event, StageFinished) and event.stage == "report")
    assert finished.done == 16
    assert [path.name for path in tmp_path.iterdir()] == ["part.html"], "nothing else is left"
    with pytest.raises(facexcli.OutputError, match="exists"):
        facexcli.write_report(run_of_part, tmp_path / "part.html")


def test_a_result_that_is_gone_has_a_page_that_says_so(run_of_part: facexcli.RunResult, tmp_path: Path) -> None:
    heard = Heard()
    facexcli.write_report(replace(run_of_part, output=tmp_path / "gone.mp4"), tmp_path / "gone.html", reporter=heard)
    text = (tmp_path / "gone.html").read_text("utf-8")
    assert "Not measured: gone.mp4 does not exist" in text
    assert "Time and speed" in text
    assert heard.warned


def test_a_person_whom_only_the_run_knows_by_name_is_measured(facex: Command, swapped: Swapped, portrait: Path) -> None:
    facex("faces", swapped.canvas, "--save", "faces.json", "-q")
    faces = Path("faces.json")
    faces.write_text(faces.read_text("utf-8").replace('"person 1"', '"Zo\u00eb <3"'), "utf-8")
    code, out, error = facex(
        "swap", swapped.canvas, "--map", f"{portrait}=Zo\u00eb <3", "--analysis", faces, "--trim", "#8..",
        "-o", "out.mp4", "--codec", "h264", "--report", "out.html", "--json", "--progress", "none",
    )  # fmt: skip
    assert code == 0, error
    assert json.loads(out)["report"] == "out.html"
    text = Path("out.html").read_text("utf-8")
    assert "Not measured" not in text
    assert "Frames swapped" in text
    assert '<h3 id="person-0-title"><bdi>Zo\u00eb &lt;3</bdi></h3>' in text


def test_pictures_have_a_page_without_timelines(facex: Command, portrait: Path, eval_data: Path) -> None:
    target = eval_data / "london" / "011_neutral.jpg"
    code, out, _ = facex("swap", portrait, target, "-o", "out.png", "--report", "out.html", "-q")
    assert (code, out) == (0, "out.png\n")
    text = Path("out.html").read_text("utf-8")
    assert text.count('class="compare"') == 1
    assert "data-plot=" not in text.split("<script")[0]
    assert "Distance to the source" in text


def test_an_evaluation_writes_a_page(facex: Command, swapped: Swapped, portrait: Path) -> None:
    code, _, _ = facex(
        "eval", swapped.result, "--source", portrait, "--canvas", swapped.canvas, "--report", "e.html", "-q"
    )
    assert code == 0
    text = Path("e.html").read_text("utf-8")
    assert text.count('class="compare"') == 8
    assert "Identity similarity" in text
    again, _, error = facex(
        "eval", swapped.result, "--source", portrait, "--canvas", swapped.canvas, "--report", "e.html"
    )
    assert (again, "--overwrite" in error) == (7, True)


def test_a_copy_of_a_clip_without_a_face_has_nothing_to_measure(
    facex: Command, portrait: Path, write_clip: WriteClip
) -> None:
    clip = write_clip("empty", [np.full((120, 160, 3), 90, np.uint8)] * 6)
    code, _, _ = facex("swap", portrait, clip, "-o", "out.mkv", "--no-face", "pass", "--report", "out.html", "-q")
    assert code == 0
    assert "Nothing was edited" in Path("out.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("output", "report", "code"),
    [
        ("out.png", "out.png", 7),
        ("out.png", "page.mp4", 7),
        ("out.png", "{portrait}", 7),
        ("out.png", "no/such/folder/page.html", 7),
        ("out.png", "folder.html", 7),
        ("out.png", "there.html", 7),
        ("-", "page.html", 2),
    ],
)
def test_a_place_that_cannot_be_is_refused_before_the_run(
    facex: Command,
    portrait: Path,
    eval_data: Path,
    write_clip: Callable[..., Path],
    output: str,
    report: str,
    code: int,
) -> None:
    import numpy as np

    Path("folder.html").mkdir()
    Path("there.html").write_text("precious")
    still = eval_data / "london" / "011_neutral.jpg"
    target = write_clip("grey", [np.full((48, 64, 3), 90, np.uint8)] * 3) if output == "-" else still
    told = facex(
        "swap", portrait, target, "-o", output, "--report", report.format(portrait=portrait), "--progress", "none"
    )
    assert told[0] == code, told[2]
    lines = told[2].splitlines()
    assert re.match("facex: error: ", lines[0])
    assert lines[1].startswith("hint: ")
    assert not Path("out.png").exists()
    assert Path("there.html").read_text() == "precious"

"""Plans: checked before anything is decoded, the same value after a trip through JSON."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facexcli.config import resolve
from facexcli.errors import InputError, OutputError, UsageError
from facexcli.pipeline.inputs import expand_stills
from facexcli.pipeline.plan import Plan
from facexcli.pipeline.planning import plan_reenact, plan_swap
from facexcli.pipeline.run import run
from facexcli.settings import Settings

if TYPE_CHECKING:
    from tests.conftest import SmallStill


def test_a_plan_survives_json(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    settings = resolve({"take": ["nose=canvas"], "crf": "20"}, cwd=tmp_path, home=tmp_path)
    plan = plan_swap([portrait], talking_clip, tmp_path / "out.mp4", settings)
    file = tmp_path / "plan.json"
    file.write_text(plan.model_dump_json(indent=2))
    assert Plan.load(file) == plan
    assert plan.recipe["nose"] == "canvas"
    assert plan.settings.output.crf == 20


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"schema_version": 9}'])
def test_a_file_that_is_no_plan_is_a_usage_error(text: str, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(text)
    with pytest.raises(UsageError, match="not a plan"):
        Plan.load(file)


def test_a_changed_input_is_noticed(talking_clip: Path, small_still: SmallStill, tmp_path: Path) -> None:
    source = tmp_path / "source.png"
    shutil.copy(small_still("087_neutral"), source)
    plan = plan_swap([source], talking_clip, tmp_path / "out.mkv", Settings())
    source.write_bytes(small_still("009_neutral").read_bytes())
    with pytest.raises(InputError, match="changed since"):
        run(plan)
    assert not (tmp_path / "out.mkv").exists()


def test_the_output_may_not_be_an_input(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    shutil.copy(talking_clip, clip)
    with pytest.raises(OutputError, match="also an input"):
        plan_swap([portrait], clip, clip, Settings())


@pytest.mark.parametrize("name", ["out.txt", "out", "out.png", "missing/out.mp4"])
def test_an_output_that_cannot_be_written_is_refused_at_once(
    name: str, talking_clip: Path, portrait: Path, tmp_path: Path
) -> None:
    with pytest.raises(OutputError):
        plan_swap([portrait], talking_clip, tmp_path / name, Settings())


def test_an_unknown_encoder_is_refused_before_any_work(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    settings = resolve({"codec": "h266"}, cwd=tmp_path, home=tmp_path)
    with pytest.raises(UsageError, match="h266"):
        plan_swap([portrait], talking_clip, tmp_path / "out.mp4", settings)


def test_a_video_as_source_of_a_swap_is_refused(talking_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a still"):
        plan_swap([talking_clip], talking_clip, tmp_path / "out.mp4", Settings())


def test_a_still_cannot_drive(portrait: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="still picture"):
        plan_reenact(portrait, portrait, tmp_path / "out.mp4", Settings())


def test_a_folder_stands_for_its_pictures(portrait: Path, tmp_path: Path) -> None:
    for name in ("b.jpg", "a.JPG", "notes.txt"):
        shutil.copy(portrait, tmp_path / name)
    assert [path.name for path in expand_stills([tmp_path])] == ["a.JPG", "b.jpg"]


def test_an_empty_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures"):
        expand_stills([tmp_path])

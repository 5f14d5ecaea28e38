"""Plans that were edited by hand, and analyses of another analyzer: said clearly, before any work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from facexcli.config import resolve
from facexcli.errors import OutputError, UsageError
from facexcli.pipeline.plan import Plan
from facexcli.pipeline.planning import plan_swap
from facexcli.pipeline.run import run
from facexcli.settings import Settings


def _drop_a_row(plan: dict[str, Any]) -> None:
    del plan["recipe"]["lips"]


def _rename_the_recipe(plan: dict[str, Any]) -> None:
    plan["recipe_name"] = "swop"


def _ask_without_a_file(plan: dict[str, Any]) -> None:
    plan["recipe"]["lips"] = "query"


def _change_the_task(plan: dict[str, Any]) -> None:
    plan["task"] = plan["recipe_name"] = "reenact"


@pytest.mark.parametrize("edit", [_drop_a_row, _rename_the_recipe, _ask_without_a_file, _change_the_task])
def test_a_plan_that_contradicts_itself_is_refused(
    edit: Callable[[dict[str, Any]], None], talking_clip: Path, portrait: Path, tmp_path: Path
) -> None:
    document = json.loads(plan_swap([portrait], talking_clip, tmp_path / "out.mp4", Settings()).model_dump_json())
    edit(document)
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="not a plan"):
        Plan.load(file)


def test_a_plan_may_not_write_over_its_input(portrait: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.jpg"
    target.write_bytes(portrait.read_bytes())
    plan = plan_swap([portrait], target, tmp_path / "out.jpg", Settings())
    with pytest.raises(OutputError, match="also an input"):
        run(plan.model_copy(update={"output": target}), overwrite=True)
    assert target.read_bytes() == portrait.read_bytes()


def test_a_name_that_is_too_long_is_an_output_error(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        plan_swap([portrait], talking_clip, tmp_path / f"{'x' * 300}.mp4", Settings())


@pytest.mark.parametrize("regions", [",", " , "])
def test_regions_without_a_name_are_refused(regions: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no region"):
        resolve({"regions": regions}, cwd=tmp_path, home=tmp_path)

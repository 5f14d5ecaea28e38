"""What the editing commands share: a plan is made, printed or run, and the result is told.

The pipeline is imported when there is something to do, not for a help text or a mistyped option.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facexcli.cli.console import VOICE, print_json, print_result, reporting
from facexcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from facexcli.cli.options import Choices
    from facexcli.pipeline.plan import Plan

OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="OUT", help="where the result goes; its suffix says the format")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="replace OUT if it exists")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="print the plan as JSON, and do nothing")]
PlanOption = Annotated[
    Path | None, typer.Option("--plan", metavar="FILE", help="run a plan that --dry-run printed, and nothing else")
]


def execute(
    task: str,
    make_plan: Callable[[], Plan],
    choices: Choices,
    *,
    given: dict[str, object],
    plan_file: Path | None,
    overwrite: bool,
    dry_run: bool,
) -> None:
    """Run the plan of `plan_file`, or the one that `make_plan` makes; print it instead for a dry run.

    `given` are the command's own arguments by their name in the usage line: all are needed without a plan file, and
    none is allowed with one. Raises what the run raises, and UsageError.
    """
    if plan_file is None:
        _require(given, task)
        plan = make_plan()
    else:
        _forbid({**given, **dict.fromkeys(choices.options, True)})
        plan = _load(plan_file, task)
    if dry_run:
        print_result(plan.model_dump_json(indent=2))
        return
    from facexcli.pipeline.run import run

    with reporting() as reporter:
        result = run(plan, reporter=reporter, overwrite=overwrite)
    VOICE.detail("seconds: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in result.stage_s.items()))
    if choices.as_json:
        print_json(result.as_json())
    else:
        print_result(str(result.output))


def _load(path: Path, task: str) -> Plan:
    from facexcli.pipeline.plan import Plan

    plan = Plan.load(path)
    if plan.task != task:
        raise UsageError(f"{path} is a plan for {plan.task}", f"facex {plan.task} --plan {path}")
    return plan


def _require(given: dict[str, Any], task: str) -> None:
    missing = [name for name, value in given.items() if not value]
    if missing:
        raise UsageError(f"missing {' and '.join(missing)}", f"see `facex {task} --help`")


def _forbid(given: dict[str, Any]) -> None:
    extra = [name for name, value in given.items() if value]
    if extra:
        raise UsageError(f"--plan leaves no room for {', '.join(extra)}", "edit the plan, or leave out --plan")

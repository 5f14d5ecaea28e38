"""What the editing commands share: a plan is made, printed or run, and the result is told.

The pipeline is imported when there is something to do, not for a help text or a mistyped option.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facexcli.cli.console import VOICE, print_json, print_result, reporting
from facexcli.cli.piping import check_standard_output, is_standard, piped_input, refuse_standard
from facexcli.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from facexcli.cli.options import Choices
    from facexcli.cli.piping import Input
    from facexcli.events import Reporter
    from facexcli.pipeline.plan import Plan
    from facexcli.pipeline.result import RunResult

OutputOption = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", metavar="OUT",
        help="where the result goes: the suffix says the format; DIR/%05d.png or DIR/ takes pictures, - is a pipe",
    ),
]  # fmt: skip
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="replace OUT if it exists")]
ReportOption = Annotated[
    Path | None,
    typer.Option("--report", metavar="OUT.html", help="measure the result, and write a page with pictures and plots"),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="print the plan as JSON, and do nothing")]
PlanOption = Annotated[
    Path | None, typer.Option("--plan", metavar="FILE", help="run a plan that --dry-run printed, and nothing else")
]
FreshOption = Annotated[bool, typer.Option("--fresh", help="begin anew where OUT.facex/ holds parts of an earlier run")]
KeepWorkOption = Annotated[bool, typer.Option("--keep-work", help="keep OUT.facex/ also when the result is complete")]


def execute(
    task: str,
    make_plan: Callable[[Path, Path], Plan],
    choices: Choices,
    *,
    given: dict[str, object],
    moving: Path | None,
    output: str | None,
    plan_file: Path | None,
    overwrite: bool,
    dry_run: bool,
    report: Path | None,
    fresh: bool = False,
    keep_work: bool = False,
) -> None:
    """Run the plan of `plan_file`, or the one that `make_plan` makes; print it instead for a dry run.

    `given` are the command's own arguments by their name in the usage line: all are needed without a plan file, and
    none is allowed with one. `make_plan` gets the file that `moving` names, which may be standard input, and the place
    that `output` names. Raises what the run raises, and UsageError.
    """
    run = partial(_run_or_show, fresh=fresh, keep_work=keep_work)
    if plan_file is not None:
        forbid({**given, **dict.fromkeys(choices.options, True)})
        run(_load(plan_file, task, choices), choices, None, report, overwrite, dry_run)
        return
    _require(given, task)
    assert moving is not None and output is not None
    if dry_run:
        refuse_standard([moving], "the input of a plan", "name a file: a pipe is empty when the plan is run")
    elif is_standard(output):
        check_standard_output(choices.as_json)  # before standard input is read
    with piped_input(moving) as source:
        from facexcli.media.picture_files import output_path

        run(make_plan(source.path, output_path(output)), choices, source, report, overwrite, dry_run)


def _run_or_show(
    plan: Plan,
    choices: Choices,
    source: Input | None,
    report: Path | None,
    overwrite: bool,
    dry_run: bool,
    *,
    fresh: bool,
    keep_work: bool,
) -> None:
    if dry_run:
        print_result(plan.model_dump_json(indent=2))
        return
    from facexcli.batch.resume import run_resumable

    to_standard_output = is_standard(plan.output)
    if to_standard_output:
        check_standard_output(choices.as_json)
    if report is not None:
        _check_report(report, plan, overwrite)
    with reporting() as screen:
        reporter = source.reporter(screen) if source else screen
        result = run_resumable(plan, reporter, overwrite, fresh=fresh, keep_work=keep_work)
        if report is not None:
            _report(result, report, overwrite, reporter, source)
    VOICE.detail("seconds: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in result.stage_s.items()))
    if choices.as_json:
        print_json(result.as_json() | ({"report": str(report)} if report else {}))
    elif not to_standard_output:
        print_result(str(result.output))


def _check_report(path: Path, plan: Plan, overwrite: bool) -> None:
    """Before the run, which may take hours. Raises OutputError, and UsageError for a result that nobody can read."""
    from facexcli.evaluate.report.report import check_place

    if is_standard(plan.output):
        raise UsageError("--report reads the result again, and `-o -` leaves nothing to read", "name a file with -o")
    people = plan.settings.people
    others = [path for path in (people.match, people.analysis) if path is not None]
    check_place(path, [*(item.path for item in plan.inputs), *others, plan.output], overwrite)


def _report(result: RunResult, path: Path, overwrite: bool, reporter: Reporter, source: Input | None) -> None:
    """Raises OutputError that says that the result itself is there."""
    from facexcli.evaluate.report.report import write_report

    try:
        write_report(result, path, overwrite=overwrite, reporter=reporter, told=source.told if source else str)
    except OutputError as error:
        raise OutputError(f"{error.message}; {result.output} is complete", error.hint) from error


def _load(path: Path, task: str, choices: Choices) -> Plan:
    from facexcli.pipeline.plan import Plan

    plan = Plan.load(path)
    if plan.task != task:
        raise UsageError(f"{path} is a plan for {plan.task}", f"facex {plan.task} --plan {path}")
    return plan.signed_as(choices.settings.provenance)


def _require(given: dict[str, Any], task: str) -> None:
    missing = [name for name, value in given.items() if not value]
    if missing:
        raise UsageError(f"missing {' and '.join(missing)}", f"see `facex {task} --help`")


def forbid(given: dict[str, Any]) -> None:
    """Raises UsageError for anything that was given beside a plan."""
    extra = [name for name, value in given.items() if value]
    if extra:
        raise UsageError(f"--plan leaves no room for {', '.join(extra)}", "edit the plan, or leave out --plan")

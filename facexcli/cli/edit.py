"""What the editing commands share: a plan is made, printed or run, and the result is told.

The pipeline is imported when there is something to do, not for a help text or a mistyped option.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from facexcli.cli.console import VOICE, print_json, print_result, reporting
from facexcli.cli.options import keyword, with_settings
from facexcli.cli.piping import check_standard_output, is_standard, piped_input, refuse_standard
from facexcli.errors import OutputError, UsageError
from facexcli.settings import COMMAND_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from facexcli.cli.options import Choices
    from facexcli.cli.piping import Input
    from facexcli.events import Reporter
    from facexcli.pipeline.plan import Plan
    from facexcli.pipeline.result import RunResult

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="print the plan as JSON, and do nothing")]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the editing commands share beside settings: where the result goes, and whether there is to be one."""

    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="OUT",
            help="where the result goes: the suffix says the format; DIR/%05d.png or DIR/ takes pictures, - is a pipe",
        ),
    ] = None  # fmt: skip
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace OUT if it exists")] = False
    dry_run: DryRunOption = False
    plan: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE", help="run a plan that --dry-run printed, and nothing else")
    ] = None
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="OUT.html", help="measure the result, and write a page with pictures and plots"
        ),
    ] = None
    fresh: Annotated[
        bool, typer.Option("--fresh", help="begin anew where OUT.facex/ holds parts of an earlier run")
    ] = False
    keep_work: Annotated[
        bool, typer.Option("--keep-work", help="keep OUT.facex/ also when the result is complete")
    ] = False  # fmt: skip


def edits(task: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make an editing command: it gets the settings of `task` as `choices`, and how it runs as `wanted`.

    Their options stand behind the command's own; see `with_settings`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(RunOptions, include_extras=True)
        shared = [keyword(item.name, hints[item.name], item.default) for item in fields(RunOptions)]
        signature = inspect.signature(command, eval_str=True)
        own = [item for item in signature.parameters.values() if item.name != "wanted"]

        @wraps(command)
        def run(**values: Any) -> None:
            command(wanted=RunOptions(**{item.name: values.pop(item.name) for item in shared}), **values)

        run.__signature__ = signature.replace(parameters=[*own, *shared])  # type: ignore[attr-defined]
        return with_settings(*COMMAND_SETTINGS[task])(run)

    return decorate


def execute(
    task: str,
    make_plan: Callable[[Path, Path], Plan],
    choices: Choices,
    wanted: RunOptions,
    *,
    given: dict[str, object],
    moving: Path | None,
) -> None:
    """Run the plan of `--plan`, or the one that `make_plan` makes; print it instead for a dry run.

    `given` are the command's own arguments by their name in the usage line: all, and OUT, are needed without a plan
    file, and none is allowed with one. `make_plan` gets the file that `moving` names, which may be standard input, and
    the place that `-o` names. Raises what the run raises, and UsageError.
    """
    given = {**given, "-o OUT": wanted.output}
    if wanted.plan is not None:
        forbid({**given, **dict.fromkeys(choices.options, True)})
        _run_or_show(_load(wanted.plan, task, choices), choices, None, wanted)
        return
    _require(given, task)
    assert moving is not None and wanted.output is not None
    if wanted.dry_run:
        refuse_standard([moving], "the input of a plan", "name a file: a pipe is empty when the plan is run")
    elif is_standard(wanted.output):
        check_standard_output(choices.as_json)  # before standard input is read
    with piped_input(moving) as source:
        from facexcli.media.picture_files import output_path

        _run_or_show(make_plan(source.path, output_path(wanted.output)), choices, source, wanted)


def _run_or_show(plan: Plan, choices: Choices, source: Input | None, wanted: RunOptions) -> None:
    if wanted.dry_run:
        print_result(plan.model_dump_json(indent=2))
        return
    from facexcli.batch.resume import run_resumable

    to_standard_output = is_standard(plan.output)
    if to_standard_output:
        check_standard_output(choices.as_json)
    report = wanted.report
    if report is not None:
        _check_report(report, plan, wanted.overwrite)
    with reporting() as screen:
        reporter = source.reporter(screen) if source else screen
        result = run_resumable(plan, reporter, wanted.overwrite, fresh=wanted.fresh, keep_work=wanted.keep_work)
        if report is not None:
            _report(result, report, wanted.overwrite, reporter, source)
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

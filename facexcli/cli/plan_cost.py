"""`facex plan-cost`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facexcli.cli.console import print_json, print_result, reporting
from facexcli.cli.options import Choices, with_settings

if TYPE_CHECKING:
    from facexcli.batch.cost import Cost


def register(app: typer.Typer, panel: str) -> None:
    app.command("plan-cost", rich_help_panel=panel)(plan_cost)


@with_settings("talk")
def plan_cost(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="a plan that --dry-run printed")],
    gpus: Annotated[int, typer.Option("--gpus", metavar="N", min=1, max=4096, help="up to so many workers (8)")] = 8,
    rates: Annotated[
        Path | None,
        typer.Option("--rates", metavar="FILE", help="results of a batch, or what --json printed; else it is measured"),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=0.5, max=3600, help="how much of the plan is measured (4)")
    ] = 4.0,
    *,
    choices: Choices,
) -> None:
    """Predict how long a plan takes with 1 to N workers.

    The parts that no worker shares stand by themselves: the analysis, opening
    the models, the join. Without --rates the first seconds of the plan are run
    on this machine; so measure on the kind of machine that will do the work.

    Example:
      facex plan-cost plan.json --gpus 8
      facex plan-cost plan.json --gpus 32 --rates nightly.results.jsonl
    """
    from facexcli.batch.cost import as_json, measure_rates, predict, read_rates, shown_workers, work_of
    from facexcli.pipeline.plan import Plan

    asked = Plan.load(plan).signed_as(choices.settings.provenance)
    work = work_of(asked)
    if rates is not None:
        found = read_rates(rates, asked)
    else:
        with reporting() as reporter:
            found = measure_rates(asked, seconds, reporter)
    costs = predict(found, work, shown_workers(gpus))
    if choices.as_json:
        print_json(as_json(found, work, costs))
        return
    print_result(f"{work.frames} frames in {work.segments} segments, engine {asked.engine}\nrates: {found.origin}")
    print_result(f"a frame: analysis {_ms(found.analyse_s)}, render {_ms(found.render_s)}, join {_ms(found.join_s)}; "
                 f"a process: start {found.start_s + found.prepare_s:.1f} s")  # fmt: skip
    print_result("workers  analysis s  start s   render s   join s    total s  speed-up  efficiency")
    for cost in costs:
        print_result(_line(cost))
    serial = 1 - costs[0].render_s / costs[0].total_s
    print_result(f"serial: {serial:.1%} of one worker's time, so at most {1 / max(serial, 1e-9):.1f} times as fast")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _line(cost: Cost) -> str:
    return (f"{cost.workers:>7}  {cost.analyse_s:>10.1f}  {cost.start_s:>7.1f}  {cost.render_s:>9.1f}"
            f"  {cost.join_s:>7.1f}  {cost.total_s:>9.1f}  {cost.speedup:>8.2f}  {cost.efficiency:>10.0%}")  # fmt: skip

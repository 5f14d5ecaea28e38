"""`facex batch`."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facexcli.cli.console import VOICE, print_json, print_result, reporting, show_problem, show_table
from facexcli.cli.edit import DryRunOption
from facexcli.cli.options import Choices, with_settings
from facexcli.errors import BatchError, Interrupted, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from facexcli.batch.job import PlannedJob
    from facexcli.batch.pool import Executor
    from facexcli.batch.runner import BatchOptions, BatchReporter, Outcome

    MakeExecutor = Callable[[BatchReporter], AbstractContextManager[Executor]]

_COLUMNS = (
    ("job", True), ("output", False), ("state", False), ("frames", True), ("fps", True), ("s", True),
    ("message", False),
)  # fmt: skip


def register(app: typer.Typer, panel: str) -> None:
    app.command("batch", rich_help_panel=panel)(batch)


@with_settings("talk")
def batch(
    jobs: Annotated[Path, typer.Argument(metavar="JOBS", help="a file of jobs: .toml, .csv or .jsonl")],
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, max=256, help="jobs side by side (1)")] = 1,
    devices: Annotated[
        str, typer.Option("--devices", metavar="LIST", help="a worker for each, as in cuda:0,cuda:1")
    ] = "",
    cluster: Annotated[
        str, typer.Option("--cluster", metavar="auto|HOST:PORT", help="workers on a Ray cluster: one a card")
    ] = "",
    keep_going: Annotated[bool, typer.Option("--keep-going", help="go on with other jobs when one fails")] = False,
    retry: Annotated[
        int, typer.Option("--retry", metavar="N", min=0, max=100, help="try again a job that crashed or lacked memory")
    ] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace outputs that are of other plans")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="do everything again, also what is complete")] = False,
    results: Annotated[
        Path | None, typer.Option("--results", metavar="FILE", help="a JSON line a job; beside JOBS by default")
    ] = None,
    dry_run: DryRunOption = False,
    *,
    choices: Choices,
) -> None:
    """Do many swaps, reenactments and edits, listed in a file.

    All jobs are checked before the first begins. One that fails, or crashes,
    stops no other that runs; with --keep-going all others are done as well.
    What is complete from an earlier batch is skipped. Exit code 8 says that
    some jobs failed, 2 that the file has mistakes and nothing was begun.

    A row has command (swap by default), source or sources, target (driving for
    reenact, canvas for edit), output, preset, and every option of the command
    (of edit, lighting = "b.jpg", loop = true and so on):

      [defaults]
      source = "people/*.jpg"
      [[job]]
      target = "clips/*.mp4"
      output = "out/{source}-{target}.mp4"
      feather = 0.4

    Each source goes into each target. `sources = [...]` are stills of one person.

    Example:
      facex batch nightly.toml --keep-going --retry 1
      facex batch jobs.csv --workers 2 --results nightly.jsonl
      facex batch jobs.jsonl --cluster auto
      facex batch jobs.jsonl --dry-run
    """
    from facexcli.batch.jobfile import JobsError
    from facexcli.batch.jobs import planned
    from facexcli.batch.runner import BatchOptions

    names = _devices(workers, devices)
    if cluster and devices:
        raise UsageError("--devices is for this machine", "a cluster has a worker for each of its cards")
    try:
        with planned(jobs) as found:
            if dry_run:
                for item in found:
                    print_result(item.plan.model_dump_json())
                return
            options = BatchOptions(keep_going, retry, overwrite, fresh)
            executor = partial(_on_cluster, cluster, found, workers) if cluster else partial(_here, names)
            _run(jobs, found, executor, options, results, choices)
    except JobsError as error:
        for problem in error.problems:
            show_problem(problem.where, problem.message, problem.hint)
        raise


def _devices(workers: int, devices: str) -> tuple[str, ...]:
    """The device of each worker. Raises what `resolve` raises for a name that is none."""
    from facexcli.config import resolve
    from facexcli.device import choose_device

    names = tuple(name.strip() for name in devices.split(",") if name.strip())
    for name in names:
        resolve({"device": name})
        if name != "auto":
            choose_device(name)
    if names and workers not in (1, len(names)):
        raise UsageError(f"--workers {workers} with {len(names)} --devices", "leave out --workers: one works on each")
    return names or ("auto",) * workers


@contextmanager
def _here(devices: tuple[str, ...], reporter: BatchReporter) -> Iterator[Executor]:
    from facexcli.batch.pool import LocalPool

    pool = LocalPool(devices, reporter.tell)
    try:
        yield pool
    finally:
        pool.close()


@contextmanager
def _on_cluster(address: str, found: Sequence[PlannedJob], workers: int, reporter: BatchReporter) -> Iterator[Executor]:
    from facexcli.batch.cluster import Cluster
    from facexcli.batch.cluster_jobs import ClusterPool, device_of

    with Cluster(address) as cluster:
        share = cluster.share(device_of(item.plan for item in found), workers)
        pool = ClusterPool(cluster, share, reporter.tell, reporter)
        try:
            yield pool
        finally:
            pool.close()


def _run(
    path: Path,
    found: Sequence[PlannedJob],
    executor: MakeExecutor,
    options: BatchOptions,
    results: Path | None,
    choices: Choices,
) -> None:
    from facexcli.batch.results import ResultsFile, default_results
    from facexcli.batch.runner import BatchReporter, run_batch

    place = results or default_results(path)
    with ResultsFile(place) as file:
        with reporting() as screen:
            reporter = BatchReporter(screen)
            with executor(reporter) as pool:
                try:
                    run_batch(path, found, pool, file, options, reporter)
                except KeyboardInterrupt:
                    _tell_end(reporter, place, choices)
                    hint = f"the same command does the rest; results so far: {place}"
                    raise Interrupted("interrupted", hint) from None
        _tell_end(reporter, place, choices)


def _tell_end(reporter: BatchReporter, place: Path, choices: Choices) -> None:
    """The table, the outputs or one JSON object; raises BatchError where a job failed."""
    from facexcli.batch.runner import counts

    outcomes = sorted(reporter.outcomes, key=lambda outcome: outcome.planned.job.number)
    number = counts(outcomes)
    show_table(_COLUMNS, [_row(outcome) for outcome in outcomes])
    if choices.as_json:
        named = {name.replace(" ", "_"): count for name, count in number.items()}
        print_json({"jobs": len(outcomes), **named, "results": str(place)})
    else:
        for outcome in outcomes:
            if outcome.state in ("done", "skipped"):
                print_result(str(outcome.planned.job.output))
    for detail in filter(None, (outcome.attempt.detail for outcome in outcomes)):
        VOICE.detail(detail)
    if number["failed"]:
        rest = f", {number['not started']} not started" if number["not started"] else ""
        raise BatchError(f"{number['failed']} of {len(outcomes)} jobs failed{rest}",
                         f"{place} says why; the same command does them again"
                         + ("" if not rest else "; --keep-going goes on after a failure"))  # fmt: skip


def _row(outcome: Outcome) -> tuple[str, ...]:
    job, end = outcome.planned.job, outcome.attempt
    fps = f"{end.frames / end.seconds:.1f}" if end.frames and end.seconds else ""
    warnings = len(end.result.get("warnings", ()))
    told = end.message or (f"{warnings} warning{'s' if warnings > 1 else ''}" if warnings else "")
    return (str(job.number), str(job.output), outcome.state, str(end.frames or ""), fps,
            f"{end.seconds:.1f}" if end.seconds else "", told)  # fmt: skip

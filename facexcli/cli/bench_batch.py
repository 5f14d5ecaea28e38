"""`facex bench batch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from facexcli.cli.bench_options import DATA, DataOption
from facexcli.cli.console import print_result

if TYPE_CHECKING:
    from facexcli.evaluate.batch import KilledRow


def bench_batch(
    data: DataOption = DATA,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=2, help="small jobs, of 10 frames each")] = 40,
    cluster: Annotated[
        str, typer.Option("--cluster", metavar="auto|local", help="only the killed worker, on a Ray cluster here")
    ] = "",
) -> None:
    """Time small jobs in one batch and as single commands, and kill a worker in the middle of another batch.

    Example:
      facex bench batch --data ../shared/data/eval --jobs 40
      facex bench batch --cluster local
    """
    from facexcli.evaluate.batch import bench_killed, bench_sharing

    if cluster:
        _tell_killed(bench_killed(data, jobs, cluster))
        return
    row = bench_sharing(data, jobs)
    print_result(f"{row.jobs} jobs of {row.frames_each} frames, one worker")
    for name, spent in (("one batch", row.batch), ("single commands", row.single)):
        print_result(f"  {name:<16} {spent.wall_s:8.1f} s  {spent.cpu_s:8.1f} s CPU  {jobs / spent.wall_s:6.2f} jobs/s")
    print_result(
        f"sharing saves {row.saved_s:.2f} s a job: {row.single.wall_s / row.batch.wall_s:.2f} times the throughput"
    )
    _tell_killed(bench_killed(data, jobs))


def _tell_killed(killed: KilledRow) -> None:
    print_result(
        f"one of two workers killed in the middle: {killed.finished} of {killed.jobs} finished, {killed.once} once, "
        f"{killed.begun} begun"
    )

"""What a batch saves over single commands, and whether it bears the death of a worker."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facexcli.batch.jobs import planned
from facexcli.batch.results import ResultsFile, default_results, read_results
from facexcli.batch.runner import BatchOptions, BatchReporter, run_batch
from facexcli.errors import DeviceError
from facexcli.evaluate.bench import SWAP_SOURCES, talking_clips
from facexcli.events import SilentReporter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facexcli.batch.cluster_jobs import ClusterPool
    from facexcli.batch.pool import LocalPool
    from facexcli.batch.work import Attempt, Order

_WORKERS = 2
_FRAMES = 10


@dataclass(frozen=True, slots=True)
class Spent:
    """wall_s: from start to end. cpu_s: user and system, of all processes."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class SharingRow:
    """The same small jobs in one batch of one worker, and as one command each. Each way begins with an empty cache."""

    jobs: int
    frames_each: int
    batch: Spent
    single: Spent

    @property
    def saved_s(self) -> float:
        """Wall seconds saved for each job."""
        return (self.single.wall_s - self.batch.wall_s) / self.jobs


@dataclass(frozen=True, slots=True)
class KilledRow:
    """A batch of two workers, one of which was killed by SIGKILL when half of the jobs were done.

    finished: jobs whose results are there. once: jobs that have one line in the results file, which says done.
    begun: how often jobs were begun, all together, as the runner knows it: a cluster begins one again by itself.
    """

    jobs: int
    finished: int
    once: int
    begun: int


def bench_sharing(data: Path, jobs: int) -> SharingRow:
    """Raises InputError without the evaluation data, DeviceError where a command fails."""
    with tempfile.TemporaryDirectory(prefix="facex-bench-") as name:
        folder = Path(name)
        rows = _rows(data, jobs)
        path = _jobs_file(folder, rows)
        batch = _spent(folder / "batch", [["batch", str(path), "--progress", "none"]])
        commands = [["swap", row["source"], row["target"], "-o", str(folder / f"single{number}.mp4"),
                     "--trim", row["trim"], "--progress", "none"] for number, row in enumerate(rows)]  # fmt: skip
        return SharingRow(jobs, _FRAMES, batch, _spent(folder / "single", commands))


def bench_killed(data: Path, jobs: int, cluster: str = "") -> KilledRow:
    """With workers of this machine, or of the cluster at that address, where it has to be a node of this machine.

    Raises as `bench_sharing` does, and what `Cluster` raises.
    """
    with tempfile.TemporaryDirectory(prefix="facex-bench-") as name:
        path = _jobs_file(Path(name), _rows(data, jobs))
        reporter = BatchReporter(SilentReporter())
        with (
            planned(path) as found,
            _pool(cluster, reporter) as pool,
            ResultsFile(default_results(path)) as results,
        ):
            killing = _Killing(pool, jobs // 2)
            outcomes = run_batch(path, found, killing, results, BatchOptions(keep_going=True, retries=1), reporter)
        if not killing.has_killed:
            raise DeviceError("no worker was killed: the batch was over too soon", "measure with more --jobs")
        lines = read_results(default_results(path))
        done = [line["output"] for line in lines if line["state"] == "done"]
        return KilledRow(
            jobs,
            sum(outcome.planned.plan.output.is_file() for outcome in outcomes),
            sum(done.count(output) == 1 for output in {line["output"] for line in lines}),
            sum(line["attempts"] for line in lines),
        )


@contextmanager
def _pool(cluster: str, reporter: BatchReporter) -> Iterator[LocalPool | ClusterPool]:
    if not cluster:
        from facexcli.batch.pool import LocalPool

        yield LocalPool(("auto",) * _WORKERS, reporter.tell)
        return
    from facexcli.batch.cluster import Cluster
    from facexcli.batch.cluster_jobs import ClusterPool

    with Cluster(cluster) as connected:
        yield ClusterPool(connected, connected.share("cpu", _WORKERS), reporter.tell, reporter)


class _Killing:
    """An executor whose worker is killed once, after so many jobs."""

    def __init__(self, pool: LocalPool | ClusterPool, after: int) -> None:
        self._pool, self._left = pool, after
        self.has_killed = False

    @property
    def slots(self) -> int:
        """See `Executor`."""
        return self._pool.slots

    def start(self, order: Order) -> None:
        """See `Executor`."""
        self._pool.start(order)

    def next_ended(self) -> tuple[Order, Attempt]:
        """See `Executor`."""
        if self._left <= 0 and not self.has_killed and self._pool.at_work:
            os.kill(self._pool.at_work[0][0], signal.SIGKILL)
            self.has_killed = True
        self._left -= 1
        return self._pool.next_ended()

    def close(self) -> None:
        """See `Executor`."""
        self._pool.close()


def _rows(data: Path, jobs: int) -> list[dict[str, str]]:
    """Four people and six clips by turns, a few frames each."""
    clips = talking_clips(data)
    return [
        {
            "source": os.path.abspath(data / "london" / f"{SWAP_SOURCES[number % len(SWAP_SOURCES)]}_neutral.jpg"),
            "target": os.path.abspath(clips[number % len(clips)]),
            "trim": f"#0..#{_FRAMES}",
            "output": f"out{number}.mp4",
        }
        for number in range(jobs)
    ]


def _jobs_file(folder: Path, rows: Sequence[dict[str, str]]) -> Path:
    path = folder / "jobs.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


def _spent(cache: Path, commands: Sequence[Sequence[str]]) -> Spent:
    """Run commands one after the other. Raises DeviceError for one that fails."""
    environment = {**os.environ, "FACEX_HOME": str(cache)}
    before, start_s = _cpu_s(), time.perf_counter()
    for command in commands:
        program = [sys.executable, "-m", "facexcli", *command]
        done = subprocess.run(program, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise DeviceError(f"`facex {command[0]}` failed while it was measured: {done.stderr.strip()[-300:]}")
    return Spent(time.perf_counter() - start_s, _cpu_s() - before)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

"""Runs a batch: what is complete is skipped, what fails takes nothing with it, every end is written down."""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from facexcli.batch.complete import content_of, is_complete, job_fingerprint
from facexcli.batch.jobfile import JobsError, Problem
from facexcli.batch.work import Attempt, Order
from facexcli.errors import OutputError
from facexcli.events import Informed, StageAdvanced, StageFinished, StageStarted, Warned
from facexcli.pipeline.destination import check_free
from facexcli.pipeline.marking import check_sidecar_free

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from facexcli.batch.job import PlannedJob
    from facexcli.batch.pool import Executor
    from facexcli.batch.results import ResultsFile
    from facexcli.events import Event, Reporter

State = Literal["done", "skipped", "failed", "interrupted", "not started"]


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How a batch goes on.

    Attributes:
        keep_going: begin other jobs after one has failed.
        retries: how often a job is tried again whose failure may pass.
        overwrite: replace outputs of other plans.
        fresh: do again what is complete, and forget parts of earlier runs.
    """

    keep_going: bool = False
    retries: int = 0
    overwrite: bool = False
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job. attempts: how often it was begun, and `attempt` how that ended last."""

    planned: PlannedJob
    state: State
    fingerprint: str
    attempts: int = 0
    attempt: Attempt = field(default_factory=lambda: Attempt(0))

    def as_line(self) -> dict[str, Any]:
        """The job's line in the results file."""
        job, end = self.planned.job, self.attempt
        return {
            "job": job.number,
            "where": job.where,
            "command": job.command,
            "sources": [str(path) for path in job.sources],
            "moving": str(job.moving),
            "output": os.path.abspath(job.output),
            "state": self.state,
            "exit_code": end.exit_code,
            "message": end.message,
            "hint": end.hint,
            "attempts": self.attempts,
            "engine": self.planned.plan.engine,
            "frames": end.frames,
            "seconds": round(end.seconds, 3),
            "stages": end.stages,
            "fingerprint": self.fingerprint,
            "content": end.content,
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "result": end.result,
        }


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A job that is to be done. replaces: whether its own older output may go."""

    planned: PlannedJob
    fingerprint: str
    replaces: bool
    attempts: int = 0


def run_batch(
    path: Path,
    jobs: Sequence[PlannedJob],
    executor: Executor,
    results: ResultsFile,
    options: BatchOptions,
    reporter: BatchReporter,
) -> list[Outcome]:
    """Do the jobs of the file `path`; returns what became of each, in their order.

    Raises JobsError where outputs of other plans are in the way, before anything is begun; KeyboardInterrupt after all
    has ended and was written down (`reporter.outcomes`).
    """
    skipped, waiting = _sorted_out(path, jobs, results, options)
    results.begin(outcome.as_line() for outcome in skipped)
    reporter.begin(jobs, skipped)
    _Batch(waiting, executor, results, options, reporter).run()
    return sorted(reporter.outcomes, key=lambda outcome: outcome.planned.job.number)


def _sorted_out(
    path: Path, jobs: Sequence[PlannedJob], results: ResultsFile, options: BatchOptions
) -> tuple[list[Outcome], list[_Waiting]]:
    """What is complete, and what is to be done. Raises JobsError."""
    skipped, waiting, problems = [], [], []
    for planned in jobs:
        plan, own = planned.plan, job_fingerprint(planned.plan)
        earlier = results.earlier.get(os.path.abspath(plan.output), {})
        complete = is_complete(plan, own, earlier)
        if complete and not options.fresh:
            skipped.append(Outcome(planned, "skipped", own, attempt=_known(plan.output, earlier)))
            continue
        try:
            check_free(plan.output, options.overwrite or complete)
            check_sidecar_free(plan, options.overwrite or complete)
        except OutputError as error:
            message = f"{error.message}, and is not what this job gives"
            problems.append(Problem(planned.job.where, message, "--overwrite replaces such outputs"))
        waiting.append(_Waiting(planned, own, options.overwrite or complete))
    if problems:
        raise JobsError(path, problems)
    return skipped, waiting


def _known(output: Path, earlier: Mapping[str, Any]) -> Attempt:
    """What the results of the batch that did a job say of it, as far as they are about the file that is there."""
    content = content_of(output)
    if earlier.get("content") != content:
        return Attempt(0, content=content)
    stages = {name: (int(done), float(wall_s)) for name, (done, wall_s) in earlier["stages"].items()}
    return Attempt(0, "", "", earlier["seconds"], earlier["frames"], stages, content, earlier["result"])


class _Batch:
    """The jobs of a batch that wait and that are in work."""

    def __init__(
        self,
        waiting: Iterable[_Waiting],
        executor: Executor,
        results: ResultsFile,
        options: BatchOptions,
        reporter: BatchReporter,
    ) -> None:
        self._waiting, self._running = deque(waiting), dict[int, _Waiting]()
        self._executor, self._results, self._options, self._reporter = executor, results, options, reporter
        self._stopped = False

    def run(self) -> None:
        try:
            while self._running or (self._waiting and not self._stopped):
                self._fill()
                order, attempt = self._executor.next_ended()
                self._ended(self._running.pop(order.number), attempt)
        except BaseException:
            self._executor.close()
            for item in self._running.values():
                self._settle(item, "interrupted", Attempt(130, "interrupted"))
            raise
        finally:
            for item in self._waiting:
                self._settle(item, "not started", Attempt(0))
            self._executor.close()
            self._reporter.finish()

    def _fill(self) -> None:
        while self._waiting and not self._stopped and len(self._running) < self._executor.slots:
            item = self._waiting.popleft()
            item = _Waiting(item.planned, item.fingerprint, item.replaces, item.attempts + 1)
            job = item.planned.job
            self._running[job.number] = item
            fresh = self._options.fresh and item.attempts == 1
            self._executor.start(Order(job.number, item.planned.plan, item.replaces, fresh))

    def _ended(self, item: _Waiting, attempt: Attempt) -> None:
        if attempt.exit_code == 0:
            self._settle(item, "done", attempt)
        elif attempt.may_pass and item.attempts <= self._options.retries:
            told = f"{attempt.message}; it is tried again ({item.attempts} of {self._options.retries})"
            self._reporter.emit(Warned(f"job {item.planned.job.number}: {told}"))
            self._waiting.appendleft(item)
        else:
            self._stopped = not self._options.keep_going
            self._settle(item, "failed", attempt)

    def _settle(self, item: _Waiting, state: State, attempt: Attempt) -> None:
        outcome = Outcome(item.planned, state, item.fingerprint, item.attempts, attempt)
        self._results.append(outcome.as_line())
        self._reporter.settled(outcome)


class BatchReporter:
    """Tells how a batch comes on: a bar over all jobs, a line for each that ends, and the warnings of all."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._names: dict[int, str] = {}
        self._warned: set[str] = set()
        self._begun, self._ended = False, 0
        self._began_s = time.monotonic()
        self.outcomes: list[Outcome] = []

    def begin(self, jobs: Sequence[PlannedJob], skipped: Sequence[Outcome]) -> None:
        """The jobs are known, and those of them that are complete."""
        self._names = {item.job.number: item.job.output.name for item in jobs}
        self.outcomes += skipped
        self._began_s = time.monotonic()
        if skipped:
            self.emit(Informed(f"{len(skipped)} of {len(jobs)} jobs are complete from an earlier batch"))
        self._begun = len(skipped) < len(jobs)
        if self._begun:
            self.emit(StageStarted("jobs", len(jobs) - len(skipped), "jobs"))

    def tell(self, number: int, event: Event) -> None:
        """What a job says: its warnings are passed on, the same one once; its stages are its own matter."""
        if isinstance(event, Warned) and event.message not in self._warned:
            self._warned.add(event.message)
            self.emit(Warned(f"job {number}, {self._names[number]}: {event.message}"))

    def settled(self, outcome: Outcome) -> None:
        """A job ended, or never began."""
        self.outcomes.append(outcome)
        if outcome.state in ("interrupted", "not started"):
            return
        self._ended += 1
        number, attempt = outcome.planned.job.number, outcome.attempt
        if outcome.state == "failed":
            self.emit(Warned(f"job {number} failed: {attempt.message}"))
        else:
            self.emit(Informed(f"job {number} done: {outcome.planned.job.output}, {attempt.frames} frames in "
                               f"{attempt.seconds:.1f} s"))  # fmt: skip
        self.emit(StageAdvanced("jobs", self._ended, self._ended / max(time.monotonic() - self._began_s, 1e-6)))

    def finish(self) -> None:
        """Nothing is in work any more."""
        if self._begun:
            self.emit(StageFinished("jobs", self._ended, time.monotonic() - self._began_s))

    def emit(self, event: Event) -> None:
        """See `Reporter`."""
        self._reporter.emit(event)


def counts(outcomes: Iterable[Outcome]) -> Mapping[State, int]:
    """How many jobs ended in each way."""
    found: dict[State, int] = {"done": 0, "skipped": 0, "failed": 0, "interrupted": 0, "not started": 0}
    for outcome in outcomes:
        found[outcome.state] += 1
    return found

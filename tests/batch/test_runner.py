"""What a batch does with its jobs: which are skipped, tried again, begun at all, and what is written down of each."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from facexcli.batch.complete import content_of, is_complete, job_fingerprint
from facexcli.batch.job import PlannedJob
from facexcli.batch.jobfile import JobsError
from facexcli.batch.jobs import planned
from facexcli.batch.results import ResultsFile, default_results, read_results
from facexcli.batch.runner import BatchOptions, BatchReporter, Outcome, run_batch
from facexcli.batch.work import Attempt, JobRunner, Order
from facexcli.errors import OutputError
from facexcli.events import SilentReporter, Warned
from facexcli.pipeline.run import run

DONE = Attempt(0, frames=3, seconds=0.5)
CRASHED = Attempt(3, "the decoder crashed", "convert it", died=True)
NO_FACE = Attempt(4, "no face found")
NO_MEMORY = Attempt(6, "out of memory")

Ends = Callable[[Order], Attempt | BaseException]


class Pretended:
    """An executor that ends jobs as a script says, in the order in which they were begun."""

    def __init__(self, ends: Ends = lambda order: DONE, slots: int = 1) -> None:
        self.slots, self._ends = slots, ends
        self._running: deque[Order] = deque()
        self.begun: list[Order] = []
        self.closed = False

    def start(self, order: Order) -> None:
        assert len(self._running) < self.slots
        self._running.append(order)
        self.begun.append(order)

    def next_ended(self) -> tuple[Order, Attempt]:
        order = self._running.popleft()
        end = self._ends(order)
        if isinstance(end, BaseException):
            raise end
        if end.exit_code == 0:
            order.plan.output.write_bytes(f"result {order.number}".encode())
            end = replace(end, content=content_of(order.plan.output), stages={"render": (3, 0.1)})
        return order, end

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def jobs(eval_data: Path, tmp_path: Path) -> Iterator[list[PlannedJob]]:
    with planned(_file(eval_data, tmp_path, 4)) as found:
        yield found


def _file(eval_data: Path, folder: Path, count: int, **values: object) -> Path:
    still, clip = eval_data / "london" / "087_neutral.jpg", eval_data / "talking" / "grid_brbk7n.mpg"
    row = {"source": str(still), "target": str(clip), "output": "{index}.mp4", "trim": "#0..#3", **values}
    path = folder / "jobs.jsonl"
    path.write_text("\n".join([json.dumps(row)] * count), "utf-8")
    return path


def _run(
    jobs: Sequence[PlannedJob],
    executor: Pretended,
    options: BatchOptions | None = None,
    told: list[str] | None = None,
) -> list[Outcome]:
    class Listening(SilentReporter):
        def emit(self, event: object) -> None:
            if isinstance(event, Warned) and told is not None:
                told.append(event.message)

    path = jobs[0].job.output.parent / "jobs.jsonl"
    with ResultsFile(default_results(path)) as results:
        return run_batch(path, jobs, executor, results, options or BatchOptions(), BatchReporter(Listening()))


def _states(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.state for outcome in outcomes]


def _lines(jobs: Sequence[PlannedJob]) -> list[dict[str, object]]:
    return read_results(jobs[0].job.output.parent / "jobs.results.jsonl")


def test_all_are_done_and_written_down(jobs: list[PlannedJob]) -> None:
    executor = Pretended(slots=2)
    assert _states(_run(jobs, executor)) == ["done"] * 4
    lines = _lines(jobs)
    assert [line["job"] for line in lines] == [1, 2, 3, 4]
    assert lines[0]["output"] == str(jobs[0].job.output) and lines[0]["frames"] == 3
    assert lines[0]["where"] == f"{jobs[0].job.output.parent}/jobs.jsonl, line 1"
    assert executor.closed


def test_lines_are_there_before_the_next_job_is_begun(jobs: list[PlannedJob]) -> None:
    seen = []

    def end(order: Order) -> Attempt:
        seen.append(len(_lines(jobs)))
        return DONE

    _run(jobs, Pretended(end))
    assert seen == [0, 1, 2, 3]


def test_a_batch_stops_at_the_first_failure_and_tells_what_was_not_begun(jobs: list[PlannedJob]) -> None:
    executor = Pretended(lambda order: NO_FACE if order.number == 2 else DONE, slots=2)
    assert _states(_run(jobs, executor)) == ["done", "failed", "done", "not started"]
    assert {line["job"]: line["state"] for line in _lines(jobs)}[4] == "not started"


def test_keep_going_does_all_others(jobs: list[PlannedJob]) -> None:
    executor = Pretended(lambda order: NO_FACE if order.number == 2 else DONE)
    assert _states(_run(jobs, executor, BatchOptions(keep_going=True))) == ["done", "failed", "done", "done"]
    failed = _lines(jobs)[1]
    assert (failed["exit_code"], failed["message"]) == (4, "no face found")


@pytest.mark.parametrize(("end", "times"), [(CRASHED, 3), (NO_MEMORY, 3), (NO_FACE, 1), (Attempt(3, "damaged"), 1)])
def test_only_what_may_pass_is_tried_again(jobs: list[PlannedJob], end: Attempt, times: int) -> None:
    executor = Pretended(lambda order: end if order.number == 1 else DONE)
    outcomes = _run(jobs, executor, BatchOptions(keep_going=True, retries=2))
    assert [order.number for order in executor.begun] == [1] * times + [2, 3, 4]
    assert outcomes[0].attempts == times and outcomes[0].state == "failed"


def test_a_job_that_passes_the_second_time_is_done(jobs: list[PlannedJob]) -> None:
    told: list[str] = []
    executor = Pretended(lambda order: CRASHED if len(executor.begun) == 1 else DONE)
    assert _states(_run(jobs, executor, BatchOptions(retries=1), told)) == ["done"] * 4
    assert _lines(jobs)[0]["attempts"] == 2
    assert told == ["job 1: the decoder crashed; it is tried again (1 of 1)"]


def test_an_interrupt_ends_all_and_writes_what_became_of_each(jobs: list[PlannedJob]) -> None:
    executor = Pretended(lambda order: KeyboardInterrupt() if order.number == 2 else DONE, slots=2)
    with pytest.raises(KeyboardInterrupt):
        _run(jobs, executor)
    states = {line["job"]: line["state"] for line in _lines(jobs)}
    assert states == {1: "done", 2: "interrupted", 3: "interrupted", 4: "not started"}
    assert executor.closed


def test_the_next_batch_does_the_rest(jobs: list[PlannedJob]) -> None:
    _run(jobs, Pretended(lambda order: NO_FACE if order.number == 3 else DONE), BatchOptions(keep_going=True))
    again = Pretended()
    assert _states(_run(jobs, again)) == ["skipped", "skipped", "done", "skipped"]
    assert [order.number for order in again.begun] == [3]
    known = {line["job"]: line for line in _lines(jobs)}
    assert known[1]["state"] == "skipped" and known[1]["stages"] == {"render": [3, 0.1]}, "rates of old jobs are kept"
    assert _states(_run(jobs, Pretended())) == ["skipped"] * 4, "a skipped line says as much as the first"


def test_a_file_that_is_merely_there_is_not_complete(jobs: list[PlannedJob]) -> None:
    jobs[1].job.output.write_bytes(b"somebody else's")
    executor = Pretended()
    with pytest.raises(JobsError) as raised:
        _run(jobs, executor)
    (problem,) = raised.value.problems
    assert "2.mp4 exists, and is not what this job gives" in problem.message and "--overwrite" in problem.hint
    assert not executor.begun and jobs[1].job.output.read_bytes() == b"somebody else's"
    outcomes = _run(jobs, executor, BatchOptions(overwrite=True))
    assert _states(outcomes) == ["done"] * 4
    assert jobs[1].job.output.read_bytes() == b"result 2"


def test_what_was_changed_after_it_was_done_is_not_complete(jobs: list[PlannedJob]) -> None:
    _run(jobs, Pretended())
    jobs[0].job.output.write_bytes(b"cut in half")
    with pytest.raises(JobsError):
        _run(jobs, Pretended())
    assert _states(_run(jobs, Pretended(), BatchOptions(overwrite=True))) == ["done", "skipped", "skipped", "skipped"]


def test_another_setting_is_another_plan(eval_data: Path, tmp_path: Path, jobs: list[PlannedJob]) -> None:
    _run(jobs, Pretended())
    with planned(_file(eval_data, tmp_path, 4, feather=0.9)) as changed, pytest.raises(JobsError):
        _run(changed, Pretended())
    with planned(_file(eval_data, tmp_path, 4, progress=None)) as same:
        assert _states(_run(same, Pretended())) == ["skipped"] * 4


def test_fresh_does_again_what_is_complete_but_replaces_nothing_else(jobs: list[PlannedJob]) -> None:
    _run(jobs, Pretended())
    again = Pretended()
    assert _states(_run(jobs, again, BatchOptions(fresh=True))) == ["done"] * 4
    assert all(order.fresh and order.overwrite for order in again.begun)
    jobs[0].job.output.write_bytes(b"changed")
    with pytest.raises(JobsError):
        _run(jobs, Pretended(), BatchOptions(fresh=True))


def test_the_manifest_says_what_is_complete(jobs: list[PlannedJob]) -> None:
    plan = jobs[0].plan
    run(plan)
    assert is_complete(plan, job_fingerprint(plan), {})
    other = plan.model_copy(update={"output": jobs[1].plan.output})
    os.link(plan.output, other.output)
    changed = other.settings.model_copy(update={"look": other.settings.look.model_copy(update={"feather": 0.9})})
    assert not is_complete(other.model_copy(update={"settings": changed}), job_fingerprint(other), {})
    content = bytearray(plan.output.read_bytes())
    content[len(content) // 2] ^= 1
    plan.output.unlink()
    plan.output.write_bytes(content)
    assert not is_complete(plan, job_fingerprint(plan), {}), "a byte was changed"


def test_two_batches_do_not_share_a_results_file(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with ResultsFile(path), pytest.raises(OutputError, match="in use by another batch"):
        ResultsFile(path)
    with ResultsFile(path) as free:
        free.begin([{"output": "a"}])
        free.append({"output": "b"})
    with path.open("a") as file:
        file.write('{"format": 1, "output": "torn')
    assert [line["output"] for line in read_results(path)] == ["a", "b"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["r.jsonl"]


def test_results_that_cannot_be_written_are_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no folder"):
        ResultsFile(tmp_path / "none" / "r.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(OutputError, match="cannot be read"):
        ResultsFile(tmp_path / "folder.jsonl")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.jsonl"]


def test_one_process_runs_jobs_one_after_the_other_and_outlives_their_failures(
    jobs: list[PlannedJob], eval_data: Path, tmp_path: Path
) -> None:
    runner = JobRunner()
    first = runner.run(Order(1, jobs[0].plan), SilentReporter())
    there = runner.run(Order(1, jobs[0].plan), SilentReporter())
    gone = jobs[1].plan.model_copy(update={"output": tmp_path / "none" / "x.mp4"})
    failed = runner.run(Order(2, gone), SilentReporter())
    second = runner.run(Order(2, jobs[1].plan), SilentReporter())
    runner.close()
    assert (first.exit_code, there.exit_code, failed.exit_code, second.exit_code) == (0, 7, 7, 0)
    assert first.frames == second.frames == 3
    assert first.content == content_of(jobs[0].plan.output)
    assert first.stages["render"][0] == 3
    alone = jobs[2].plan
    run(alone)
    assert _pictures(alone.output) == _pictures(jobs[1].plan.output), "shared models give the frames of a run alone"


def _pictures(path: Path) -> list[bytes]:
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]

"""Worker processes: jobs are isolated from each other, and nothing is left behind."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from facexcli.batch.jobs import planned
from facexcli.batch.pool import LocalPool
from facexcli.batch.results import ResultsFile, default_results, read_results
from facexcli.batch.runner import BatchOptions, BatchReporter, run_batch
from facexcli.cli.app import main
from facexcli.events import Event, Informed, SilentReporter

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def _file(eval_data: Path, folder: Path, count: int, **values: object) -> Path:
    still, clip = eval_data / "london" / "087_neutral.jpg", eval_data / "talking" / "grid_brbk7n.mpg"
    row = {"source": str(still), "target": str(clip), "output": "{index}.mp4", "trim": "#0..#4", **values}
    path = folder / "jobs.jsonl"
    path.write_text("\n".join([json.dumps(row)] * count), "utf-8")
    return path


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_worker_that_dies_takes_its_own_job_only(eval_data: Path, tmp_path: Path) -> None:
    path = _file(eval_data, tmp_path, 3)
    deaths: list[int] = []

    def tell(job: int, event: Event) -> None:
        """The worker of job 2 crashes in the middle."""
        if job == 2 and isinstance(event, Informed) and event.message.startswith("encoder"):
            deaths.extend(process for process, order in pool.at_work if order == 2)
            os.kill(deaths[0], signal.SIGSEGV)
        reporter.tell(job, event)

    reporter = BatchReporter(SilentReporter())
    pool = LocalPool(("auto", "auto"), tell)
    with planned(path) as found, ResultsFile(default_results(path)) as results:
        outcomes = run_batch(path, found, pool, results, BatchOptions(keep_going=True), reporter)
    assert len(deaths) == 1
    assert [outcome.state for outcome in outcomes] == ["done", "failed", "done"]
    crash = outcomes[1].attempt
    assert crash.exit_code == 3 and "SIGSEGV" in crash.message and "grid_brbk7n.mpg" in crash.message
    assert "jobs.jsonl" in (names := _names(tmp_path)) and not [name for name in names if ".part" in name]
    assert "2.mp4" not in names, "nothing half-written stays"
    assert sorted(line["job"] for line in read_results(default_results(path))) == [1, 2, 3]
    assert not multiprocessing.active_children()


def test_the_command_does_the_jobs_then_skips_them(
    eval_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _file(eval_data, tmp_path, 2, output="out/{source}-{index:02d}.mp4")
    assert main(["batch", str(path)]) == 0
    first = capsys.readouterr()
    outputs = [str(tmp_path / "out" / f"087_neutral-0{n}.mp4") for n in (1, 2)]
    assert first.out.split() == outputs
    table = first.err[first.err.index("job  output") :].splitlines()
    assert max(len(line.rstrip()) for line in table) <= 80
    assert [line.split()[0] for line in table if line.strip()[:1] in "12"][:2] == ["1", "2"]
    assert main(["batch", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["jobs"], told["skipped"], told["done"]) == (2, 2, 0)
    assert main(["batch", str(path), "--dry-run"]) == 0
    plans = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [plan["output"] for plan in plans] == outputs


def test_the_exit_code_tells_of_failures(eval_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _file(eval_data, tmp_path, 1)
    nobody = json.loads(path.read_text("utf-8")) | {"min-face": 4000, "output": "nobody.mp4"}
    path.write_text(f"{json.dumps(nobody)}\n{path.read_text('utf-8')}", "utf-8")
    assert main(["batch", str(path), "--retry", "3", "--results", str(tmp_path / "r.jsonl")]) == 8
    assert "1 of 2 jobs failed, 1 not started" in capsys.readouterr().err
    assert [line["state"] for line in read_results(tmp_path / "r.jsonl")] == ["failed", "not started"]
    assert main(["batch", str(path), "--keep-going"]) == 8
    ends = [(line["state"], line["exit_code"], line["attempts"]) for line in read_results(default_results(path))]
    assert ends == [("failed", 4, 1), ("done", 0, 1)]
    assert _names(tmp_path) == ["2.mp4", "jobs.jsonl", "jobs.results.jsonl", "r.jsonl"]


def test_mistakes_are_told_together_and_end_with_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text("source,target,output,blend\na.jpg,b.mp4,c.mp4,poison\na.jpg,b.mp4,c.mp4,\n", "utf-8")
    assert main(["batch", str(path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"facex: {path}, line 2: --blend = 'poison'") and "poisson" in lines[1]
    assert lines[-2] == f"facex: error: {path}: 1 problem; nothing was started"
    assert main(["batch", str(path), "--progress", "jsonl"]) == 2
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [item["event"] for item in told] == ["problem", "error"]


def test_devices_are_checked(eval_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _file(eval_data, tmp_path, 1)
    assert main(["batch", str(path), "--devices", "gpu0"]) == 2
    assert "--device = 'gpu0'" in capsys.readouterr().err
    assert main(["batch", str(path), "--devices", "cpu,cpu", "--workers", "3"]) == 2
    assert "leave out --workers" in capsys.readouterr().err


def test_an_interrupted_batch_ends_with_130_and_its_results(eval_data: Path, tmp_path: Path) -> None:
    path = _file(eval_data, tmp_path, 3, trim="")
    command = [sys.executable, "-m", "facexcli", "batch", str(path), "--progress", "jsonl"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    results = default_results(path)
    try:
        while not (results.exists() and read_results(results)):
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    states = [line["state"] for line in read_results(results)]
    assert states[0] == "done" and states[-1] == "not started" and len(states) == 3
    assert out.split() == [str(tmp_path / f"{n}.mp4") for n, state in enumerate(states, start=1) if state == "done"]
    assert json.loads(err.splitlines()[-1])["exit_code"] == 130
    # Parts of job 2 may be kept, for the batch that goes on.
    assert set(_names(tmp_path)) <= {"1.mp4", "2.mp4", "2.mp4.facex", "jobs.jsonl", "jobs.results.jsonl"}

"""The bench of batches, on a few jobs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from facexcli.evaluate import batch
from facexcli.evaluate.batch import SharingRow, Spent, bench_killed, bench_sharing


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.slow
def test_a_killed_worker_costs_one_attempt(eval_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_FRAMES", 3)
    row = bench_killed(eval_data, 4)
    assert (row.jobs, row.finished, row.once, row.begun) == (4, 4, 4, 5)


def test_sharing_is_measured_over_all_jobs(eval_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    def spent(cache: Path, all_commands: list[list[str]]) -> Spent:
        commands.append((cache.name, [command[0] for command in all_commands]))
        return Spent(10.0 * len(all_commands), 1.0)

    monkeypatch.setattr(batch, "_spent", spent)
    row = bench_sharing(eval_data, 3)
    assert commands == [("batch", ["batch"]), ("single", ["swap"] * 3)]
    assert row == SharingRow(3, batch._FRAMES, Spent(10.0, 1.0), Spent(30.0, 1.0))
    assert row.saved_s == pytest.approx(20 / 3)

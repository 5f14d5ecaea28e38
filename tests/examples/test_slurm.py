"""The script for Slurm, with programs in the place of Slurm's and Ray's that say how they were called."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm.sh"

pytestmark = pytest.mark.skipif(shutil.which("sh") is None, reason="a shell script")

_PROGRAMS = {
    "scontrol": 'echo "$@" >&2; printf "n1\\nn2\\n"',
    "srun": 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"',
    "ray": 'echo "ray $*"; test "$RAY_AUTH_MODE" = token && echo "token of ${#RAY_AUTH_TOKEN}"\n'
    'while [ "$1" != "--" ]; do shift; done; shift; exec "$@"',
    "facex": 'echo "facex $*"; exit 8',
}


def test_one_task_a_node_starts_ray_and_the_head_runs_the_batch(tmp_path: Path) -> None:
    for name, text in _PROGRAMS.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
        program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "SLURM_JOB_NODELIST": "n[1-2]",
                   "SLURM_JOB_NUM_NODES": "2"}  # fmt: skip
    done = subprocess.run(["sh", str(SCRIPT), "/p/jobs.toml"], capture_output=True, text=True, env=environment)
    lines = done.stdout.splitlines()
    assert done.stderr == "show hostnames n[1-2]\n"
    assert lines[0].startswith("ray symmetric-run --address n1:6379 --min-nodes 2 --include-dashboard false -- ")
    assert lines[1:] == ["token of 64", "facex batch /p/jobs.toml --cluster auto --keep-going --progress plain"]
    assert done.returncode == 8, "Slurm is told how the batch ended"
    assert os.access(SCRIPT, os.X_OK)

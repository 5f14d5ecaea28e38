"""How runs are killed and judged: with a stand-in for facex that keeps parts, but renders nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facexcli import __version__
from facexcli.errors import DeviceError
from facexcli.evaluate.pinned import PinnedCode
from facexcli.evaluate.resume import bench_kills
from tests.evaluate.conftest import WriteClip

PARTS, PART_FRAMES = 4, 10
# Takes CPU time for each part, keeps it like a run, and gives the clip as its result: or another, as `spoil` says.
_STAND_IN = """
import json, shutil, sys, time
from pathlib import Path

def tell(**event):
    print(json.dumps(event), file=sys.stderr, flush=True)

def take(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass

clip, output = Path(sys.argv[3]), Path(sys.argv[5])
work = output.with_name(output.name + ".facex")
work.mkdir(exist_ok=True)
ledger = work / "ledger.jsonl"
if not ledger.exists():
    ledger.write_text('{"format": 0}\\n')
done = len(ledger.read_text().splitlines()) - 1
tell(event="stage_started", stage="analyse")
take(0.05)
tell(event="stage_finished", stage="analyse", done=40)
tell(event="stage_started", stage="render", done=0)
if done:
    tell(event="progress", stage="render", done=done * FRAMES)
for part in range(done, PARTS):
    unfinished = work / f".{part}.part.packets"
    unfinished.touch()
    take(0.06)
    tell(event="progress", stage="render", done=part * FRAMES + 5)
    unfinished.replace(work / f"{part:06d}.packets")
    with ledger.open("a") as file:
        file.write(json.dumps({"file": f"{part:06d}.packets"}) + "\\n")
SPOIL
shutil.copyfile(clip, output)
shutil.rmtree(work)
"""


@pytest.fixture
def clip(write_clip: WriteClip) -> Path:
    return write_clip("grey", [np.full((32, 32, 3), 90 + index, np.uint8) for index in range(3)])


@pytest.fixture
def other_clip(write_clip: WriteClip) -> Path:
    return write_clip("darker", [np.full((32, 32, 3), 80 + index, np.uint8) for index in range(3)])


class _StandIn(PinnedCode):
    def __init__(self, folder: Path, spoil: str = "") -> None:
        self._script = folder / "stand_in.py"
        text = _STAND_IN.replace("PARTS", str(PARTS)).replace("FRAMES", str(PART_FRAMES)).replace("SPOIL", spoil)
        self._script.write_text(text, "utf-8")

    def command(self, *arguments: str | Path, cores: frozenset[int] = frozenset()) -> list[str]:
        return [sys.executable, str(self._script), *map(str, arguments)]


@pytest.mark.skipif(sys.platform != "linux", reason="CPU times of other processes come from /proc")
def test_kills_fall_into_all_of_a_run_and_tell_what_was_kept(clip: Path, tmp_path: Path) -> None:
    runs = list(bench_kills(_StandIn(tmp_path), Path("source"), clip, tmp_path, 8, seed=1))
    assert len(runs) == 8
    assert all(run.same for run in runs)
    assert {run.kept > 0 for run in runs} == {False, True}
    assert all(run.lost <= 1 for run in runs)
    assert max(run.lost for run in runs) == 1
    assert {run.lost_frames for run in runs} <= {0, 5, PART_FRAMES}
    assert "render" in {run.stage for run in runs}
    assert all(run.stage == "render" for run in runs if run.kept)


@pytest.mark.skipif(sys.platform != "linux", reason="CPU times of other processes come from /proc")
def test_other_frames_are_noticed(clip: Path, other_clip: Path, tmp_path: Path) -> None:
    spoil = f"clip = Path({str(other_clip)!r}) if done else clip"
    runs = list(bench_kills(_StandIn(tmp_path, spoil), Path("source"), clip, tmp_path, 4, seed=1))
    assert {run.same for run in runs if run.kept} == {False}
    assert all(run.same for run in runs if not run.kept)


@pytest.mark.skipif(sys.platform != "linux", reason="CPU times of other processes come from /proc")
def test_a_run_that_fails_of_itself_is_told(clip: Path, tmp_path: Path) -> None:
    fail = 'tell(event="error", message="no space left"); sys.exit(7)'
    with pytest.raises(DeviceError, match="no space left"):
        next(bench_kills(_StandIn(tmp_path, fail), Path("source"), clip, tmp_path, 1))


def test_pinned_code_is_what_runs_wherever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "facexcli").mkdir()
    (tmp_path / "facexcli" / "__init__.py").write_text("raise SystemExit('edited')")
    code = PinnedCode(tmp_path / "code")
    digest = code.digest
    done = subprocess.run(code.command("--version"), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert __version__ in done.stdout, done.stderr
    assert code.digest == digest
    package = tmp_path / "code" / "facexcli"
    (package / "types.py").write_text("")
    assert code.digest != digest

"""Runs that are killed at random times and go on: do they give the frames of one that nobody disturbed?"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facexcli.batch.ledger import work_folder
from facexcli.errors import DeviceError
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facexcli.evaluate.pinned import PinnedCode

SEGMENT_S = 1.0
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Killed:
    """One run that was killed, and gone on with.

    after_s: the CPU time that it had taken by then. stage: what it was doing, "start" before the first stage and "end"
    when the result was there. kept: segments that it had finished. lost: others that it had begun. lost_frames: those
    that it had told of and that were rendered again. same: whether the result has the frames of an undisturbed run.
    """

    after_s: float
    stage: str
    kept: int
    lost: int
    lost_frames: int
    same: bool


def bench_kills(
    code: PinnedCode, source: Path, clip: Path, folder: Path, kills: int, seed: int = 0
) -> Iterator[Killed]:
    """Kill `kills` runs, with all their processes, at random times with SIGKILL, and go on with each.

    Times are CPU times, spread evenly over what a run takes, so that it does not matter what else the machine does. A
    run that ends before its time was not killed: another takes its place. Raises DeviceError when a run fails of
    itself, and where the system does not tell of CPU times.
    """
    whole, log = folder / "whole.mp4", folder / "events.jsonl"
    if not spent_s(os.getpid()):
        raise DeviceError("this system does not tell the CPU time of processes in /proc", "kill runs on Linux")
    run_s = _run(_swap(code, source, clip, whole), log)
    wanted = frame_hashes(whole)
    chance = random.Random(seed)
    for number in range(kills):
        output = folder / f"killed-{number}.mp4"
        command = _swap(code, source, clip, output)
        after_s = chance.uniform(0, run_s)
        while not _killed(command, after_s, log):
            output.unlink()
            after_s = chance.uniform(0, after_s)
        before = _events(log)
        kept, lost = _segments(work_folder(output))
        stage, done = _stage(before), _rendered(before)[-1]
        if output.exists():
            stage, kept_frames = "end", done  # the result was in its place
        else:
            _run(command, log)
            kept_frames = _rendered(_events(log))[0] if kept else 0
        yield Killed(after_s, stage, kept, lost, max(0, done - kept_frames), frame_hashes(output) == wanted)
        output.unlink()


def _swap(code: PinnedCode, source: Path, clip: Path, output: Path) -> list[str]:
    options = ("--segment", f"{SEGMENT_S:g}", "--cache", "0", "--progress", "jsonl")
    return code.command("swap", source, clip, "-o", output, *options)


def _run(command: Sequence[str], log: Path) -> float:
    """To its end; the CPU seconds that it took. Raises DeviceError."""
    process = _start(command, log)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        said = [event["message"] for event in _events(log) if event["event"] == "error"]
        raise DeviceError(f"a run failed: {' '.join(said) or f'exit code {process.returncode}'}", "run it by hand")
    return usage.ru_utime + usage.ru_stime


def _killed(command: Sequence[str], after_s: float, log: Path) -> bool:
    """All processes of the run at once, as when the power fails. False where it had ended by then."""
    process = _start(command, log)
    while spent_s(process.pid) < after_s:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_S)
            return False
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


def _start(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """In a group of processes of its own; what it tells goes into `log`."""
    with log.open("wb") as stream:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stream, start_new_session=True
        )


def spent_s(pid: int) -> float:
    """CPU time so far of a process and those that it started, in seconds; 0 where /proc does not tell."""
    try:
        # After the name, which may hold anything: state, and from there on fields 14 to 17 of proc_pid_stat(5).
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    own = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    return own + sum(spent_s(int(child)) for child in children)


def _events(log: Path) -> list[dict[str, Any]]:
    """What a run has told; its last line may be torn."""
    events = []
    for line in log.read_bytes().splitlines():
        with suppress(ValueError):
            events.append(json.loads(line))
    return events


def _stage(events: Sequence[dict[str, Any]]) -> str:
    """The last stage that had begun. Joining has no event of its own: it follows the end of rendering."""
    last = next((event for event in reversed(events) if "stage" in event), {"event": "", "stage": "start"})
    return "join" if (last["event"], last["stage"]) == ("stage_finished", "render") else str(last["stage"])


def _rendered(events: Sequence[dict[str, Any]]) -> list[int]:
    """Frames rendered, each time that the run told of them; a run in which parts were kept tells of those first."""
    told = [event["done"] for event in events if event["event"] == "progress" and event["stage"] == "render"]
    return told or [event["done"] for event in events if event.get("stage") == "render"] or [0]


def _segments(work: Path) -> tuple[int, int]:
    """How many segments a ledger has, and how many others were begun."""
    if not work.is_dir():
        return 0, 0
    files = set()
    with suppress(OSError, ValueError):
        for line in (work / "ledger.jsonl").read_text("utf-8").splitlines()[1:]:
            files.add(json.loads(line)["file"])
    begun = [path for path in work.iterdir() if path.name.endswith(".packets") and path.name not in files]
    return len(files), len(begun)


def frame_hashes(path: Path) -> list[str]:
    """SHA-256 of the time and the planes of each frame as it is decoded."""
    hashes = []
    with FrameReader(path, probe(path)) as reader:
        for frame in reader:
            digest = hashlib.sha256(str(frame.pts).encode())
            for plane in frame.planes:
                digest.update(plane.tobytes())
            hashes.append(digest.hexdigest())
    return hashes


__all__ = ["Killed", "bench_kills", "frame_hashes"]

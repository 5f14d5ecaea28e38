"""What rendering in parts costs and gives: runs that are killed and go on, overhead, workers, memory over length."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facexcli.errors import DeviceError
from facexcli.evaluate.speed import ProcessCost, make_clip, median_cost, process_cost
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SEGMENT_S = 1.0
"""Of the runs that are killed."""
LONGER_SEGMENT_S = 2.0
"""Of those whose cost is measured."""
_ON_CORES = (
    "import os, runpy, sys; os.sched_setaffinity(0, {cores}); sys.argv[0] = 'facex'; "
    "runpy.run_module('facexcli', run_name='__main__', alter_sys=True)"
)


@dataclass(frozen=True, slots=True)
class Killed:
    """One run. after_s: when it was killed. kept, lost: segments that were complete, and that were in work.

    same: whether the run that went on gives the frames of one that nobody disturbed.
    """

    after_s: float
    kept: int
    lost: int
    same: bool


@dataclass(frozen=True, slots=True)
class Compared:
    """Medians of two ways to render the same clip, run in turn."""

    base: ProcessCost
    other: ProcessCost

    @property
    def wall_ratio(self) -> float:
        return self.other.wall_s / self.base.wall_s

    @property
    def cpu_ratio(self) -> float:
        return self.other.cpu_s / self.base.cpu_s


def bench_kills(source: Path, clip: Path, folder: Path, kills: int, seed: int = 0) -> Iterator[Killed]:
    """Kill `kills` runs, with all their processes, at random times with SIGKILL, and go on with each.

    Raises DeviceError when a run fails of itself.
    """
    whole = folder / "whole.mp4"
    options = ("--segment", f"{SEGMENT_S:g}", "--cache", "0")
    cost = process_cost(_swap(source, clip, whole, options))
    wanted = _frame_hashes(whole)
    chance = random.Random(seed)
    for number in range(kills):
        output = folder / f"killed-{number}.mp4"
        command = _swap(source, clip, output, options)
        after_s = chance.uniform(0.1, 1.0) * cost.wall_s
        _run_and_kill(command, after_s)
        kept, lost = _segments(output.with_name(f"{output.name}.facex"))
        if not output.exists():
            process_cost(command)
        yield Killed(after_s, kept, lost, _frame_hashes(output) == wanted)
        output.unlink()


def bench_overhead(source: Path, clip: Path, folder: Path, repeats: int) -> Compared:
    """Rendering in one, and in segments of two seconds, with faces that are known."""
    faces = _saved_faces(clip, folder)
    costs: tuple[list[ProcessCost], list[ProcessCost]] = ([], [])
    for _ in range(repeats):
        for segment_s, found in zip((0.0, LONGER_SEGMENT_S), costs, strict=True):
            options = ("--segment", f"{segment_s:g}", "--analysis", str(faces), "--overwrite")
            found.append(process_cost(_swap(source, clip, folder / "overhead.mp4", options)))
    return Compared(*map(median_cost, costs))


def bench_workers(source: Path, clip: Path, folder: Path, repeats: int) -> Compared:
    """One worker that is bound to one core, and two workers on two cores; the mesh engine, faces that are known.

    Raises DeviceError where cores cannot be chosen, or there is only one.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        raise DeviceError("the gain of two workers needs two cores, and a system that lets one choose them")
    faces = _saved_faces(clip, folder)
    costs: tuple[list[ProcessCost], list[ProcessCost]] = ([], [])
    for _ in range(repeats):
        for workers, found in zip((1, 2), costs, strict=True):
            options = ("--segment", f"{LONGER_SEGMENT_S:g}", "--analysis", str(faces), "--overwrite", "--engine",
                       "mesh", "--workers", str(workers))  # fmt: skip
            swap = _swap(source, clip, folder / "workers.mp4", options)
            pinned = _ON_CORES.format(cores=set(cores[:workers]))
            found.append(process_cost([sys.executable, "-c", pinned, *swap[3:]]))
    return Compared(*map(median_cost, costs))


def bench_memory(source: Path, origin: Path, folder: Path, height_px: int, minutes: Sequence[float]) -> list[float]:
    """Largest resident set, MiB, of a swap of a clip of each length."""
    peaks = []
    for length in minutes:
        clip = folder / "long.mp4"
        make_clip(origin, clip, height_px, length * 60)
        options = ("--cache", "0", "--overwrite")
        peaks.append(process_cost(_swap(source, clip, folder / "long-out.mp4", options)).peak_rss_mib)
    return peaks


def _swap(source: Path, clip: Path, output: Path, options: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "facexcli", "swap", str(source), str(clip), "-o", str(output), *options]


def _saved_faces(clip: Path, folder: Path) -> Path:
    path = folder / "faces.json"
    if not path.exists():
        process_cost([sys.executable, "-m", "facexcli", "faces", str(clip), "--save", str(path)])
    return path


def _run_and_kill(command: Sequence[str], after_s: float) -> None:
    """All processes of the run at once, as when the power fails; nothing where it has ended by then."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    with suppress(subprocess.TimeoutExpired):
        process.wait(after_s)
        return
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


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


def _frame_hashes(path: Path) -> list[str]:
    """SHA-256 of the planes of each frame as it is decoded."""
    hashes = []
    with FrameReader(path, probe(path)) as reader:
        for frame in reader:
            digest = hashlib.sha256(str(frame.pts).encode())
            for plane in frame.planes:
                digest.update(plane.tobytes())
            hashes.append(digest.hexdigest())
    return hashes


__all__ = ["Compared", "Killed", "bench_kills", "bench_memory", "bench_overhead", "bench_workers"]

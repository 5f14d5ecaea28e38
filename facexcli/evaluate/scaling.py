"""What rendering in parts costs, what a second worker gains, and how memory goes with length."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facexcli.errors import DeviceError
from facexcli.evaluate.speed import ProcessCost, loop_clip, median_cost, process_cost

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from facexcli.evaluate.pinned import PinnedCode

SEGMENT_S = 2.0


@dataclass(frozen=True, slots=True)
class Compared:
    """Medians of two ways to render the same clip, run in turn."""

    base: ProcessCost
    other: ProcessCost

    @property
    def wall_ratio(self) -> float:
        """Of the other to the base."""
        return self.other.wall_s / self.base.wall_s

    @property
    def cpu_ratio(self) -> float:
        """Of the other to the base."""
        return self.other.cpu_s / self.base.cpu_s


def bench_overhead(code: PinnedCode, source: Path, clip: Path, folder: Path, repeats: int) -> Compared:
    """Rendering in one, and in segments of two seconds, with faces that are known."""
    faces = _saved_faces(code, clip, folder)
    output = folder / "overhead.mp4"
    ways = [
        code.command("swap", source, clip, "-o", output, "--segment", f"{length:g}", *faces)
        for length in (0.0, SEGMENT_S)
    ]
    return _compared(ways, repeats)


def bench_workers(code: PinnedCode, source: Path, clip: Path, folder: Path, repeats: int) -> Compared:
    """One worker that is bound to one core, and two workers on two cores; the mesh engine, faces that are known.

    Raises DeviceError where cores cannot be chosen, or there is only one.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        raise DeviceError("the gain of two workers needs two cores, and a system that lets one choose them")
    faces = _saved_faces(code, clip, folder)
    options = ("--engine", "mesh", "--segment", f"{SEGMENT_S:g}", *faces)
    output = folder / "workers.mp4"
    ways = [
        code.command("swap", source, clip, "-o", output, "--workers", str(workers), *options,
                     cores=frozenset(cores[:workers]))
        for workers in (1, 2)
    ]  # fmt: skip
    return _compared(ways, repeats)


def bench_memory(code: PinnedCode, source: Path, clip: Path, folder: Path, minutes: Sequence[float]) -> Iterator[float]:
    """Largest resident set, MiB, of a swap of each length: `clip`, over and over."""
    for length in minutes:
        long = folder / "long.mp4"
        loop_clip(clip, long, length * 60)
        options = ("--cache", "0", "--overwrite")
        yield process_cost(code.command("swap", source, long, "-o", folder / "long-out.mp4", *options)).peak_rss_mib


def _compared(ways: Sequence[Sequence[str]], repeats: int) -> Compared:
    """The two commands in turn, so that what else the machine does hits both."""
    costs: list[list[ProcessCost]] = [[] for _ in ways]
    for _ in range(repeats):
        for command, found in zip(ways, costs, strict=True):
            found.append(process_cost(command))
    return Compared(*map(median_cost, costs))


def _saved_faces(code: PinnedCode, clip: Path, folder: Path) -> tuple[str, ...]:
    """Options for a swap that knows the faces."""
    path = folder / "faces.json"
    if not path.exists():
        process_cost(code.command("faces", clip, "--save", path))
    return ("--analysis", str(path), "--overwrite")


__all__ = ["Compared", "bench_memory", "bench_overhead", "bench_workers"]

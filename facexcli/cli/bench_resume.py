"""`facex bench resume`: what becomes of runs that are killed, and what parts and workers cost and gain."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facexcli.cli.bench_options import DATA, DataOption
from facexcli.cli.console import print_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.evaluate.pinned import PinnedCode
    from facexcli.evaluate.resume import Killed

_KILLED_LINES, _KILLED_S = 180, 5.0
_LONG_LINES, _LONG_S = 128, 10.0


def bench_resume(
    data: DataOption = DATA,
    kills: Annotated[int, typer.Option("--kills", metavar="N", min=0, help="runs that are killed")] = 50,
    repeats: Annotated[int, typer.Option("--repeats", metavar="N", min=0, help="runs of which the median is told")] = 3,
    height: Annotated[
        int, typer.Option("--height", metavar="PX", min=128, help="lines of the clip for cost and gain")
    ] = 360,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", min=4, help="length of that clip")] = 40.0,
    minutes: Annotated[
        list[float] | None, typer.Option("--minutes", metavar="M", help="lengths whose memory is told; repeatable")
    ] = None,
) -> None:
    """Kill runs at random times and go on with them; what parts cost, and what two workers gain.

    It runs a copy of the installed code, whatever happens to that meanwhile.

    Example:
      facex bench resume --kills 50 --minutes 5 --minutes 30
    """
    from facexcli.evaluate import bench, scaling, speed
    from facexcli.evaluate.pinned import PinnedCode

    origin, source = bench.talking_clips(data)[0].absolute(), (data / "london" / "087_neutral.jpg").absolute()
    with tempfile.TemporaryDirectory(prefix="facex-bench-") as name:
        folder = Path(name)
        code = PinnedCode(folder / "code")
        print_result(f"machine: {os.cpu_count()} cores; a copy of this facex: {code.digest[:12]}")
        if kills:
            speed.make_clip(origin, folder / "killed.mp4", _KILLED_LINES, _KILLED_S)
            _tell_kills(code, source, folder, kills)
        if repeats:
            clip = folder / "clip.mp4"
            speed.make_clip(origin, clip, height, seconds)
            parts = scaling.bench_overhead(code, source, clip, folder, repeats)
            print_result(
                f"segments of {scaling.SEGMENT_S:g} s against one: CPU {parts.cpu_ratio - 1:+.1%}, "
                f"wall {parts.wall_ratio - 1:+.1%}"
            )
            two = scaling.bench_workers(code, source, clip, folder, repeats)
            print_result(f"two workers on two cores against one on one: {1 / two.wall_ratio:.2f} times the throughput")
        if minutes:
            _tell_memory(code, source, origin, folder, minutes)


def _tell_kills(code: PinnedCode, source: Path, folder: Path, kills: int) -> None:
    from facexcli.evaluate import resume

    print_result("killed, CPU s  in stage  kept  lost  frames lost  same frames")
    runs: list[Killed] = []
    for run in resume.bench_kills(code, source, folder / "killed.mp4", folder, kills):
        runs.append(run)
        same = "yes" if run.same else "NO"
        print_result(
            f"{run.after_s:13.2f}  {run.stage:>8}  {run.kept:4}  {run.lost:4}  {run.lost_frames:11}  {same:>11}"
        )
    stages = Counter(run.stage for run in runs)
    print_result(
        f"killed and gone on: {sum(run.same for run in runs)} of {len(runs)} with the frames of an undisturbed run; "
        f"lost: at most {max(run.lost for run in runs)} segment of {resume.SEGMENT_S:g} s "
        f"({max(run.lost_frames for run in runs)} frames); kept: {min(run.kept for run in runs)} to "
        f"{max(run.kept for run in runs)}; killed in {', '.join(f'{stage} {n}' for stage, n in stages.most_common())}"
    )


def _tell_memory(code: PinnedCode, source: Path, origin: Path, folder: Path, minutes: Sequence[float]) -> None:
    from facexcli.evaluate import scaling, speed

    clip = folder / "short.mp4"
    speed.make_clip(origin, clip, _LONG_LINES, _LONG_S)
    for length, peak_mib in zip(minutes, scaling.bench_memory(code, source, clip, folder, minutes), strict=True):
        print_result(f"memory, {length:g} minutes of {_LONG_LINES} lines: {peak_mib:.0f} MiB")

"""`facex bench speed` and `media`: a whole swap and its stages, beside a plain ffmpeg transcode."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facexcli.cli.bench_options import DATA, DataOption, print_row
from facexcli.cli.console import print_result

if TYPE_CHECKING:
    from facexcli.evaluate.speed import ProcessCost


def bench_speed(
    data: DataOption = DATA,
    height: Annotated[int, typer.Option("--height", metavar="PX", min=64, help="lines of the made clip")] = 1080,
    seconds: Annotated[list[float] | None, typer.Option("--seconds", metavar="S", help="length; repeatable")] = None,
    repeats: Annotated[int, typer.Option("--repeats", metavar="N", min=1, help="runs of which the median is told")] = 3,
) -> None:
    """Time a whole swap beside a plain ffmpeg transcode with the same encoder settings.

    Example:
      facex bench speed --seconds 10 --seconds 100
    """
    from facexcli.evaluate import bench, speed

    print_result(f"machine: {os.cpu_count()} cores; facex --help: {speed.help_wall_s(5):.2f} s")
    print_row("height", "frames", "swap s", "fps", "peak MiB", "transcode s", "ratio")
    with tempfile.TemporaryDirectory(prefix="facex-bench-") as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        for length in seconds or [10.0]:
            speed.make_clip(bench.talking_clips(data)[0], clip, height, length)
            row = speed.bench_speed(data / "london" / "087_neutral.jpg", clip, folder, repeats)
            plain = f"{row.transcode.wall_s:.2f}" if row.transcode else "no ffmpeg"
            print_row(row.height_px, row.frames, f"{row.swap.wall_s:.2f}", f"{row.frames / row.swap.wall_s:.1f}",
                  f"{row.swap.peak_rss_mib:.0f}", plain, f"{row.ratio:.2f}" if row.ratio else "")  # fmt: skip


def bench_media(
    data: DataOption = DATA,
    height: Annotated[list[int] | None, typer.Option("--height", metavar="PX", help="lines; repeatable")] = None,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", min=1, help="length of the made clips")] = 20.0,
    repeats: Annotated[int, typer.Option("--repeats", metavar="N", min=1, help="runs of which the median is told")] = 5,
) -> None:
    """Time renders of known faces, stage by stage and beside a plain ffmpeg transcode.

    One face, of a third of the height; engines `unchanged` and `mesh`; H.264, veryfast, crf 18.

    Example:
      facex bench media --height 1080 --height 2160
    """
    from facexcli.evaluate import bench, media, speed

    origin, still = bench.talking_clips(data)[0], data / "london" / "087_neutral.jpg"
    with tempfile.TemporaryDirectory(prefix="facex-bench-") as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        for lines in height or [1080, 2160]:
            speed.make_clip(origin, clip, lines, seconds, (media.face_height_px(origin), lines / 3))
            row = media.bench_media(still, clip, folder, repeats)
            print_result(f"{row.height_px} lines, {row.frames} frames, {os.cpu_count()} cores, median of {repeats}")
            print_row("", "wall s", "CPU s", "peak MiB", "to ffmpeg")
            if row.transcode:
                print_row("ffmpeg", *_cost_cells(row.transcode), "1.00")
            for engine, cost in row.renders.items():
                print_row(engine, *_cost_cells(cost), f"{row.ratios[engine]:.2f}" if row.ratios else "no ffmpeg")
            print_result("CPU milliseconds a frame, each stage by itself")
            for engine, stages in row.stages.items():
                total = sum(stages.values())
                print_row("", *stages, "together")
                print_row(engine, *(f"{value:.1f}" for value in stages.values()), f"{total:.1f}")
                print_row("share", *(f"{value / total:.0%}" for value in stages.values()), "")


def _cost_cells(cost: ProcessCost) -> tuple[str, str, str]:
    return f"{cost.wall_s:.2f}", f"{cost.cpu_s:.2f}", f"{cost.peak_rss_mib:.0f}"

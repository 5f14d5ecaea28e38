"""`facex bench people`: does everybody keep their face?"""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from facexcli.cli.bench_options import DATA, DataOption, KeepOption, made_folder, print_row
from facexcli.cli.console import print_json, print_result


def bench_people(
    data: DataOption = DATA,
    keep: KeepOption = None,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", min=1, help="length of the analysed clip")] = 10.0,
    repeats: Annotated[int, typer.Option("--repeats", metavar="N", min=1, help="analyses to take the median of")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as one JSON object")] = False,
) -> None:
    """Swap two people at once, and one in every clip; does everybody keep their face?

    Example:
      facex bench people --data ../shared/data/eval --keep swaps
      facex bench people --json
    """
    from facexcli.evaluate import people

    tell = _nothing if as_json else print_row
    tell("clip", "person", "source", "frames", "kept")
    couples = []
    for row in people.bench_couples(data, made_folder(keep)):
        couples.append(row)
        tell(row.clip, row.person, row.source, row.frames, f"{row.kept:.1%}")
    tell("clip", "frames", "weaker", "swapped", "flicker", "steadiness", "in full")
    clips = []
    for clip in people.bench_clips(data, made_folder(keep)):
        clips.append(clip)
        tell(clip.clip, clip.frames, clip.weaker, f"{clip.swap_rate:.1%}", clip.flicker_ratio,
             clip.distance_steadiness, clip.full_steadiness)  # fmt: skip
    analysis = people.bench_analysis(data, seconds, repeats)
    figures = people.figures_of(couples, clips, analysis)
    if as_json:
        print_json(people.as_json(couples, clips, analysis, figures))
        return
    print_row("analysis", f"{analysis.frames} frames of {analysis.height_px} lines", f"{os.cpu_count()} cores",
          f"{analysis.cpu_ms_per_frame:.1f} ms CPU a frame")  # fmt: skip
    for figure in figures:
        bound = "at least" if figure.is_least else "at most"
        print_result(f"{figure.name:<28} {figure.value:8.3f}   {bound} {figure.limit:g}"
                     f"   {'met' if figure.met else 'missed'}")  # fmt: skip


def _nothing(*cells: Any) -> None:
    """Where the rows are printed later."""

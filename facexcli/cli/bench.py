"""`facex bench`: the figures of README, measured again."""

from __future__ import annotations

import typer

from facexcli.cli.bench_batch import bench_batch
from facexcli.cli.bench_compare import bench_compare
from facexcli.cli.bench_engine import bench_engine
from facexcli.cli.bench_people import bench_people
from facexcli.cli.bench_provenance import bench_provenance
from facexcli.cli.bench_quality import bench_occlusion, bench_reenact, bench_swap
from facexcli.cli.bench_resume import bench_resume
from facexcli.cli.bench_speed import bench_media, bench_speed
from facexcli.cli.bench_train import bench_train

_HELP = """Measure quality and speed on real clips.

The evaluation data are looked for in FACEX_TEST_DATA, or in --data.

Example:
  facex bench swap --data ../shared/data/eval
  facex bench people
  facex bench speed --seconds 10
  facex bench compare --grid compared.png
"""


def register(app: typer.Typer, panel: str) -> None:
    group = typer.Typer(help=_HELP, rich_markup_mode="rich")
    group.command("swap")(bench_swap)
    group.command("reenact")(bench_reenact)
    group.command("people")(bench_people)
    group.command("speed")(bench_speed)
    group.command("media")(bench_media)
    group.command("resume")(bench_resume)
    group.command("batch")(bench_batch)
    group.command("compare")(bench_compare)
    group.command("engine")(bench_engine)
    group.command("train")(bench_train)
    group.command("provenance")(bench_provenance)
    group.command("occlusion")(bench_occlusion)
    app.add_typer(group, name="bench", rich_help_panel=panel)

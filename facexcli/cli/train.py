"""`facex train`: engines that learn from the user's own stills and clips."""

from __future__ import annotations

import typer

from facexcli.cli.train_difffae import difffae, difffae_rsc
from facexcli.cli.train_facex import train_facex

_HELP = """Teach an engine on stills and clips of your own.

Faces are looked for once; later runs know them. Ctrl-C keeps what is learnt.
--out gets last and best.safetensors, metrics.csv, and grid.png to look at.

Example:
  facex train facex --config tiny --data portraits/ --out net/ --minutes 25
  facex train difffae-rsc --data portraits/ --out rsc/ --minutes 20
  facex train difffae --rsc rsc/best.safetensors --data portraits/ --out net/
"""


def register(app: typer.Typer, panel: str) -> None:
    group = typer.Typer(help=_HELP, rich_markup_mode="rich")
    for name, command in (("facex", train_facex), ("difffae-rsc", difffae_rsc), ("difffae", difffae)):
        group.command(name)(command)
    app.add_typer(group, name="train", rich_help_panel=panel)

"""`facex presets`: the named sets of values."""

from __future__ import annotations

from typing import Annotated

import typer

from facexcli.cli.console import print_json, print_result
from facexcli.config import load_preset, preset_names, training_recipe_names, training_recipe_text


def register(app: typer.Typer, panel: str) -> None:
    group = typer.Typer(help=_HELP, rich_markup_mode="rich")
    group.command("list")(list_presets)
    group.command("show")(show_preset)
    app.add_typer(group, name="presets", rich_help_panel=panel)


_HELP = """List the presets, or show one.

A preset is a TOML file of settings; `facex swap --preset FILE` takes one of your own.

Example:
  facex presets list
  facex presets show quality
"""


def list_presets(as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False) -> None:
    """List the presets that come with facex.

    Example:
      facex presets list
    """
    presets = [load_preset(name) for name in preset_names()]
    if as_json:
        print_json({preset.name: {"summary": preset.summary, "values": preset.values} for preset in presets})
        return
    for preset in presets:
        print_result(f"{preset.name:<10} {preset.summary}")


def show_preset(name: Annotated[str, typer.Argument(metavar="NAME", help="a preset's name, or a TOML file")]) -> None:
    """Show a preset, or a training's recipe, as TOML, ready to be copied and changed.

    Example:
      facex presets show quality > mine.toml
      facex presets show train-compact > recipe.toml
    """
    text = training_recipe_text(name) if name in training_recipe_names() else load_preset(name).text
    print_result(text.rstrip("\n"))

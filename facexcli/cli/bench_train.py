"""`facex bench train`: variants of a training's recipe side by side."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facexcli.cli.console import print_json, print_result, reporting
from facexcli.errors import InputError

if TYPE_CHECKING:
    from facexcli.train.variants import Variant

RecipeOption = Annotated[str, typer.Option("--recipe", metavar="NAME|FILE", help="a recipe with [variants.NAME]")]
OnlyOption = Annotated[list[str] | None, typer.Option("--only", metavar="NAME", help="only this variant; repeatable")]
StepsOption = Annotated[int | None, typer.Option("--steps", min=1, metavar="N", help="of each; as in the recipe")]


def bench_train(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="stills and clips of people")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="a folder for each variant")],
    recipe: RecipeOption = "train-compact-64",
    only: OnlyOption = None,
    steps: StepsOption = None,
    prepared: Annotated[Path | None, typer.Option("--prepared", metavar="DIR", help="analysed faces")] = None,
    device: Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda[:N]", help="where it learns")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="print the result as one JSON object")] = False,
) -> None:
    """Train variants of a recipe for the same number of steps, and judge them on held-out people.

    PSNR where something was made, in dB, at the steps of the sampler that suit a
    variant best; gain: over the reference as it is. What is trained is kept.

    Example:
      facex bench train --data people/ --out variants/ --steps 600
    """
    from facexcli.train.command import Places
    from facexcli.train.recipe import chosen_recipe
    from facexcli.train.variants import compare_variants

    if not data.is_dir():
        raise InputError(f"{data}: no such folder", "name one with videos and stills of people")
    chosen = chosen_recipe(recipe, {} if steps is None else {"steps": steps})
    places = Places(data, out, prepared or out / "prepared")
    with reporting() as reporter:
        rows = list(compare_variants(chosen, only or (), places, reporter, device))
    if as_json:
        print_json({row.name: asdict(row) | {"best_steps": row.best_steps} for row in rows})
        return
    names = list(rows[0].plain)
    _line("variant", "GFLOP", "million", "minutes", "sampled", *names, "gain", "a GFLOP", "  gain in 1, 2, 4 steps")
    for row in rows:
        _line(*_cells(row))
    _line("no network", "", "", "", "", *(f"{value:.2f}" for value in rows[0].plain.values()))


def _cells(row: Variant) -> list[str]:
    best = row.best_steps
    gain = row.gain(best)
    return [
        row.name, f"{row.gflop:.2f}", f"{row.parameters / 1e6:.2f}", f"{row.wall_s / 60:.1f}", str(best),
        *(f"{value:.2f}" for value in row.psnr[best].values()), f"{gain:+.2f}", f"{gain / row.gflop:+.1f}",
        "  " + " ".join(f"{row.gain(steps):+.2f}" for steps in row.psnr),
    ]  # fmt: skip


def _line(first: str, *cells: str) -> None:
    print_result(f"{first:<12}" + "".join(f"{cell:>10}" for cell in cells))

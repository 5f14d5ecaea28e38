"""`facex bench compare`."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facexcli.cli.console import print_json, print_result, reporting
from facexcli.cli.options import Choices, with_settings
from facexcli.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facexcli.evaluate.comparison import SetResult
    from facexcli.evaluate.engine_bench import EngineCost
    from facexcli.evaluate.people import Figure

_TITLES = {
    "face_psnr": "PSNR dB", "face_ssim": "SSIM", "identity_distance": "source", "canvas_distance": "canvas",
    "swap_rate": "swapped", "pose_error": "pose", "opening_error": "opening", "landmark_error": "points",
    "seam": "seam", "expression_error": "express.", "flicker_ratio": "flicker", "distance_steadiness": "steady",
}  # fmt: skip
"""Of the columns; narrower than the names of the metrics."""


@with_settings("sampling", "compute.device", "compute.dtype", "compute.compiled", "compute.batch_size", "talk")
def bench_compare(
    data: Annotated[
        Path,
        typer.Option(
            "--data", metavar="DIR", help="folder with london/, portraits/, talking/", envvar="FACEX_TEST_DATA"
        ),
    ] = Path("../shared/data/eval"),
    engine: Annotated[
        list[str] | None,
        typer.Option("--engine", metavar="NAME", help="who takes part; repeatable (mesh, unchanged, facex)"),
    ] = None,
    weights: Annotated[
        list[Path] | None, typer.Option("--weights", metavar="FILE|NAME", help="of facex; repeatable: all are compared")
    ] = None,
    pairs: Annotated[int, typer.Option("--pairs", metavar="N", min=1, max=12, help="stills a set; of clips half")] = 6,
    grid: Annotated[
        Path | None, typer.Option("--grid", metavar="OUT.png", help="a picture with a row for each pair")
    ] = None,
    keep: Annotated[Path | None, typer.Option("--keep", metavar="DIR", help="keep the results in this folder")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the picture")] = False,
    *,
    choices: Choices,
) -> None:
    """Compare engines over the same pairs: one's own face, other people's, portraits and talking clips.

    A row for each engine and set, with the metrics of `facex eval`; `source` and `canvas` are the distances to the two
    people, `found` is the share of the results that still show a face. `--seed` draws the pairs.

    Example:
      facex bench compare --data ../shared/data/eval
      facex bench compare --weights tiny.safetensors --grid compared.png
      facex bench compare --engine mesh --engine unchanged --pairs 1 --json
    """
    from facexcli.evaluate import comparison
    from facexcli.evaluate.comparison_grid import comparison_grid
    from facexcli.evaluate.comparison_pairs import choose_pairs
    from facexcli.media.image import write_image

    if grid is not None:
        _check_grid(grid, overwrite)
    sides, absent = comparison.contestants(engine or [], weights or [], choices.settings)
    chosen = choose_pairs(data, pairs, choices.settings.sampling.seed)
    if absent and not choices.as_json:
        print_result(absent)
    sets = []
    with tempfile.TemporaryDirectory(prefix="facex-bench-") as name:
        folder = keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        with reporting() as reporter:
            for result in comparison.compare(sides, chosen, folder, reporter):
                sets.append(result)
                if not choices.as_json:
                    _print_set(result, comparison.METRICS[result.name])
        if grid is not None:
            write_image(grid, comparison_grid(sets))
    costs = comparison.engine_costs(sides)
    told = comparison.verdicts(sides, sets)
    if choices.as_json:
        print_json(comparison.as_json(sets, costs, told, absent))
        return
    _print_costs(costs)
    _print_verdicts(told)


def _check_grid(path: Path, overwrite: bool) -> None:
    """Before minutes of work. Raises OutputError where the picture cannot be written."""
    from facexcli.media.image import IMAGE_SUFFIXES

    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise OutputError(f"{path}: the grid is a picture", f"name it {path.with_suffix('.png').name}")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}", "make the folder first")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists", "use --overwrite to replace it")


def _print_set(result: SetResult, metrics: Sequence[str]) -> None:
    count = len(result.results)
    print_result(f"{result.name}, {count} {'pair' if count == 1 else 'pairs'}")
    _line("", "found", *(_TITLES[name] for name in metrics))
    for row in result.rows:
        _line(row.label, f"{row.found:.0%}", *(row.figures[name] for name in metrics))
    for reason in result.left_out:
        print_result(f"  left out: {reason}")


def _print_costs(costs: Mapping[str, EngineCost]) -> None:
    print_result("the engine alone, a face at a time")
    _line("", "ms", "faces/s")
    for label, cost in costs.items():
        _line(label, cost.face_ms, 1000 / cost.face_ms, f" {cost.runs_on}")


def _print_verdicts(told: Mapping[str, Sequence[Figure]]) -> None:
    for label, figures in told.items():
        for figure in figures:
            bound = "at least" if figure.is_least else "at most"
            value = "no figure" if math.isnan(figure.value) else f"{figure.value:+.3f}"
            print_result(f"{label}: {figure.name:<46} {value:>9}   {bound} {figure.limit:g}"
                         f"   {'met' if figure.met else 'missed'}")  # fmt: skip
        print_result(f"{label}: {sum(figure.met for figure in figures)} of {len(figures)} targets met")


def _line(title: str, *cells: Any) -> None:
    texts = ["" if cell is None else f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells]
    print_result((f"{title:<20}" + "".join(f" {text:>8}" for text in texts)).rstrip())

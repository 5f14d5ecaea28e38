"""`facex engines`: what can do the work, and what it may be used for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from facexcli.cli.console import print_json, print_result
from facexcli.engines.registry import engine_factories, missing_weights
from facexcli.errors import FacexError

if TYPE_CHECKING:
    from collections.abc import Callable

    from facexcli.engines.base import Engine

_OWN_WEIGHTS = "with weights of your own, which --weights names"


def register(app: typer.Typer, panel: str) -> None:
    app.command("engines", rich_help_panel=panel)(list_engines)


def list_engines(as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False) -> None:
    """List the engines and what they can do.

    Example:
      facex engines
    """
    rows = [_row(name, factory) for name, factory in engine_factories().items()]
    rows.sort(key=lambda row: not row["available"])
    if as_json:
        print_json({"engines": rows})
        return
    for row in rows:
        for line in _lines(row):
            print_result(line)


def _row(name: str, factory: Callable[[], Engine]) -> dict[str, Any]:
    """What one engine says of itself; one that cannot be opened here says why."""
    try:
        engine = factory()
    except (FacexError, ImportError) as error:
        return {"engine": name, "available": False, "reason": str(error)}
    spec = engine.spec
    engine.close()
    if lacks := missing_weights(spec):
        reason = f"not installed: {', '.join(f'facex models pull {each}' for each in lacks)}"
        return {"engine": name, "available": False, "reason": reason, "licence": spec.licence}
    return {
        "engine": name,
        "available": not spec.needs_own_weights,
        **({"reason": _OWN_WEIGHTS} if spec.needs_own_weights else {}),
        "summary": spec.summary,
        "tasks": sorted(spec.recipes),
        "crop_sizes_px": list(spec.crop_sizes_px),
        "templates": dict(spec.templates),
        "needs_cuda": spec.needs_cuda,
        "weights": list(spec.weights),
        "extras": list(spec.extras),
        "licence": spec.licence,
    }


def _lines(row: dict[str, Any]) -> list[str]:
    if "summary" not in row:
        return [f"{row['engine']}: not available: {row['reason']}"]
    crops = ", ".join(f"{size} px" for size in row["crop_sizes_px"])
    device = "needs CUDA" if row["needs_cuda"] else "runs on the CPU"
    lines = [
        f"{row['engine']}: {'available' if row['available'] else row['reason']}",
        f"  {row['summary']}",
        f"  tasks: {', '.join(row['tasks'])}; crop: {crops}; {device}",
    ]
    if row["weights"]:
        lines.append(f"  weights: {', '.join(row['weights'])}")
    return [*lines, f"  licence: {row['licence']}"]

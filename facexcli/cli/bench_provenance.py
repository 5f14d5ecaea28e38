"""`facex bench provenance`: what manifests and watermarks withstand, and what they never claim."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facexcli.cli.bench_options import DATA, DataOption, print_row
from facexcli.cli.console import print_result


def bench_provenance(
    data: DataOption = DATA,
    changes: Annotated[int, typer.Option("--changes", metavar="N", min=0, help="single bytes changed in a file")] = 50,
    results: Annotated[int, typer.Option("--results", metavar="N", min=0, help="results with a watermark")] = 30,
    unmarked: Annotated[int, typer.Option("--unmarked", metavar="N", min=0, help="videos without a watermark")] = 500,
    manifests: Annotated[bool, typer.Option("--manifests/--no-manifests", help="also try the manifests")] = True,
) -> None:
    """Sign results of every kind, read them elsewhere, and change single bytes; look for watermarks after re-encoding.

    Example:
      facex bench provenance --data ../shared/data/eval
    """
    if manifests:
        _bench_manifests(data, changes)
    if results:
        _bench_marks(data, results)
    if unmarked:
        _bench_unmarked(data, unmarked)


def _bench_manifests(data: Path, changes: int) -> None:
    from facexcli.evaluate.manifests import bench_manifests

    print_row("result", "manifest", "facex", "c2pa alone", "changes", "found")
    rows = []
    for row in bench_manifests(data, changes):
        rows.append(row)
        print_row(row.name, row.place, row.state, row.independent, row.changes, row.detected)
    intact = sum(row.state in ("valid", "untrusted") and row.independent in ("Valid", "Trusted") for row in rows)
    found, tried = sum(row.detected for row in rows), sum(row.changes for row in rows)
    print_result(f"intact for both readers: {intact} of {len(rows)}; changes found: {found} of {tried}")


def _bench_marks(data: Path, count: int) -> None:
    from facexcli.evaluate.watermarks import ATTACKS, bench_marks

    names = ["as made", *(attack.name for attack in ATTACKS)]
    print_result("-log10 of the chance; in brackets: not found; *: the run was read")
    print_row("face, px", "PSNR, dB", "cost, %", *names)
    rows = []
    for row in bench_marks(data, count):
        rows.append(row)
        cells = [f"{row.log10_chance[name]:.1f}{'*' if row.is_read[name] else ''}" for name in names]
        shown = [cell if row.is_found[name] else f"({cell})" for name, cell in zip(names, cells, strict=True)]
        print_row(f"{row.face_px:.0f}", f"{row.psnr_db:.1f}", f"{100 * row.cost:.1f}", *shown, row.name)
    print_row("found", f"of {len(rows)}", "", *(sum(row.is_found[name] for row in rows) for name in names))
    print_row("read", f"of {len(rows)}", "", *(sum(row.is_read[name] for row in rows) for name in names))
    print_result(f"another key found something, or a wrong run was read: {sum(row.wrong for row in rows)}")


def _bench_unmarked(data: Path, count: int) -> None:
    from facexcli.evaluate.watermarks import bench_unmarked

    found = list(bench_unmarked(data, count))
    most = max(evidence.log10_chance for evidence in found)
    print_result(
        f"found in {sum(evidence.is_found for evidence in found)} of {count} without a watermark; most: {most:.1f}"
    )

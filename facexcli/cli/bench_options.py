"""What the commands of `facex bench` share: where their data lie, and how a row of figures is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from facexcli.cli.console import print_result

DataOption = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="folder with talking/ and london/", envvar="FACEX_TEST_DATA")
]
KeepOption = Annotated[Path | None, typer.Option("--keep", metavar="DIR", help="keep the results in this folder")]
DATA = Path("../shared/data/eval")


def made_folder(folder: Path | None) -> Path | None:
    """The folder given with --keep, made where there is none yet."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def print_row(*cells: Any) -> None:
    """A row of a table with columns of eleven characters; float cells get three digits."""
    texts = [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells]
    print_result("  ".join(f"{text:>11}" for text in texts))

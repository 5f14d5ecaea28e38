"""What the commands of `facex bench` share: where their data lie, and how a row of figures is printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from facexcli.cli.console import print_result

if TYPE_CHECKING:
    from facexcli.settings import Settings

DataOption = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="folder with talking/ and london/", envvar="FACEX_TEST_DATA")
]
KeepOption = Annotated[Path | None, typer.Option("--keep", metavar="DIR", help="keep the results in this folder")]
WatermarkOption = Annotated[
    Literal["on", "off"],
    typer.Option("--watermark", metavar="on|off", help="hide the run's number in the faces, as a run does"),
]
DATA = Path("../shared/data/eval")


def made_folder(folder: Path | None) -> Path | None:
    """The folder given with --keep, made where there is none yet."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def settings_with(watermark: Literal["on", "off"]) -> Settings:
    """The settings of a run that was told nothing else."""
    from facexcli.settings import ProvenanceSettings, Settings

    return Settings(provenance=ProvenanceSettings(watermark=watermark))


def print_row(*cells: Any) -> None:
    """A row of a table with columns of eleven characters; float cells get three digits."""
    texts = [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells]
    print_result("  ".join(f"{text:>11}" for text in texts))

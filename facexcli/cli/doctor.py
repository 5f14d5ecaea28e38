"""`facex doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from facexcli.cli.console import print_json, print_result
from facexcli.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facexcli.doctor import Examination


def register(app: typer.Typer, panel: str) -> None:
    app.command("doctor", rich_help_panel=panel)(doctor)


def doctor(as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False) -> None:
    """Show what is installed and what works.

    Ends with exit code 5 when the embedded engine cannot work here.

    Example:
      facex doctor
      facex doctor --json > doctor.json
    """
    from facexcli.doctor import examine

    found = examine()
    if as_json:
        print_json(found.as_json())
    else:
        print_result("\n".join(_lines(found)))
    if found.problems:
        raise WeightsError("; ".join(found.problems), "install facex again: `pip install --force-reinstall facexcli`")


def _lines(found: Examination) -> Iterator[str]:
    from facexcli.doctor import purpose_of

    yield f"facex {found.facex}, Python {found.python}, {found.platform}"
    yield f"device: {found.device} ({found.device_reason})"
    yield f"analyzer: {found.analyzer}"
    yield "\npackages"
    for name, number in {**found.packages, **found.optional}.items():
        yield f"  {name:<24} {number or '-':<18} {purpose_of(name)}"
    yield "\nencoders (those of a graphics card work where the card is)"
    for codec, encoders in found.encoders.items():
        yield f"  {codec:<8} {', '.join(encoders) or '-'}"
    yield "\nmodels"
    for model in found.models:
        size = f"{model.size_bytes / 1e6:.0f} MB" if model.size_bytes else "missing"
        yield f"  {model.name} ({size}): {model.purpose}\n    licence: {model.licence}"
    yield "\nconfiguration"
    for path, exists in found.config_files.items():
        yield f"  {path}{'' if exists else ' (none)'}"

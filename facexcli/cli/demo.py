"""`facex demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facexcli.cli.console import print_json, print_result, reporting
from facexcli.cli.options import Choices, with_settings


def register(app: typer.Typer, panel: str) -> None:
    app.command("demo", rich_help_panel=panel)(demo)


@with_settings("talk")
def demo(
    folder: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="where the videos and the picture go")
    ] = Path("facex-demo"),
    *,
    choices: Choices,
) -> None:
    """Make a short clip, swap it and reenact it.

    Two photographs that come with installed packages are all that it needs: no
    network, no graphics card. It takes about a minute. Earlier demo files in the
    folder are replaced.

    Example:
      facex demo -o demo
    """
    from facexcli.demo import demonstrate

    with reporting() as reporter:
        made = demonstrate(folder, reporter, choices.settings)
    if choices.as_json:
        results = {"swap": made.swap.as_json(), "reenact": made.reenact.as_json()}
        print_json({"source": made.source, "target": made.target, "picture": made.picture, **results})
        return
    for path in (made.source, made.target, made.swap.output, made.reenact.output, made.picture):
        print_result(str(path))

"""`facex head-swap`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facexcli.cli.edit import RunOptions, edits, execute
from facexcli.cli.options import Choices
from facexcli.cli.piping import refuse_standard

if TYPE_CHECKING:
    from facexcli.pipeline.plan import Plan


def register(app: typer.Typer, panel: str) -> None:
    app.command("head-swap", rich_help_panel=panel)(head_swap)


@edits("head-swap")
def head_swap(
    sources: Annotated[
        list[Path] | None, typer.Argument(metavar="SOURCE", help="stills of one person, or a folder of them")
    ] = None,
    target: Annotated[
        Path | None, typer.Argument(metavar="TARGET", help="an image, a video, a folder of pictures, or - for a pipe")
    ] = None,
    *,
    choices: Choices,
    wanted: RunOptions,
) -> None:
    """Put the whole head of SOURCE into TARGET.

    Hair and ears too, and the shape of the head. That takes an engine which makes
    new pictures: `facex engines` shows which can, and what it needs.

    Example:
      facex head-swap alice.jpg clip.mp4 -o out.mp4 --engine facex --weights w/
    """

    def make_plan(moving: Path, place: Path) -> Plan:
        from facexcli.pipeline.planning import plan_head_swap

        return plan_head_swap(sources or (), moving, place, choices.settings)

    refuse_standard(sources or (), "SOURCE", "only TARGET can be `-`")

    given: dict[str, object] = {"SOURCE": sources, "TARGET": target}
    execute("head-swap", make_plan, choices, wanted, given=given, moving=target)

"""`facex reenact`."""

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
    app.command("reenact", rich_help_panel=panel)(reenact)


@edits("reenact")
def reenact(
    source: Annotated[Path | None, typer.Argument(metavar="SOURCE", help="a portrait: an image or a video")] = None,
    driving: Annotated[
        Path | None,
        typer.Option(
            "--driving",
            metavar="DRIVING",
            help="the video whose face moves, and gives the sound; a folder of pictures, or - for a pipe",
        ),
    ] = None,
    *,
    choices: Choices,
    wanted: RunOptions,
) -> None:
    """Make the face of SOURCE move like the one in DRIVING.

    The result has the times and the sound of DRIVING and the picture of SOURCE.
    The options for people and range are about DRIVING.
    A folder, a pipe and `-o -` are what they are for `facex swap`. With --unet the
    engine facex draws in the style of a community's Stable Diffusion ("animate").

    Example:
      facex reenact alice.jpg --driving clip.mp4 -o out.mp4
      facex reenact alice.jpg --driving clip.mp4 -o out.mp4 --trim 2..6
    """

    def make_plan(moving: Path, place: Path) -> Plan:
        from facexcli.pipeline.planning import plan_reenact

        assert source
        return plan_reenact(source, moving, place, choices.settings)

    refuse_standard([source] if source else (), "SOURCE", "only DRIVING can be `-`")

    given: dict[str, object] = {"SOURCE": source, "--driving DRIVING": driving}
    execute("reenact", make_plan, choices, wanted, given=given, moving=driving)

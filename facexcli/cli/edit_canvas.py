"""`facex edit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facexcli.cli.console import reporting
from facexcli.cli.edit import RunOptions, edits, execute, forbid
from facexcli.cli.options import Choices

if TYPE_CHECKING:
    from facexcli.pipeline.plan import Plan


def _motion_option(name: str, what: str) -> Any:
    return typer.Option(name, metavar="FILE", help=f"{what} as the face in FILE does, a still or a video")


def _look_option(name: str) -> Any:
    return typer.Option(f"--{name}", metavar="FILE", help=f"the {name} of the person in FILE, a still")


def register(app: typer.Typer, panel: str) -> None:
    app.command("edit", rich_help_panel=panel)(edit)


@edits("edit")
def edit(
    canvas: Annotated[
        Path | None, typer.Argument(metavar="CANVAS", help="an image, a video, a folder of pictures, or - for a pipe")
    ] = None,
    pose: Annotated[Path | None, _motion_option("--pose", "hold the head")] = None,
    expression: Annotated[Path | None, _motion_option("--expression", "have the expression")] = None,
    gaze: Annotated[Path | None, _motion_option("--gaze", "look")] = None,
    lighting: Annotated[
        Path | None,
        typer.Option("--lighting", metavar="FILE", help="be lit as the face in FILE is, a still or a video"),
    ] = None,
    hair: Annotated[Path | None, _look_option("hair")] = None,
    clothes: Annotated[Path | None, _look_option("clothes")] = None,
    background: Annotated[Path | None, _look_option("background")] = None,
    loop: Annotated[
        bool, typer.Option("--loop", help="of several videos, let the shorter begin again; without, the shortest ends")
    ] = False,
    show_slots: Annotated[
        Path | None,
        typer.Option("--show-slots", metavar="OUT.png", help="also write which slot looks where (engine difffae)"),
    ] = None,
    inpaint: Annotated[
        Path | None,
        typer.Option("--inpaint", metavar="MASK.png", help="make anew what is white on this picture, about the face"),
    ] = None,
    *,
    choices: Choices,
    wanted: RunOptions,
) -> None:
    """Change attributes of the face in CANVAS.

    --take lips=other.jpg takes one from the still of somebody else; several at
    once make a mixture. --pose F is short for --take pose=F, and so on; the F of
    pose, expression, gaze and lighting may be a video, whose frames go by with
    those of CANVAS. Where CANVAS is a still, the first such video moves it.
    `facex engines` shows which engines can, and what they need.

    Example:
      facex edit me.jpg --lighting sunset.jpg -o out.png
      facex edit me.jpg --lighting sunset.jpg --amount 0.5 -o out.png
      facex edit me.jpg --pose b.jpg --hair c.jpg -o out.png --engine difffae --weights w/
      facex edit me.jpg --take lips=b.jpg -o out.png --engine facex --weights w/
      facex edit a.mp4 --expression b.jpg -o out.mp4 --engine facex --weights w/
      facex edit me.jpg --inpaint mask.png -o out.png --engine facex --weights w/
    """
    taken = {
        "pose": pose, "expression": expression, "gaze": gaze, "lighting": lighting, "hair": hair, "clothes": clothes,
        "background": background,
    }  # fmt: skip
    takes = [f"{attribute}={path}" for attribute, path in taken.items() if path is not None]

    def make_plan(moving: Path, place: Path) -> Plan:
        from facexcli.pipeline.planning import plan_edit

        settings = choices.settings
        recipe = settings.recipe.model_copy(update={"take": (*settings.recipe.take, *takes)})
        made = plan_edit(moving, place, settings.model_copy(update={"recipe": recipe}), inpaint, loop=loop)
        if show_slots is not None and not wanted.dry_run:
            from facexcli.pipeline.slots import write_slots

            with reporting() as reporter:
                write_slots(made, show_slots, reporter, wanted.overwrite)
        return made

    if wanted.plan is not None:
        forbid(
            {
                **{f"--{attribute}": path for attribute, path in taken.items()},
                "--inpaint": inpaint,
                "--loop": loop,
                "--show-slots": show_slots,
            }
        )
    given: dict[str, object] = {"CANVAS": canvas}
    execute("edit", make_plan, choices, wanted, given=given, moving=canvas)

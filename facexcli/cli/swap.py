"""`facex swap`."""

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
    app.command("swap", rich_help_panel=panel)(swap)


@edits("swap")
def swap(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SOURCE", help="stills of one person, or a folder of them; not with --map"),
    ] = None,
    target: Annotated[
        Path | None, typer.Argument(metavar="TARGET", help="an image, a video, a folder of pictures, or - for a pipe")
    ] = None,
    *,
    choices: Choices,
    wanted: RunOptions,
) -> None:
    """Put the face of SOURCE into TARGET.

    Everything else of TARGET stays as it is: its frames, times, colours and sound.
    With --map several people get a face each: `facex faces` shows who is there.
    A folder of pictures is a video of --fps frames a second. A video from a pipe
    is kept on disk (TMPDIR) while it is worked on. `-o -` writes Matroska as it
    is encoded: what has gone into a pipe cannot be taken back if the run fails.

    Example:
      facex swap alice.jpg clip.mp4 -o out.mp4
      facex swap alice1.jpg alice2.jpg clip.mp4 -o out.mp4 --preset quality
      facex swap clip.mp4 --map alice.jpg=1 --map bob.jpg=2 -o out.mp4
      facex swap alice.jpg clip.mp4 -o out.mp4 --report out.html
      facex swap alice.jpg shot/ -o swapped/%05d.png --fps 24
    """

    def make_plan(moving: Path, place: Path) -> Plan:
        from facexcli.pipeline.planning import plan_swap

        return plan_swap(sources or (), moving, place, choices.settings)

    refuse_standard(sources or (), "SOURCE", "only TARGET can be `-`")

    given: dict[str, object] = {"SOURCE": sources, "TARGET": target}
    if choices.settings.people.map and not sources:
        del given["SOURCE"]
    execute("swap", make_plan, choices, wanted, given=given, moving=target)

"""`facex faces`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facexcli.cli.console import print_json, print_result, reporting
from facexcli.cli.options import Choices, with_settings
from facexcli.cli.piping import Input, piped_input
from facexcli.errors import OutputError
from facexcli.events import Informed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facexcli.types import Analysis


def register(app: typer.Typer, panel: str) -> None:
    app.command("faces", rich_help_panel=panel)(faces)


@with_settings("people.analyzer", "people.analysis", "look.smooth", "compute.cache_mb", "range", "talk")
def faces(
    media: Annotated[Path, typer.Argument(metavar="MEDIA", help="an image, a video, a folder of pictures, or -")],
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="OUT.png", help="draw a contact sheet of the people")
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="X.json", help="save the faces, for --analysis of swap")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the sheet and the saved file")] = False,
    *,
    choices: Choices,
) -> None:
    """Show who is where in an image or a video.

    A person's number or name is what --faces and --map of swap take.
    What --save writes can be edited: names, and which track is whose.

    Example:
      facex faces clip.mp4
      facex faces clip.mp4 --sheet faces.png --save clip.faces.json
      facex faces clip.mp4 --analysis clip.faces.json
    """
    for path in (sheet, save):
        if path is not None:
            _check_output(path, media, overwrite)
    with piped_input(media) as source:
        _show(source, sheet, save, choices)


def _show(source: Input, sheet: Path | None, save: Path | None, choices: Choices) -> None:
    from facexcli.api import analyse
    from facexcli.pipeline.analysis_io import save_analysis
    from facexcli.pipeline.summary import summary

    with reporting() as reporter:
        analysis = analyse(source.path, settings=choices.settings, reporter=source.reporter(reporter))
        if analysis.trim and save is None and choices.settings.people.analysis is None:
            reporter.emit(Informed(f"numbers of {analysis.trim} only: --save the faces and give them to --analysis"))
    if save is not None:
        save_analysis(analysis, save)
    if sheet is not None:
        _draw(analysis, sheet)
    found = summary(analysis)
    found["media"] = source.told(found["media"])
    if choices.as_json:
        print_json(found)
    else:
        print_result("\n".join(_tables(found)))


def _check_output(path: Path, media: Path, overwrite: bool) -> None:
    if path.exists() and media.exists() and path.samefile(media):
        raise OutputError(f"{path} is also the input", "choose another name")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists", "use --overwrite to replace it")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}", "make the folder first")


def _draw(analysis: Analysis, path: Path) -> None:
    from facexcli.contact_sheet import contact_sheet
    from facexcli.media.image import write_image

    write_image(path, contact_sheet(analysis))


def _tables(found: dict[str, Any]) -> Iterator[str]:
    """A line for each person, then one for each track; under 80 columns."""
    length = f"{_count(found['frames'], 'frame')}, {found['duration_s']:.2f} s, {_count(len(found['shots']), 'shot')}, "
    people = _count(len(found["people"]), "person", "people") if found["people"] else "no face found"
    yield f"{found['media']}: {'' if found['kind'] == 'image' else length}{people}"
    if found["people"]:
        yield "\nperson  name            seen s  from s    to s  frames  interp. repaired  tracks"
    for person in found["people"]:
        tracks = ",".join(map(str, person["tracks"]))
        yield (
            f"{person['number']:>6}  {_short(person['name'], 14):<14} {person['on_screen_s']:>7.2f}"
            f" {person['start_s']:>7.2f} {person['end_s']:>7.2f} {person['frames']:>7} {person['interpolated']:>8}"
            f" {person['repaired']:>8}  {_short(tracks, 6)}"
        ).rstrip()
    if found["tracks"]:
        yield "\ntrack person shot  from s    to s  frames  interp. repaired   px       yaw     pitch"
    for track in found["tracks"]:
        yaw, pitch = (f"{round(low)}..{round(high)}" for low, high in (track["yaw_deg"], track["pitch_deg"]))
        yield (
            f"{track['id']:>5} {track['person'] or '-':>6} {track['shot']:>4} {track['start_s']:>7.2f}"
            f" {track['end_s']:>7.2f} {track['frames']:>7} {track['interpolated']:>8} {track['repaired']:>8}"
            f" {track['face_height_px']:>4.0f} {yaw:>9} {pitch:>9}"
        )


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 2]}.."


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"

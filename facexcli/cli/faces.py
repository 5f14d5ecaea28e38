"""`facex faces`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facexcli.cli.console import print_json, print_result, reporting
from facexcli.cli.options import Choices, with_settings
from facexcli.errors import NoFaceError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facexcli.tiles import Tile
    from facexcli.types import Analysis, Array, Track

_THUMBNAILS = 6
_TILE_PX = (160, 160)


def register(app: typer.Typer, panel: str) -> None:
    app.command("faces", rich_help_panel=panel)(faces)


@with_settings("people.analyzer", "look.smooth", "talk")
def faces(
    media: Annotated[Path, typer.Argument(metavar="MEDIA", help="an image or a video")],
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="OUT.png", help="draw a contact sheet of the tracks")
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="X.json", help="save the faces, for --analysis of swap")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the sheet and the saved file")] = False,
    *,
    choices: Choices,
) -> None:
    """Show who is where in an image or a video.

    A track is one person through one shot; its number is what --faces of swap and reenact takes.

    Example:
      facex faces clip.mp4
      facex faces clip.mp4 --sheet faces.png --save clip.faces.json
    """
    from facexcli.api import analyse
    from facexcli.pipeline.analysis_io import save_analysis
    from facexcli.pipeline.summary import summary

    for path in (sheet, save):
        if path is not None and path.exists() and path.samefile(media):
            raise OutputError(f"{path} is also the input", "choose another name")
        if path is not None and path.exists() and not overwrite:
            raise OutputError(f"{path} exists", "use --overwrite to replace it")
    with reporting() as reporter:
        analysis = analyse(media, settings=choices.settings, reporter=reporter)
    if save is not None:
        save_analysis(analysis, save)
    if sheet is not None:
        _draw(analysis, sheet)
    if choices.as_json:
        print_json(summary(analysis))
    else:
        print_result("\n".join(_table(summary(analysis))))


def _table(found: dict[str, Any]) -> Iterator[str]:
    """One line a track, under 80 columns."""
    if not found["tracks"]:
        yield f"{found['media']}: no face found in {found['frames']} frames"
        return
    yield "track  shot  frames   from s     to s  height px        yaw      pitch"
    for track in found["tracks"]:
        yaw, pitch = (f"{low:.0f}..{high:.0f}" for low, high in (track["yaw_deg"], track["pitch_deg"]))
        yield (
            f"{track['id']:>5} {track['shot']:>5} {track['frames']:>7} {track['start_s']:>8.2f} {track['end_s']:>8.2f}"
            f" {track['face_height_px']:>10.0f} {yaw:>10} {pitch:>10}"
        )


def _draw(analysis: Analysis, path: Path) -> None:
    from facexcli.media.image import write_image
    from facexcli.media.scan import read_frames_rgb
    from facexcli.tiles import sheet

    if not analysis.tracks:
        raise NoFaceError(f"{analysis.media.path}: no face to draw on {path}")
    shown = {track.id: _moments(track) for track in analysis.tracks}
    wanted = sorted({track.frame_indices[place] for track in analysis.tracks for place in shown[track.id]})
    frames = dict(zip(wanted, read_frames_rgb(analysis.media.path, wanted), strict=True))
    rows = [[_tile(track, place, frames) for place in shown[track.id]] for track in analysis.tracks]
    write_image(path, sheet(rows, _TILE_PX))


def _moments(track: Track) -> list[int]:
    """Places in the track, spread over its length."""
    last = len(track.faces) - 1
    count = min(_THUMBNAILS, len(track.faces))
    return sorted({round(step * last / max(count - 1, 1)) for step in range(count)})


def _tile(track: Track, place: int, frames: dict[int, Array]) -> Tile:
    from facexcli.tiles import Tile, around

    index = track.frame_indices[place]
    face = track.faces[place]
    return Tile(around(frames[index], face.box_px), f"track {track.id}, frame {index}, yaw {face.yaw_deg:.0f}")

"""One picture of a comparison: a row for each pair, with source, canvas and what every engine made of them."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from facexcli.affine import resample, shift
from facexcli.errors import NoFaceError
from facexcli.evaluate.metrics.view import window_of
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.source import find_source_face
from facexcli.media.image import read_image
from facexcli.media.probe import probe
from facexcli.media.scan import read_frames_rgb
from facexcli.tiles import Tile, sheet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from facexcli.evaluate.comparison import Result, SetResult
    from facexcli.evaluate.comparison_pairs import Pair
    from facexcli.types import Array

TILE_PX = 256
_ZOOM = 1.5
"""Nearer than the judge looks: it is the face that differs."""


def comparison_grid(sets: Sequence[SetResult]) -> Array:
    """uint8 (H, W, 3) RGB, zoomed to the faces; of a clip its middle frame. A canvas and its results are cut alike.

    The results' files have to be there still. Raises NoFaceError where no pair was compared.
    """
    if not any(result.results for result in sets):
        raise NoFaceError("no pair was compared", "each of them is left out for a reason that is told with its set")
    with closing(DlibAnalyzer()) as dlib:
        rows = [list(_row(result.name, pair, made, dlib)) for result in sets for pair, made in result.results.items()]
    return sheet(rows, (TILE_PX, TILE_PX))


def _row(name: str, pair: Pair, made: Mapping[str, Result], dlib: DlibAnalyzer) -> Iterator[Tile]:
    middle = None if pair.frames is None else len(pair.frames) // 2
    source = read_image(pair.source)
    yield Tile(_cut(source, _tile_from_picture(pair.source, source, dlib)), f"{name}: {pair.source.stem}")
    canvas = _picture(pair.canvas, None if pair.frames is None else pair.frames[middle or 0])
    place = _tile_from_picture(pair.canvas, canvas, dlib)
    yield Tile(_cut(canvas, place), f"into {pair.canvas.stem}")
    for label, result in made.items():
        yield Tile(_cut(_picture(result.path, middle), place), f"{label}{_told(result)}")


def _told(result: Result) -> str:
    """The figure that says most of one result."""
    psnr, distance = result.figure("face_psnr"), result.figure("identity_distance")
    if psnr is not None:
        return f", {psnr:.1f} dB"
    return ", no face found" if distance is None else f", distance {distance:.2f}"


def _picture(path: Path, frame: int | None) -> Array:
    return read_image(path) if frame is None else read_frames_rgb(path, [frame])[0]


def _tile_from_picture(path: Path, rgb: Array, dlib: DlibAnalyzer) -> Array | None:
    """float64 (3, 3), to square pixels with the face in the middle; None where dlib sees none, but the run did."""
    size_px = round(_ZOOM * TILE_PX)
    aspect = float(probe(path).display_aspect_ratio)
    try:
        landmarks = find_source_face(rgb, dlib).landmarks_px
    except NoFaceError:
        return None
    window = window_of(landmarks, aspect, size_px)
    middle = -(size_px - TILE_PX) / 2
    return np.asarray(shift(middle, middle) @ window.view_from_frame)


def _cut(rgb: Array, tile_from_picture: Array | None) -> Array:
    """The whole picture where nobody knows the face."""
    if tile_from_picture is None:
        return rgb
    return resample(rgb, tile_from_picture, (TILE_PX, TILE_PX))

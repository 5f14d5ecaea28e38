"""Pictures in rows with captions: before/after pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facexcli.affine import resample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.types import Array

_GAP_PX = 6
_CAPTION_PX = 22
_PAPER = 255
_INK = (40, 40, 40)


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture, uint8 (H, W, 3) RGB, and what is written below it."""

    rgb: Array
    caption: str = ""


def sheet(rows: Sequence[Sequence[Tile]], tile_px: tuple[int, int]) -> Array:
    """Tiles of (width, height) `tile_px` on white: uint8 (H, W, 3) RGB. Pictures are fitted in, not distorted."""
    width, height = tile_px
    columns = max(len(row) for row in rows)
    step_x, step_y = width + _GAP_PX, height + _CAPTION_PX + _GAP_PX
    paper = np.full((len(rows) * step_y + _GAP_PX, columns * step_x + _GAP_PX, 3), _PAPER, np.uint8)
    places = []
    for y, row in enumerate(rows):
        for x, tile in enumerate(row):
            left, top = _GAP_PX + x * step_x, _GAP_PX + y * step_y
            paper[top : top + height, left : left + width] = _fitted(tile.rgb, tile_px)
            places.append((left + width // 2, top + height + _CAPTION_PX // 2, tile.caption))
    return _with_captions(paper, places, width)


def _fitted(rgb: Array, tile_px: tuple[int, int]) -> Array:
    """The picture as large as fits, on white."""
    height, width = rgb.shape[:2]
    scale = min(tile_px[0] / width, tile_px[1] / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    tile = np.full((tile_px[1], tile_px[0], 3), _PAPER, np.uint8)
    left, top = (tile_px[0] - size[0]) // 2, (tile_px[1] - size[1]) // 2
    tile_from_picture = np.array([[scale, 0, scale / 2 - 0.5], [0, scale, scale / 2 - 0.5], [0, 0, 1]])
    tile[top : top + size[1], left : left + size[0]] = resample(rgb, tile_from_picture, size)
    return tile


def _with_captions(paper: Array, places: Sequence[tuple[int, int, str]], width_px: int) -> Array:
    picture = Image.fromarray(paper)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(13)
    for x, y, caption in places:
        while caption and draw.textlength(caption, font) > width_px:
            caption = caption[:-1]
        draw.text((x, y), caption, fill=_INK, font=font, anchor="mm")
    return np.asarray(picture)

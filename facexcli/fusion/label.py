"""A label to be seen: white letters on a dark plate, which can be read on any picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from facexcli.lettering import font_for

if TYPE_CHECKING:
    from facexcli.types import Array

_HEIGHT_SHARE = 0.035
_SMALLEST_PX = 11
_WIDEST_SHARE = 0.9
_MOST_LINES = 3
_PLATE_OPACITY = 0.62
_PADDING = 0.45
_ROUNDNESS = 0.35
_RIM_PX = 2
_SPACING = 0.3


def draw_label(text: str, picture_width_px: int, picture_height_px: int) -> tuple[Array, Array]:
    """The label for a picture of this size: float32 RGB (H, W, 3) and alpha (H, W), both 0..1, alpha 0 on the rim.

    Letters are 3.5 per cent of the picture's shorter side high, and at least 11 pixels. What is too wide is broken into
    lines, and made smaller where three lines are not enough.
    """
    size_px = max(_SMALLEST_PX, round(_HEIGHT_SHARE * min(picture_width_px, picture_height_px)))
    room_px = _WIDEST_SHARE * picture_width_px - 2 * _PADDING * size_px
    lines = _lines(text, size_px, room_px)
    while size_px > _SMALLEST_PX and (len(lines) > _MOST_LINES or _width(lines, size_px) > room_px):
        size_px -= 1
        lines = _lines(text, size_px, room_px)
    return _drawn("\n".join(lines), size_px)


def _lines(text: str, size_px: int, room_px: float) -> list[str]:
    font = font_for(text, size_px)
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= room_px:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _width(lines: list[str], size_px: int) -> float:
    font = font_for(" ".join(lines), size_px)
    return max(float(font.getlength(line)) for line in lines)


def _drawn(text: str, size_px: int) -> tuple[Array, Array]:
    font, spacing = font_for(text, size_px), _SPACING * size_px
    measured = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), text, font, spacing=spacing)
    padding = round(_PADDING * size_px) + _RIM_PX
    width = round(measured[2] - measured[0]) + 2 * padding
    height = round(measured[3] - measured[1]) + 2 * padding
    plate, letters = Image.new("L", (width, height)), Image.new("L", (width, height))
    ImageDraw.Draw(plate).rounded_rectangle(
        (_RIM_PX, _RIM_PX, width - 1 - _RIM_PX, height - 1 - _RIM_PX), _ROUNDNESS * size_px, fill=255
    )
    start = (padding - measured[0], padding - measured[1])
    ImageDraw.Draw(letters).multiline_text(start, text, 255, font, spacing=spacing)
    ink = np.asarray(letters, np.float32) / np.float32(255)
    ground = np.asarray(plate, np.float32) * np.float32(_PLATE_OPACITY / 255)
    alpha = ink + ground * (1 - ink)
    return np.repeat((ink / np.maximum(alpha, 1e-6))[..., None], 3, axis=2).astype(np.float32), alpha

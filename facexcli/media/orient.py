"""Between the decoder's orientation and the one in which a picture is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from facexcli.types import Array, Frame

PixelBox = tuple[int, int, int, int]
"""(x0, y0, x1, y1) in whole display-oriented frame pixels; x1 and y1 are exclusive."""


def native_box(frame: Frame, box: PixelBox) -> PixelBox:
    """A display-oriented box in the decoder's pixels."""
    x0, y0, x1, y1 = box
    width, height = frame.native.width, frame.native.height
    shown_width = height if frame.rotation_deg % 180 else width
    if frame.mirrored:
        x0, x1 = shown_width - x1, shown_width - x0
    if frame.rotation_deg == 90:
        return y0, height - x1, y1, height - x0
    if frame.rotation_deg == 180:
        return width - x1, height - y1, width - x0, height - y0
    if frame.rotation_deg == 270:
        return width - y1, x0, width - y0, x1
    return x0, y0, x1, y1


def native_from_frame(frame: Frame) -> Array:
    """Display-oriented pixels to the decoder's: float64 (3, 3)."""
    width, height = frame.native.width, frame.native.height
    turns = {
        0: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        90: [[0, 1, 0], [-1, 0, height - 1], [0, 0, 1]],
        180: [[-1, 0, width - 1], [0, -1, height - 1], [0, 0, 1]],
        270: [[0, -1, width - 1], [1, 0, 0], [0, 0, 1]],
    }
    matrix = np.array(turns[frame.rotation_deg], np.float64)
    if frame.mirrored:
        shown_width = height if frame.rotation_deg % 180 else width
        matrix = matrix @ np.array([[-1.0, 0, shown_width - 1], [0, 1, 0], [0, 0, 1]])
    return matrix


def oriented(picture: Array, rotation_deg: int, mirrored: bool) -> Array:
    """Decoder's orientation to display orientation: turned clockwise, then mirrored."""
    turned = np.rot90(picture, -(rotation_deg // 90))
    return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)


def unoriented(picture: Array, rotation_deg: int, mirrored: bool) -> Array:
    """The way back: display orientation to the decoder's. A view."""
    return np.rot90(picture[:, ::-1] if mirrored else picture, rotation_deg // 90)

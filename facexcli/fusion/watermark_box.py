"""Where the box that is marked lies in a crop, and the way there and back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from facexcli.affine import crop_box, shift
from facexcli.fusion.watermark_waves import BOX_PX, HEIGHT, LEFT, TOP, WIDTH
from facexcli.types import Array

_WHOLE_PX = 1e-3
"""So near to a whole number, an edge is one between two pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """The grid's box in a crop.

    part: the rows and columns of the crop that show it.
    small_px: (width, height) that the part is averaged to before anything else.
    box_from_small: float64 (3, 3); None where the averaged part is the box.
    """

    part: tuple[slice, slice]
    small_px: tuple[int, int]
    box_from_small: Array | None = None

    def averaged(self, part: Array) -> Array:
        """The part of a picture (h, w) or (h, w, n), made smaller."""
        return cv2.resize(part, self.small_px, interpolation=cv2.INTER_AREA)

    def straight(self, fields: tuple[Array, Array]) -> tuple[Array, Array]:
        """Two averaged fields, float32, as the box has them: (HEIGHT, WIDTH). Borders are replicated."""
        if self.box_from_small is None:
            return fields
        matrix = self.box_from_small[:2]
        one, other = cv2.split(cv2.warpAffine(cv2.merge(fields), matrix, BOX_PX, borderMode=cv2.BORDER_REPLICATE))
        return one, other

    def spread(self, field: Array) -> Array:
        """A field of the box, float32, in the part's own pixels; beyond the box there is nothing."""
        rows, columns = self.part
        size_px = (columns.stop - columns.start, rows.stop - rows.start)
        if self.box_from_small is None:
            return cv2.resize(field, size_px, interpolation=cv2.INTER_LINEAR)
        small_from_part = np.linalg.inv(_enlarged(size_px[0] // self.small_px[0]))
        part_from_box = np.linalg.inv(self.box_from_small @ small_from_part)
        return cv2.warpAffine(field, part_from_box[:2], size_px, flags=cv2.INTER_LINEAR)


def box_in(grid_from_crop: Array, crop_px: tuple[int, int]) -> Box:
    """The box in a crop of (width, height) `crop_px`.

    Most crops are the grid's own template at a larger size, and the box consists of whole pixels of theirs: nothing has
    to be warped, which would take most of the time.
    """
    part = _whole_part(grid_from_crop, crop_px)
    if part is not None:
        return Box(part, BOX_PX)
    box_from_crop = shift(-LEFT, -TOP) @ grid_from_crop
    # Blocks of half the grid's pixel: of larger ones a warp makes something too soft, and the mark would miss the face.
    steps = max(1, round(0.5 / np.sqrt(abs(np.linalg.det(box_from_crop[:2, :2])))))
    x0, y0, x1, y1 = crop_box(box_from_crop, BOX_PX, crop_px, margin_px=4 * steps)
    steps = min(steps, x1 - x0, y1 - y0)
    small_px = ((x1 - x0) // steps, (y1 - y0) // steps)
    part = slice(y0, y0 + steps * small_px[1]), slice(x0, x0 + steps * small_px[0])
    return Box(part, small_px, box_from_crop @ shift(x0, y0) @ _enlarged(steps))


def _enlarged(steps: int) -> Array:
    """The matrix from averages of `steps` * `steps` pixels to those pixels, whose centres lie at integers."""
    return np.array([[steps, 0, (steps - 1) / 2], [0, steps, (steps - 1) / 2], [0, 0, 1]])


def _whole_part(grid_from_crop: Array, crop_px: tuple[int, int]) -> tuple[slice, slice] | None:
    """The rows and columns that the box consists of; None where there are no such ones in the crop."""
    (x_scale, turned, x), (sheared, y_scale, y), _ = grid_from_crop.tolist()
    if turned or sheared:
        return None
    columns = _whole_side(x_scale, x, LEFT, WIDTH, crop_px[0])
    rows = _whole_side(y_scale, y, TOP, HEIGHT, crop_px[1])
    return None if rows is None or columns is None else (rows, columns)


def _whole_side(scale: float, offset: float, start: int, length: int, crop_px: int) -> slice | None:
    """The crop's pixels that `length` of the grid's from `start` on consist of, by grid = scale * crop + offset."""
    if not 0 < scale <= 1:
        return None
    low = (start - 0.5 - offset) / scale + 0.5  # centres of pixels lie at integers, edges between them
    high = low + length / scale
    first, last = round(low), round(high)
    if max(abs(low - first), abs(high - last)) > _WHOLE_PX or first < 0 or last > crop_px:
        return None
    return slice(first, last)

"""A rasteriser of triangle meshes: z-buffer, batched, vectorised over all scan lines. No gradients.

Each triangle is cut into the scan lines that it covers, and each line into pixels between its two sides (Pineda, "A
Parallel Algorithm for Polygon Rasterization", SIGGRAPH 1988, with the edge functions solved for x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facexcli.types import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

_SLACK = 1e-4
"""Pixels by which a triangle is widened, so that none falls between two neighbours by rounding."""
_LEAST_AREA = 1e-6


@dataclass(frozen=True, slots=True)
class Raster:
    """The nearest surface at each pixel that shows any. Sizes: B meshes, N pixels of all pictures together.

    pixels: int64 (N,), flat indices into (B, S, S). triangles: int64 (T, 3), corners as flat indices into (B, V), and
    which: int (N,), the triangle seen at each pixel. weights: float32 (N, 3), barycentric, adding up to 1. depth:
    float32 (N,), smaller is nearer.
    """

    size_px: int
    batch: int
    pixels: Array
    triangles: Array
    which: Array
    weights: Array
    depth: Array

    def interpolate(self, attributes: Array) -> Array:
        """What the vertices say, (B, V, D), at each pixel: float32 (N, D)."""
        flat = np.ascontiguousarray(attributes, np.float32).reshape(-1, attributes.shape[-1])
        by_triangle = flat[self.triangles]  # (T, 3, D): a pixel then finds its three corners side by side
        return np.asarray(np.einsum("nk,nkd->nd", self.weights, by_triangle.take(self.which, axis=0)))

    def image(self, values: Array, background: float = 0.0) -> Array:
        """Values (N, D) as pictures: float32 (B, S, S, D)."""
        picture = np.full((self.batch * self.size_px**2, values.shape[-1]), background, np.float32)
        picture[self.pixels] = values
        return picture.reshape(self.batch, self.size_px, self.size_px, -1)

    @property
    def covered(self) -> Array:
        """bool (B, S, S): where there is any surface."""
        mask = np.zeros(self.batch * self.size_px**2, bool)
        mask[self.pixels] = True
        return mask.reshape(self.batch, self.size_px, self.size_px)


def rasterise(vertices: Array, triangles: Array, size_px: int, *, both_sides: bool = False) -> Raster:
    """Draw meshes that share their triangles.

    Args:
        vertices: float (B, V, 3): x to the right and y down in pixels, whose centres are integers; z away from the eye.
        triangles: int (T, 3). Seen from the front, their corners go clockwise in the picture.
        size_px: side of the square pictures.
        both_sides: draw what is seen from behind too.
    """
    points = np.asarray(vertices, np.float32)
    batch, count = points.shape[:2]
    corners = (np.arange(batch)[:, None, None] * count + triangles).reshape(-1, 3)
    columns = np.ascontiguousarray(points.reshape(-1, 3).T)
    x, y, z = (column[corners.T] for column in columns)  # (3, T) each
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    drawn = np.flatnonzero(np.abs(area) > _LEAST_AREA if both_sides else area > _LEAST_AREA)
    x, y, z = (corner.take(drawn, axis=1) for corner in (x, y, z))
    area = area[drawn]
    # The weight of corner k at (x, y) is slope_x[k] * x + slope_y[k] * y + level[k]: 1 at the corner, 0 opposite to it.
    slope_x = (np.roll(y, -1, 0) - np.roll(y, -2, 0)) / area
    slope_y = (np.roll(x, -2, 0) - np.roll(x, -1, 0)) / area
    level = np.float32(1 / 3) - slope_x * (_sum(x) / 3) - slope_y * (_sum(y) / 3)
    lines, rows = _scan_lines(y, size_px)
    line_level = slope_y.take(lines, axis=1) * rows.astype(np.float32) + level.take(lines, axis=1)
    low, high = _ends(slope_x.take(lines, axis=1), line_level, size_px)
    spans, at_x = _unrolled(low, high)
    at = at_x.astype(np.float32)
    # A triangle's depth is a plane too; whatever else there is to know waits until it is known who is in front.
    deeper_x, deeper_y, deep = (_sum(weights * z) for weights in (slope_x, slope_y, level))
    line_depth = deeper_y.take(lines) * rows.astype(np.float32) + deep.take(lines)
    depth = deeper_x.take(lines).take(spans) * at + line_depth.take(spans)
    pixels = ((drawn // len(triangles))[lines] * size_px**2 + rows * size_px).take(spans) + at_x
    nearest = _nearest(pixels, depth, batch * size_px**2)
    spans, at = spans[nearest], at[nearest]
    which = lines[spans]
    first, second = (slope_x[k].take(which) * at + line_level[k].take(spans) for k in (0, 1))
    weights = _barycentric(first, second)
    return Raster(size_px, batch, pixels[nearest], corners[drawn], which, weights, depth[nearest])


def _sum(rows: Sequence[Array] | Array) -> Array:
    """Of three rows; numpy sums short columns slowly."""
    return np.asarray(rows[0] + rows[1] + rows[2])


def _scan_lines(y: Array, size_px: int) -> tuple[Array, Array]:
    """The triangle and the row of each scan line that meets a picture, int64 (L,) both, for corners at y (3, T)."""
    lowest, highest = np.minimum(np.minimum(*y[:2]), y[2]), np.maximum(np.maximum(*y[:2]), y[2])
    first = np.clip(np.ceil(lowest - _SLACK), 0, size_px).astype(np.int64)
    last = np.clip(np.floor(highest + _SLACK), -1, size_px - 1).astype(np.int64)
    return _unrolled(first, last)


def _ends(slope_x: Array, level: Array, size_px: int) -> tuple[Array, Array]:
    """The first and the last pixel of each scan line, int64 (L,) both: between where the three weights turn negative.

    slope_x, level: float32 (3, L), the weights along the lines.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = -level / slope_x
    outside = (slope_x == 0) & (level < 0)
    lows = np.where(slope_x > 0, crossing, np.where(outside, np.inf, -np.inf))
    highs = np.where(slope_x < 0, crossing, np.inf)
    low = np.maximum(np.maximum(lows[0], lows[1]), lows[2])
    high = np.minimum(np.minimum(highs[0], highs[1]), highs[2])
    first = np.ceil(np.clip(low, 0, size_px) - _SLACK).astype(np.int64)
    return first, np.floor(np.clip(high, -1, size_px - 1) + _SLACK).astype(np.int64)


def _unrolled(first: Array, last: Array) -> tuple[Array, Array]:
    """Of all numbers of the ranges first..last: the range that each is of, and the number itself."""
    lengths = np.maximum(last - first + 1, 0)
    which = np.repeat(np.arange(len(first), dtype=np.int32), lengths)
    offsets = (first - np.cumsum(lengths) + lengths).astype(np.int32)
    return which, np.arange(len(which), dtype=np.int32) + offsets.take(which)


def _nearest(pixels: Array, depth: Array, count: int) -> Array:
    """Which of the fragments are seen: one for each pixel that has any, in the order of the pixels."""
    buffer = np.full(count, np.inf, np.float32)
    np.minimum.at(buffer, pixels, depth)
    seen = np.flatnonzero(depth <= buffer[pixels])
    owner = np.full(count, -1, np.int64)
    owner[pixels[seen]] = seen
    return owner[owner >= 0]


def _barycentric(first: Array, second: Array) -> Array:
    """float32 (N, 3), never outside of a triangle, whatever the slack."""
    columns = [np.maximum(weight, 0) for weight in (first, second, 1 - first - second)]
    scale = 1 / _sum(columns)
    return np.stack([column * scale for column in columns], axis=1)

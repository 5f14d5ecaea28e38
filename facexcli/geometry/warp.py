"""Smooth warps from point pairs: thin-plate splines, sampled on a coarse grid and upsampled to `cv2.remap` maps.

Source: F. L. Bookstein, "Principal Warps: Thin-Plate Splines and the Decomposition of Deformations", IEEE TPAMI 1989.

A warp of a picture asks, for each pixel of the destination, where it comes from; so the spline's centres are the
destination points and its values the source points.
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from facexcli.types import Array

_TINY = np.float32(1e-12)


class ThinPlate:
    """The part of a thin-plate spline that depends on its centres alone, so that many sets of values can share it.

    Args:
        centres_xy: float (N, 2), N >= 3, not all on one line, in pixels. Coinciding centres are allowed: their values
            are averaged.
        smoothing: weight of the bending energy; the default is only large enough to bear coinciding centres (less
            than 0.01 px of error on a face), 1e-3 gives way by about a pixel.

    Raises:
        ValueError: fewer than three centres, or centres on one line.
    """

    def __init__(self, centres_xy: Array, smoothing: float = 1e-7) -> None:
        centres = np.asarray(centres_xy, np.float64)
        if centres.ndim != 2 or centres.shape[1] != 2 or len(centres) < 3:
            raise ValueError(f"centres_xy must be (N, 2) with N >= 3, got {centres.shape}")
        self._shift = centres.mean(axis=0)
        spread = centres - self._shift
        if np.linalg.matrix_rank(spread, tol=1e-3) < 2:
            raise ValueError("centres_xy lie on one line")
        self._scale = 1.0 / np.sqrt((spread**2).sum(axis=1).mean())
        self._centres = (spread * self._scale).astype(np.float32)
        self._smoothing = smoothing
        self._grids: dict[tuple[int, int, int], Array] = {}

    @cached_property
    def _inverse(self) -> Array:
        n = len(self._centres)
        system = np.zeros((n + 3, n + 3))
        system[:n] = self._design(self._centres)
        system[range(n), range(n)] += self._smoothing
        system[n:, :n] = system[:n, n:].T
        return np.asarray(np.linalg.inv(system))

    def _design(self, points: Array) -> Array:
        """The spline's basis at normalised points (M, 2): float32 (M, N + 3)."""
        n = len(self._centres)
        basis = np.empty((len(points), n + 3), np.float32)
        squared = basis[:, :n]
        np.subtract(points[:, :1], self._centres[:, 0], out=squared)
        squared *= squared
        dy = points[:, 1:] - self._centres[:, 1]
        squared += dy * dy
        squared *= np.log(squared + _TINY, out=dy)
        basis[:, n] = 1.0
        basis[:, n + 1 :] = points
        return basis

    def coefficients(self, values: Array) -> Array:
        """Fit values (N, D) at the centres: float32 (N + 3, D)."""
        right = np.zeros((len(self._centres) + 3, values.shape[1]))
        right[: len(values)] = values
        return np.asarray(self._inverse @ right, np.float32)

    def at(self, points_xy: Array, values: Array) -> Array:
        """The spline through `values` (N, D) at points_xy (M, 2) in pixels: float32 (M, D)."""
        points = ((np.asarray(points_xy, np.float64) - self._shift) * self._scale).astype(np.float32)
        offset = np.mean(values, axis=0, dtype=np.float64)
        return np.asarray(self._design(points) @ self.coefficients(values - offset) + offset, np.float32)

    def map(self, values: Array, size_px: int | tuple[int, int], grid_px: int = 8) -> Array:
        """The spline through `values` (N, D) at each pixel: float32 (height, width, D), D <= 4.

        It is evaluated on a grid with a node each `grid_px` pixels and interpolated linearly between. The grid's basis
        is kept, so that further values cost one small matrix product.
        """
        width, height = (size_px, size_px) if isinstance(size_px, int) else size_px
        columns, rows = -(-width // grid_px) + 2, -(-height // grid_px) + 2
        key = (width, height, grid_px)
        if key not in self._grids:
            # The nodes are the centres of grid_px cells, one ring of them outside the picture: then cv2.resize, whose
            # samples are cell centres too, interpolates up to the rim instead of clamping.
            x = np.arange(-1, columns - 1) * grid_px + (grid_px - 1) / 2
            y = np.arange(-1, rows - 1) * grid_px + (grid_px - 1) / 2
            nodes = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
            self._grids[key] = self._design(((nodes - self._shift) * self._scale).astype(np.float32))
        coarse = (self._grids[key] @ self.coefficients(values)).reshape(rows, columns, -1)
        fine = cv2.resize(coarse, (columns * grid_px, rows * grid_px), interpolation=cv2.INTER_LINEAR)
        fine = fine.reshape(rows * grid_px, columns * grid_px, -1)
        return np.ascontiguousarray(fine[grid_px : grid_px + height, grid_px : grid_px + width])


def displacement_map(
    source_xy: Array, destination_xy: Array, size_px: int | tuple[int, int], grid_px: int = 8, smoothing: float = 1e-7
) -> Array:
    """For each destination pixel the source position, by the thin-plate spline that takes one point set to the other.

    Args:
        source_xy, destination_xy: float (N, 2), in pixels of their pictures. Outside the points the warp goes on
            affinely; add pairs of equal points along the rim to keep the rim still.
        size_px: side of the square destination, or (width, height).
        grid_px: distance of the nodes where the spline is evaluated.
        smoothing: see `ThinPlate`.

    Returns:
        float32 (height, width, 2), to be used by `warp_image` or as map1 of `cv2.remap`.

    Raises:
        ValueError: point sets of different lengths, or destination points that span no plane.
    """
    if np.shape(source_xy) != np.shape(destination_xy):
        raise ValueError(f"{np.shape(source_xy)} source points for {np.shape(destination_xy)} destination points")
    return ThinPlate(destination_xy, smoothing).map(np.asarray(source_xy, np.float64), size_px, grid_px)


def warp_image(
    image: Array, source_map: Array, interpolation: int = cv2.INTER_LINEAR, border: int = cv2.BORDER_REPLICATE
) -> Array:
    """Sample `image` (any depth, 1 to 4 channels) at source_map float32 (h, w, 2): (h, w) or (h, w, channels)."""
    # None is right, whatever the stubs say: with an empty array OpenCV 5 takes the map for something else.
    warped: Array = cv2.remap(image, source_map, None, interpolation, borderMode=border)  # type: ignore[call-overload]
    return warped


def warp_points(points_xy: Array, source_xy: Array, destination_xy: Array) -> Array:
    """Move points_xy (M, 2) as the spline that takes source_xy to destination_xy (N, 2) does: float32 (M, 2)."""
    return ThinPlate(source_xy).at(points_xy, np.asarray(destination_xy, np.float64))


def similarity(source_xy: Array, destination_xy: Array) -> Array:
    """Least-squares scale, rotation and shift: float64 (3, 3), destination_from_source.

    Source: S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns", IEEE TPAMI
    1991, eqs. 40-42, in two dimensions and without reflection.
    """
    source, destination = np.asarray(source_xy, np.float64), np.asarray(destination_xy, np.float64)
    source_mean, destination_mean = source.mean(axis=0), destination.mean(axis=0)
    s, d = source - source_mean, destination - destination_mean
    spread = (s * s).sum()
    cosine = (s * d).sum() / spread
    sine = (s[:, 0] * d[:, 1] - s[:, 1] * d[:, 0]).sum() / spread
    matrix = np.eye(3)
    matrix[:2, :2] = ((cosine, -sine), (sine, cosine))
    matrix[:2, 2] = destination_mean - matrix[:2, :2] @ source_mean
    return matrix


def transform(points_xy: Array, destination_from_source: Array) -> Array:
    """Points (N, 2) through an affine float (3, 3) or (2, 3): float64 (N, 2)."""
    return np.asarray(points_xy, np.float64) @ destination_from_source[:2, :2].T + destination_from_source[:2, 2]

"""The embedded face as a surface: a fine mesh that follows any 68 points, with a forehead, normals and texture places.

Points between the landmarks lie on a thin-plate spline over the face seen in front; what the spline smooths away, and
all that an expression moves, is spread over the triangles between landmarks, so that lips can part without overshoots.
Everything is linear in the 68 points: a face is a few matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.spatial import Delaunay

from facexcli.geometry.face_shape import MEAN_SHAPE
from facexcli.geometry.warp import ThinPlate
from facexcli.types import Array

_FOREHEAD = np.array(
    [
        (-0.775, -0.20, 0.46), (-0.72, -0.42, 0.38), (-0.60, -0.62, 0.24), (-0.42, -0.76, 0.11),
        (-0.21, -0.84, 0.03), (0.0, -0.865, 0.0), (0.21, -0.84, 0.03), (0.42, -0.76, 0.11),
        (0.60, -0.62, 0.24), (0.72, -0.42, 0.38), (0.775, -0.20, 0.46),
        (-0.52, -0.42, 0.06), (-0.27, -0.52, -0.11), (0.0, -0.54, -0.165), (0.27, -0.52, -0.11), (0.52, -0.42, 0.06),
    ]
)  # fmt: skip
"""Points (16, 3) of an average forehead in face space: its hairline from temple to temple, and a row below it."""
_FOLLOWED = (*range(17, 27), 0, 1, 15, 16)
"""Landmarks that a forehead goes with: brows and temples."""
_SMOOTHING = 3e-4
_NORMAL_SMOOTHING = 3e-3
"""Of the surface that light falls on: the lips' many points would dent it."""
_DIVISIONS = 2
_STEP = 0.01
_LEAST_AREA = 2e-4
TEXTURE_RANGE = ((-0.85, 0.85), (-0.95, 1.40))
"""What part of the face seen in front a texture shows: x and y from..to, in face units."""


@dataclass(frozen=True, slots=True)
class DenseFace:
    """The fixed part of the mesh, of V vertices and T triangles over C controls: 68 points and those of the forehead.

    triangles: int64 (T, 3), clockwise in a picture of the face's front. uv: float32 (V, 2), places in a texture, 0..1.
    points, across, down: float32 (V, C), what makes vertices and tangents out of the controls. inner_mouth: bool (V,),
    what lies between the lips.
    """

    triangles: Array
    uv: Array
    points: Array
    across: Array
    down: Array
    inner_mouth: Array

    def vertices(self, shape: Array) -> Array:
        """The surface of faces (..., 68, 3): float32 (..., V, 3), in their face space."""
        return np.asarray(self.points @ _controls(shape))

    def normals(self, shape: Array) -> Array:
        """Unit normals out of the face, float32 (..., V, 3), in face space: x right, y down, z away from the camera."""
        controls = _controls(shape)
        ax, ay, az = np.moveaxis(self.across @ controls, -1, 0)
        dx, dy, dz = np.moveaxis(self.down @ controls, -1, 0)
        normals = np.stack([dy * az - dz * ay, dz * ax - dx * az, dx * ay - dy * ax], axis=-1)
        return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9))


@cache
def dense_face() -> DenseFace:
    """Made once, in some milliseconds."""
    controls = np.concatenate([MEAN_SHAPE, _FOREHEAD])[:, :2]
    triangles, mixing = _subdivided(_front_triangles(controls), np.eye(len(controls)))
    places = mixing @ controls
    spline, unit = ThinPlate(controls, _SMOOTHING), np.eye(len(controls))
    points = spline.at(places, unit) + mixing @ (unit - spline.at(controls, unit))
    smooth = ThinPlate(controls, _NORMAL_SMOOTHING)

    def slope(step: tuple[float, float]) -> Array:
        return np.asarray((smooth.at(places + step, unit) - smooth.at(places - step, unit)) / (2 * _STEP))

    across, down = slope((_STEP, 0)), slope((0, _STEP))
    inner_mouth = mixing[:, 60:68].sum(axis=1) > 1 - 1e-9
    single = [np.asarray(matrix, np.float32) for matrix in (points, across, down)]
    return DenseFace(triangles, texture_places(places), single[0], single[1], single[2], inner_mouth)


def texture_places(points: Array) -> Array:
    """Where points (N, 2 or 3) of the mean face lie in a texture: float32 (N, 2), 0..1."""
    (x0, x1), (y0, y1) = TEXTURE_RANGE
    return np.asarray((np.asarray(points)[:, :2] - (x0, y0)) / (x1 - x0, y1 - y0), np.float32)


def posed(points: Array, rotation: Array, scale: float, translation_px: Array) -> Array:
    """Face space (V, 3) to the picture: float32 (V, 3), pixels, and depth in the same unit (see `model3d.Pose`)."""
    moved = np.asarray(points, np.float32) @ (scale * np.asarray(rotation, np.float32)).T
    moved[..., :2] += np.asarray(translation_px, np.float32)
    return np.asarray(moved)


def light_axes(normals: Array, rotation: Array) -> Array:
    """Normals of face space (..., 3) as `geometry.light` has them, for a face that is turned by rotation (3, 3)."""
    return np.asarray(normals @ np.asarray(rotation, np.float32).T * np.array((1, -1, -1), np.float32))


def _controls(shape: Array) -> Array:
    """float32 (..., C, 3): the 68 points, and a forehead that goes with brows and temples."""
    given = np.asarray(shape, np.float64)
    moved = (given - MEAN_SHAPE)[..., _FOLLOWED, :].mean(axis=-2, keepdims=True)
    return np.asarray(np.concatenate([given, _FOREHEAD + moved], axis=-2), np.float32)


def _front_triangles(places: Array) -> Array:
    """Triangles (T, 3) between controls, clockwise on the screen, where y goes down."""
    triangles = Delaunay(places).simplices.astype(np.int64)
    a, b, c = (places[triangles[:, corner]] for corner in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
    triangles = np.where(area[:, None] > 0, triangles, triangles[:, ::-1])
    return np.asarray(triangles[np.abs(area) > _LEAST_AREA])


def _subdivided(triangles: Array, mixing: Array) -> tuple[Array, Array]:
    """Each triangle in 4 ** _DIVISIONS: the new triangles, and each vertex as a mixture of the controls (V, C)."""
    for _ in range(_DIVISIONS):
        edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
        distinct, which = np.unique(edges, axis=0, return_inverse=True)
        ab, bc, ca = (which.reshape(3, -1) + len(mixing))[:]
        a, b, c = triangles.T
        mixing = np.concatenate([mixing, mixing[distinct].mean(axis=1)])
        triangles = np.concatenate(
            [np.stack(corners, axis=1) for corners in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
        )
    return triangles, mixing

"""phi_3DMM: expression, pose, texture and light as the coefficients of a face model (sec. 3.2).

The paper reads them off Deep3DFaceReconstruction (Deng et al. 2019), whose 257 coefficients are identity 0:80,
expression 80:144, texture 144:224, angles 224:227, light 227:254 and translation 254:257.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from facexcli.geometry.face_shape import MEAN_SHAPE
from facexcli.geometry.model3d import Pose, fit_pose, project, unpose

if TYPE_CHECKING:
    from facexcli.types import Array, Crop

EXPRESSIVE: Array = np.array([*range(17, 27), 37, 38, 40, 41, 43, 44, 46, 47, *range(48, 60), 62, 66])
"""The 32 landmarks that expression moves: brows, lids and lips; x and y of each make 64 numbers."""

DEEP3D = "deep3dfacerecon"
"""The paper's network, see `deep3d`: by this name in results, in checkpoints and in the store of weights."""
_TEXTURE_GRID = (10, 8)
_RIDGE = 1e-2


class MotionExtractor(Protocol):
    """Expression (64,), pose (6,), texture (80,) and light (27,) of a crop, float32, by name.

    neutral: the resting shape of the person, float64 (68, 3) in face space, where one is known.
    """

    name: str

    def __call__(self, crop: Crop, neutral: Array | None = None) -> dict[str, Array]: ...


class LandmarkMotion:
    """The stand-in that comes with facex, from 68 landmarks and the pixels between them."""

    name = "landmarks"

    def __call__(self, crop: Crop, neutral: Array | None = None) -> dict[str, Array]:
        shape = MEAN_SHAPE if neutral is None else neutral
        pose = fit_pose(crop.landmarks_px, shape)
        light, brightness = _light(crop.rgb, pose)
        found = {
            "expression": _expression(crop.landmarks_px, pose, shape),
            "pose": _pose(pose, crop.size_px),
            "texture": _texture(crop.rgb, crop.landmarks_px, brightness),
            "light": light.ravel(),
        }
        return {name: np.asarray(value, np.float32) for name, value in found.items()}


def split_coefficients(coefficients: Array) -> dict[str, Array]:
    """The paper's 257 numbers by name; f_P is the angles, then the translation."""
    c = np.asarray(coefficients, np.float32)
    pose = np.concatenate([c[224:227], c[254:257]])
    return {"expression": c[80:144], "pose": pose, "texture": c[144:224], "light": c[227:254]}


def _expression(landmarks_px: Array, pose: Pose, shape: Array) -> Array:
    """How far the expressive landmarks are from their rest, in tenths of a face unit, in the face's own frame."""
    moved = unpose(landmarks_px, pose, shape) - shape
    return np.asarray(10 * moved[EXPRESSIVE, :2].ravel())


def _pose(pose: Pose, size_px: int) -> Array:
    """Yaw, pitch and roll in radians; place and log of the size of the face, in crop widths."""
    place = pose.translation_px / size_px - 0.5
    return np.array([*np.radians(pose.angles_deg), *place, np.log(pose.scale / size_px)])


@lru_cache(maxsize=1)
def _mesh() -> tuple[Array, Array]:
    """Triangles of the mean shape's skin, int (T, 3), and their normals in face space, float64 (T, 3)."""
    from scipy.spatial import Delaunay

    chosen = np.array(sorted({*range(17), *range(27, 36), *range(17, 27)}))
    triangles = chosen[Delaunay(MEAN_SHAPE[chosen, :2]).simplices]
    corners = MEAN_SHAPE[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals *= -np.sign(normals[:, 2:])  # towards the camera, which looks along z
    return triangles, normals / np.linalg.norm(normals, axis=1, keepdims=True)


def harmonics(normals: Array) -> Array:
    """The nine real spherical harmonics up to the second order (Ramamoorthi and Hanrahan 2001): (N, 3) -> (N, 9)."""
    x, y, z = np.asarray(normals, np.float64).T
    return np.stack(
        [
            np.full_like(x, 0.282095),
            0.488603 * y, 0.488603 * z, 0.488603 * x,
            1.092548 * x * y, 1.092548 * y * z, 0.315392 * (3 * z * z - 1), 1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ],
        axis=1,
    )  # fmt: skip


def _light(rgb: Array, pose: Pose) -> tuple[Array, float]:
    """The light of a face, float64 (9, 3) for red, green and blue, and how bright it makes the face, 0..1.

    Ridge least squares over the triangles of the posed mean face, as if its skin had one colour.
    """
    triangles, normals = _mesh()
    corners = project(MEAN_SHAPE, pose)[triangles]
    basis = harmonics(normals @ pose.rotation.T)
    smooth = cv2.GaussianBlur(rgb, (0, 0), 0.04 * pose.scale + 0.5)
    centres = np.clip(np.round(corners.mean(axis=1)).astype(int), 0, rgb.shape[0] - 1)
    colours = smooth[centres[:, 1], centres[:, 0]] / 255.0
    light = np.linalg.solve(basis.T @ basis + _RIDGE * len(basis) * np.eye(9), basis.T @ colours)
    return light, float((basis @ light).mean())


def _texture(rgb: Array, landmarks_px: Array, brightness: float) -> Array:
    """The face's own pattern: brightness on a grid of 10 x 8 over its box, relative to the light's."""
    low, high = landmarks_px.min(axis=0), landmarks_px.max(axis=0)
    rows, columns = _TEXTURE_GRID
    step = (high - low) / (columns, rows)
    matrix = np.array([[step[0], 0, low[0] + step[0] / 2], [0, step[1], low[1] + step[1] / 2]])
    smooth = cv2.GaussianBlur(rgb, (0, 0), float(0.4 * step.min()) + 0.3)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    grid = cv2.warpAffine(smooth, matrix, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(grid.mean(axis=2).ravel() / 255 - brightness)

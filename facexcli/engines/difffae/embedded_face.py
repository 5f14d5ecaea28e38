"""The embedded face as a physical model: no licence, no network.

The expression is eight numbers along movements of the 68 points, found by least squares; what they do not explain is
the shape. The texture is what the face's surface would look like under light of brightness 1, laid out flat.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.engines.difffae.physical import Coefficients, Rendering
from facexcli.engines.lighting import light_on, surface_of
from facexcli.geometry.dense_face import dense_face, light_axes, posed
from facexcli.geometry.face_shape import BROWS, EYES, INNER_LIPS, MEAN_SHAPE, OUTER_LIPS
from facexcli.geometry.light import linear_from_srgb, shade, srgb_from_linear
from facexcli.geometry.model3d import fit_pose, personal_shape
from facexcli.geometry.raster import Raster, rasterise
from facexcli.geometry.warp import warp_image
from facexcli.types import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.types import Crop

TEXTURE_PX = 160
_LEAST_SHADE = 0.15
_RIDGE = 0.02
"""A movement that few points speak for is taken for shape."""
_HIDDEN = 0.02
"""Face units that a texel may lie behind what is seen in its place."""
_LEAST_FACING = 0.15
_LOWER_OUTER, _LOWER_INNER, _UPPER_OUTER, _UPPER_INNER = (55, 56, 57, 58, 59), (65, 66, 67), (49, 50, 51, 52, 53), (
    61, 62, 63,
)  # fmt: skip
_CORNERS = ((48, 60), (54, 64))


@dataclass(frozen=True, slots=True)
class EmbeddedFace:
    """See `PhysicalModel`."""

    name: str = "embedded"

    def coefficients(self, crop: Crop, neutral: Array | None = None, *, texture: bool = True) -> Coefficients:
        pose = fit_pose(crop.landmarks_px, MEAN_SHAPE if neutral is None else neutral)
        points = personal_shape(crop.landmarks_px, pose, MEAN_SHAPE if neutral is None else neutral)
        expression = expression_of(points, neutral)
        surface = surface_of(crop.landmarks_px)
        light = light_on(crop, surface)
        size = crop.size_px
        centre = (pose.translation_px + 0.5) / size
        found = Coefficients(
            shape=np.asarray(points - moved(expression), np.float32),
            expression=expression,
            pose=pose.angles_deg.astype(np.float32),
            camera=np.array([pose.scale / size, *centre], np.float32),
            texture=np.zeros((0, 0, 3), np.float32),
            light=light,
        )
        if not texture:
            return found
        return Coefficients(
            found.shape, found.expression, found.pose, found.camera, texture_of(crop, found), found.light
        )

    def render(self, faces: Sequence[Coefficients], size_px: int) -> Rendering:
        face = dense_face()
        points = np.stack([_points(each) for each in faces])
        vertices, normals = face.vertices(points), face.normals(points)
        shades, placed = [], []
        for each, own_vertices, own_normals in zip(faces, vertices, normals, strict=True):
            placed.append(_placed(each, own_vertices, size_px))
            shades.append(np.maximum(shade(light_axes(own_normals, each.rotation), each.light), 0))
        raster = rasterise(np.stack(placed), face.triangles, size_px)
        uv = np.broadcast_to(face.uv, (len(faces), *face.uv.shape))
        values = raster.interpolate(np.concatenate([np.stack(shades), uv], axis=-1))
        colours = values[:, :3] * _looked_up(raster, values[:, 3:], [each.texture for each in faces])
        rgb = np.rint(255 * srgb_from_linear(colours))
        return Rendering(raster.image(rgb).astype(np.uint8), raster.covered)


def expression_of(points: Array, neutral: Array | None = None) -> Array:
    """The movements, float32 (8,), that take the resting face, or else the mean one, to points (68, 3)."""
    offsets = np.asarray(points, np.float64) - (MEAN_SHAPE if neutral is None else neutral)
    return np.asarray(_solver() @ offsets[..., :2].reshape(-1), np.float32)


def moved(expression: Array) -> Array:
    """Offsets float64 (68, 3) of movements (8,)."""
    return np.asarray(np.tensordot(np.asarray(expression, np.float64), movements(), axes=1))


@cache
def movements() -> Array:
    """float64 (8, 68, 3): jaw, wide mouth, smile, upper lip, left and right brow, left and right lids.

    Each moves its points by about a tenth of a face unit at 1.
    """
    basis = np.zeros((8, 68, 3))
    basis[0, list(_LOWER_OUTER), 1] = (0.05, 0.085, 0.1, 0.085, 0.05)
    basis[0, list(_LOWER_INNER), 1] = (0.085, 0.1, 0.085)
    basis[0, :17, 1] = 0.07 * np.sin(np.linspace(0, np.pi, 17)) ** 3
    across = MEAN_SHAPE[48:68, 0] / 0.31
    basis[1, 48:68, 0] = 0.05 * across
    basis[1, 48:68, 2] = 0.03 * across**2
    for corner in _CORNERS:
        basis[2, list(corner), 1] = -0.1
    for outer, inner in ((49, 61), (53, 63), (59, 67), (55, 65)):
        basis[2, [outer, inner], 1] = (-0.04, -0.02)
    basis[3, list(_UPPER_OUTER), 1] = (-0.03, -0.05, -0.05, -0.05, -0.03)
    basis[3, list(_UPPER_INNER), 1] = (-0.04, -0.05, -0.04)
    basis[4, 17:22, 1] = basis[5, 22:27, 1] = -0.1
    for row, eye in ((6, EYES[0]), (7, EYES[1])):
        upper, lower = (eye.start + 1, eye.start + 2), (eye.start + 4, eye.start + 5)
        basis[row, list(upper), 1], basis[row, list(lower), 1] = 0.06, -0.02
    return basis


@cache
def _solver() -> Array:
    """float64 (8, 136): movements out of planar offsets, by least squares with a little ridge.

    The outline slides and brows differ between persons, so they say less.
    """
    weights = np.full(68, 1.0)
    weights[:17], weights[BROWS] = 0.15, 0.5
    weights[OUTER_LIPS] = weights[INNER_LIPS] = 1.0
    columns = movements()[..., :2].reshape(8, -1)
    weighted = columns * np.repeat(weights, 2)
    normal = weighted @ columns.T
    return np.asarray(np.linalg.solve(normal + _RIDGE * np.trace(normal) / 8 * np.eye(8), weighted))


def texture_of(crop: Crop, face: Coefficients) -> Array:
    """The colours of the surface under light of brightness 1, float32 (TEXTURE_PX, TEXTURE_PX, 3), linear.

    What turns away from the camera or is hidden is taken from the other half of the face, or else from around.
    """
    dense, points = dense_face(), _points(face)
    vertices = _placed(face, dense.vertices(points), crop.size_px)
    normals = light_axes(dense.normals(points), face.rotation)
    flat = np.concatenate([dense.uv * TEXTURE_PX - 0.5, np.zeros((len(dense.uv), 1))], axis=1)
    texels = rasterise(flat[None], dense.triangles, TEXTURE_PX)
    values = texels.image(texels.interpolate(np.concatenate([vertices, normals], axis=1)[None]))[0]
    places, towards = values[..., :3], values[..., 3:]
    seen = rasterise(vertices[None], dense.triangles, crop.size_px)
    depth = seen.image(seen.depth[:, None], np.inf)[0]
    front = warp_image(np.minimum(depth, 1e6), places[..., :2], cv2.INTER_NEAREST)
    hidden = places[..., 2] > front.reshape(places.shape[:2]) + _HIDDEN * crop.size_px * face.camera[0]
    known = texels.covered[0] & ~hidden & (towards[..., 2] > _LEAST_FACING)
    shades = np.maximum(shade(towards, face.light), _LEAST_SHADE)
    colours = linear_from_srgb(warp_image(crop.rgb, places[..., :2])) / shades
    return _completed(colours.astype(np.float32), known)


def _completed(colours: Array, known: Array) -> Array:
    """Fill in what is not known: mirrored, then blurred from around."""
    mirrored = known[:, ::-1] & ~known
    colours = np.where(mirrored[..., None], colours[:, ::-1], colours)
    weight = (known | mirrored).astype(np.float32)
    filled: Array = np.broadcast_to(
        (colours * weight[..., None]).sum(axis=(0, 1)) / max(float(weight.sum()), 1.0), colours.shape
    )
    for sigma in (20.0, 8.0, 3.0):
        near = cv2.GaussianBlur(colours * weight[..., None], (0, 0), sigma)
        filled = (near + 1e-3 * filled) / (cv2.GaussianBlur(weight, (0, 0), sigma)[..., None] + 1e-3)
    return np.asarray(np.where(weight[..., None] > 0, colours, filled), np.float32)


def _points(face: Coefficients) -> Array:
    return np.asarray(face.shape + moved(face.expression))


def _placed(face: Coefficients, vertices: Array, size_px: int) -> Array:
    scale, *centre = (float(value) * size_px for value in face.camera)
    return posed(vertices, face.rotation, scale, np.asarray(centre) - 0.5)


def _looked_up(raster: Raster, uv: Array, textures: Sequence[Array]) -> Array:
    """Colours float32 (N, 3) of texture places uv (N, 2), each from its own picture's texture."""
    stacked = textures[0] if len(textures) == 1 else np.concatenate(list(textures))
    side = textures[0].shape[0]
    which = raster.pixels // raster.size_px**2
    places = np.clip(uv * side - 0.5, 0, side - 1)
    places[:, 1] += which * side
    # cv2.remap is limited to 32767 rows of a map
    columns = 1024
    padded = np.zeros((-(-len(places) // columns) * columns, 2), np.float32)
    padded[: len(places)] = places
    return np.asarray(warp_image(stacked, padded.reshape(-1, columns, 2)).reshape(-1, 3)[: len(places)])

"""FLAME as a physical model (sec. 4.1, eq. 2 and 3), from files that the user registered for and added.

The head is posed here, by linear blend skinning, and not by the library `smplx`: that one asks for the pickle itself,
and its licence excludes commercial use. DECA's albedo comes from a third file under terms of its own; the texture is
read off the source's picture instead, as the embedded face does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from facexcli.engines.difffae.deca import DECA_PX, DecaEncoder, load_deca
from facexcli.engines.difffae.physical import Coefficients, Rendering
from facexcli.errors import WeightsError
from facexcli.faces.align import take_crop
from facexcli.geometry.dense_face import light_axes, posed
from facexcli.geometry.light import linear_from_srgb, shade, srgb_from_linear
from facexcli.geometry.model3d import Pose
from facexcli.geometry.raster import rasterise
from facexcli.geometry.warp import warp_image
from facexcli.types import Array
from facexcli.weights.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from facexcli.types import Crop

_PARENTS = (-1, 0, 1, 1, 1)
"""Of FLAME's joints: root, neck, jaw, left and right eye."""
_JAW = 2
_SHAPES, _EXPRESSIONS, _FIRST_EXPRESSION = 100, 50, 300
_AXES = np.array((1.0, -1.0, -1.0))
"""FLAME has y up and z towards the camera, face space y down and z away from it."""
_CROP_SCALE = 1.1 * 1.25
"""DECA's crop around 68 landmarks: their box, enlarged twice (`TestData` of its code)."""
_LEAST_SHADE, _HIDDEN, _LEAST_FACING = 0.15, 0.05, 0.15
_TENSORS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f")


@dataclass(frozen=True, slots=True)
class FlameMesh:
    """FLAME's tables for V vertices: v_template (V, 3), shapedirs (V, 3, 400), posedirs (V, 3, 36), joints (5, V),
    weights (V, 5), triangles int64 (T, 3), clockwise in a picture of its front."""

    template: Array
    shapes: Array
    poses: Array
    joints: Array
    weights: Array
    triangles: Array

    def vertices(self, shape: Array, expression: Array, jaw: Array) -> Array:
        """eq. 2 with the head upright: float32 (V, 3) in face space about the root joint, in metres."""
        offsets = self.shapes[..., :_SHAPES] @ shape
        offsets += self.shapes[..., _FIRST_EXPRESSION : _FIRST_EXPRESSION + _EXPRESSIONS] @ expression
        still = self.template + offsets
        joints = self.joints @ still
        turns = np.tile(np.eye(3), (len(_PARENTS), 1, 1))
        turns[_JAW] = cv2.Rodrigues(np.asarray(jaw, np.float64))[0]
        # Pose-dependent corrections: of all joints but the root, how far their rotations are from none.
        bent = still + self.poses @ (turns[1:] - np.eye(3)).reshape(-1)
        moves = [np.eye(4)]
        for joint in range(1, len(_PARENTS)):
            local = np.eye(4)
            local[:3, :3] = turns[joint]
            local[:3, 3] = joints[joint] - turns[joint] @ joints[joint]
            moves.append(moves[_PARENTS[joint]] @ local)
        blended = np.einsum("vj,jab->vab", self.weights, np.stack(moves))
        skinned = np.einsum("vab,vb->va", blended[:, :3, :3], bent) + blended[:, :3, 3]
        return np.asarray((skinned - joints[0]) * _AXES, np.float32)

    def root(self, shape: Array, expression: Array) -> Array:
        """The root joint in FLAME's own axes, (3,)."""
        offsets = self.shapes[..., :_SHAPES] @ shape
        offsets += self.shapes[..., _FIRST_EXPRESSION : _FIRST_EXPRESSION + _EXPRESSIONS] @ expression
        return np.asarray(self.joints[0] @ (self.template + offsets))

    def normals(self, vertices: Array) -> Array:
        """Unit normals out of the head, (V, 3), for vertices (V, 3) of face space."""
        a, b, c = (vertices[self.triangles[:, corner]] for corner in range(3))
        across = np.cross(c - a, b - a)
        normals = np.zeros_like(vertices)
        for corner in range(3):
            np.add.at(normals, self.triangles[:, corner], across)
        return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12))


def load_flame(path: Path) -> FlameMesh:
    """The tables as `facex models add flame` converted them. Raises WeightsError for another format."""
    try:
        tensors = load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a safetensors file, or cut short", "facex models add flame PATH") from error
    missing = [name for name in _TENSORS if name not in tensors]
    if missing:
        raise WeightsError(f"{path}: not FLAME: it lacks {missing[0]}", "facex models add flame PATH")
    count, joints = tensors["v_template"].shape[0], len(_PARENTS)
    expected = {
        "shapedirs": (count, 3, 400), "posedirs": (count, 3, 9 * (joints - 1)), "J_regressor": (joints, count),
        "weights": (count, joints),
    }  # fmt: skip
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise WeightsError(
                f"{path}: a FLAME of another version: {name} is {tensors[name].shape}, not {shape}",
                "take generic_model.pkl of FLAME 2020",
            )
    triangles = tensors["f"].astype(np.int64)[:, ::-1]  # y points down here, so that they go round the other way
    template, shapes, poses, regressor, weights = (np.asarray(tensors[name], np.float64) for name in _TENSORS[:-1])
    return FlameMesh(template, shapes, poses, regressor, weights, _clockwise(template * _AXES, triangles))


class Flame:
    """See `PhysicalModel`. Coefficients: shape (100,), expression (50,), pose (6,): yaw, pitch, roll in degrees and the
    jaw's rotation vector; texture (V, 3), linear colours of the vertices."""

    name = "flame"

    def __init__(self, mesh: FlameMesh, encoder: DecaEncoder) -> None:
        self._mesh, self._encoder = mesh, encoder

    def coefficients(self, crop: Crop, neutral: Array | None = None, *, texture: bool = True) -> Coefficients:
        """neutral is not needed: DECA knows a resting face by its shape."""
        matrix = deca_from_crop(crop.landmarks_px)
        rgb, _ = take_crop(crop.rgb, matrix, DECA_PX)
        code = self._encoder.code(rgb)
        turn = cv2.Rodrigues(code.pose[:3].astype(np.float64))[0] * np.outer(_AXES, _AXES)
        root = self._mesh.root(code.shape, code.expression)
        # The root's place in DECA's picture (orthographic, -1..1, y up), brought to shares of the crop.
        scale, shift = float(code.camera[0]), code.camera[1:]
        place = (1 + scale * (root[:2] + shift) * (1, -1)) * DECA_PX / 2 - 0.5
        back = np.linalg.inv(matrix)
        place = back[:2, :2] @ place + back[:2, 2]
        size, zoom = crop.size_px, float(np.sqrt(abs(np.linalg.det(back[:2, :2]))))
        found = Coefficients(
            shape=code.shape,
            expression=code.expression,
            pose=np.concatenate([Pose(turn, 1.0, np.zeros(2)).angles_deg, code.pose[3:]]).astype(np.float32),
            camera=np.array([scale * DECA_PX / 2 * zoom / size, *((place + 0.5) / size)], np.float32),
            texture=np.zeros((0, 3), np.float32),
            light=code.light,
        )
        return replace(found, texture=self._texture(crop, found)) if texture else found

    def render(self, faces: Sequence[Coefficients], size_px: int) -> Rendering:
        placed, colours = [], []
        for face in faces:
            vertices, shades = self._lit(face, size_px)
            placed.append(vertices)
            colours.append(np.maximum(shades, 0) * face.texture)
        raster = rasterise(np.stack(placed), self._mesh.triangles, size_px)
        rgb = np.rint(255 * srgb_from_linear(raster.interpolate(np.stack(colours))))
        return Rendering(raster.image(rgb).astype(np.uint8), raster.covered)

    def _lit(self, face: Coefficients, size_px: int) -> tuple[Array, Array]:
        """Vertices in a picture, (V, 3), and how bright they are, (V, 3)."""
        vertices = self._mesh.vertices(face.shape, face.expression, face.pose[3:])
        scale, *centre = (float(value) * size_px for value in face.camera)
        shades = shade(light_axes(self._mesh.normals(vertices), face.rotation), face.light)
        return posed(vertices, face.rotation, scale, np.asarray(centre) - 0.5), shades

    def _texture(self, crop: Crop, face: Coefficients) -> Array:
        """Colours of the vertices under even light, float32 (V, 3); the mean where they are not seen."""
        vertices, shades = self._lit(face, crop.size_px)
        raster = rasterise(vertices[None], self._mesh.triangles, crop.size_px)
        depth = raster.image(raster.depth[:, None], 1e6)[0]
        places = np.ascontiguousarray(vertices[None, :, :2])
        front = warp_image(depth, places, cv2.INTER_NEAREST).reshape(-1)
        extent = float(np.ptp(vertices[:, 0]))
        inside = ((vertices[:, :2] >= 0) & (vertices[:, :2] <= crop.size_px - 1)).all(axis=1)
        seen = inside & (vertices[:, 2] <= front + _HIDDEN * extent)
        colours = linear_from_srgb(warp_image(crop.rgb, places)[0]) / np.maximum(shades, _LEAST_SHADE)
        mean = colours[seen].mean(axis=0) if seen.any() else np.full(3, 0.5)
        return np.where(seen[:, None], colours, mean).astype(np.float32)


def open_flame(store: Store | None = None) -> Flame:
    """FLAME and DECA's encoder out of the store. Raises WeightsError where the user has not added them."""
    known = store or Store()
    for name in ("flame", "deca"):
        if not known.installed(name):
            raise WeightsError(
                f"this checkpoint was trained on FLAME, and {name} is not installed",
                f"register with its publisher, and run `facex models add {name} PATH`",
            )
    return Flame(load_flame(known.path("flame")), load_deca(known.path("deca")))


def deca_from_crop(landmarks_px: Array) -> Array:
    """float64 (3, 3): DECA's crop of 224 px, around the box of 68 landmarks."""
    low, high = landmarks_px.min(axis=0).astype(np.float64), landmarks_px.max(axis=0).astype(np.float64)
    side = float((high - low).mean()) * _CROP_SCALE
    scale = DECA_PX / side
    matrix = np.diag((scale, scale, 1.0))
    matrix[:2, 2] = DECA_PX / 2 - 0.5 - scale * (low + high) / 2
    return matrix


def _clockwise(points: Array, triangles: Array) -> Array:
    """The triangles so that those in front of the head's middle go clockwise in a picture."""
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
    in_front = (a + b + c)[:, 2] / 3 < np.median(points[:, 2])
    turned = float(area[in_front].sum()) < 0
    return np.ascontiguousarray(triangles[:, ::-1] if turned else triangles)

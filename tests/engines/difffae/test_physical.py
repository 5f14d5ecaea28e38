"""Coefficients and renderings: each attribute changes what it should, and nothing else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from facexcli.engines.difffae.embedded_face import EmbeddedFace, expression_of, moved
from facexcli.engines.difffae.physical import Coefficients
from facexcli.engines.lighting import normalised
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.geometry.dense_face import dense_face, light_axes, posed
from facexcli.geometry.face_shape import MEAN_SHAPE
from facexcli.geometry.light import directional_light, linear_from_srgb, sh_basis
from facexcli.geometry.model3d import Pose, fit_pose, project, rotation_matrix
from facexcli.geometry.raster import rasterise
from facexcli.pipeline.stills import load_still
from facexcli.types import Array, Crop

MODEL, SIZE = EmbeddedFace(), 256


@pytest.fixture(scope="module")
def crops(eval_data: Path) -> tuple[Crop, Crop]:
    """A neutral face, and another one that smiles, turned and lit otherwise."""
    analyzer = DlibAnalyzer()
    me = load_still(eval_data / "london" / "009_neutral.jpg", analyzer).crop("ffhq", SIZE)
    other = load_still(eval_data / "portraits" / "faker_0173.jpg", analyzer).crop("ffhq", SIZE)
    return me, other


@pytest.fixture(scope="module")
def faces(crops: tuple[Crop, Crop]) -> tuple[Coefficients, Coefficients]:
    me, other = (MODEL.coefficients(crop) for crop in crops)
    return me, other


def surface(face: Coefficients) -> tuple[Array, Array]:
    """Vertices in the picture, (V, 3), and normals in the light's axes."""
    dense, points = dense_face(), face.shape + moved(face.expression)
    scale, *centre = face.camera * SIZE
    vertices = posed(dense.vertices(points), face.rotation, float(scale), np.asarray(centre) - 0.5)
    return vertices, light_axes(dense.normals(points), face.rotation)


def light_in(picture: Array, face: Coefficients) -> Array:
    """The light, fitted to a rendering of known geometry and texture."""
    vertices, normals = surface(face)
    raster = rasterise(vertices[None], dense_face().triangles, SIZE)
    basis = raster.interpolate(sh_basis(normals)[None])  # shading is interpolated between vertices
    colours = linear_from_srgb(picture).reshape(-1, 3)[raster.pixels]
    uv = raster.interpolate(dense_face().uv[None])
    side = face.texture.shape[0]
    places = np.clip(uv * side - 0.5, 0, side - 1).astype(np.float32)
    albedo = np.concatenate([cv2.remap(face.texture, part, None, cv2.INTER_LINEAR).reshape(-1, 3)
                             for part in np.array_split(places[:, None], 8)])  # fmt: skip
    clean = (colours.max(axis=1) < 0.98) & (colours.min(axis=1) > 0.004) & (albedo.min(axis=1) > 0.02)
    return np.asarray(np.linalg.lstsq(basis[clean], colours[clean] / albedo[clean], rcond=None)[0])


def pose_in(face: Coefficients, visible: Array) -> Array:
    """Yaw, pitch and roll, from where the landmarks' vertices are drawn."""
    vertices, _ = surface(face)
    where = vertices[:68, :2]  # the controls are the first vertices
    assert visible[tuple(np.rint(where[[30, 33, 57]]).astype(int).T[::-1])].all()
    return fit_pose(where, face.shape + moved(face.expression)).angles_deg


def test_a_rendering_looks_like_its_picture(crops: tuple[Crop, Crop], faces: tuple[Coefficients, Coefficients]) -> None:
    for crop, face in zip(crops, faces, strict=True):
        made = MODEL.render([face], SIZE)
        inside = cv2.erode(made.visible[0].astype(np.uint8), np.ones((9, 9))) > 0
        assert np.abs(made.rgb[0].astype(int) - crop.rgb)[inside].mean() < 6
        assert (made.rgb[0][~made.visible[0]] == 0).all()
        assert 0.1 < made.visible.mean() < 0.5


def test_light_changes_shading_and_no_geometry(faces: tuple[Coefficients, Coefficients]) -> None:
    me, other = faces
    lit = me.edited({"lighting": other}, {})
    plain, made = (MODEL.render([each], SIZE) for each in (me, lit))
    np.testing.assert_array_equal(plain.visible, made.visible)
    assert np.abs(plain.rgb.astype(int) - made.rgb)[made.visible].mean() > 3
    found = light_in(made.rgb[0], lit)
    assert np.linalg.norm(found - other.light) < 0.05 * np.linalg.norm(other.light)


def test_pose_turns_the_head_and_leaves_texture_and_light(faces: tuple[Coefficients, Coefficients]) -> None:
    me, other = faces
    turned = me.edited({"pose": other}, {})
    made = MODEL.render([turned], SIZE)
    np.testing.assert_allclose(pose_in(turned, made.visible[0]), other.pose, atol=1.0)
    np.testing.assert_array_equal(turned.texture, me.texture)
    assert np.linalg.norm(light_in(made.rgb[0], turned) - me.light) < 0.05 * np.linalg.norm(me.light)


def test_expression_moves_the_mouth_and_leaves_pose(faces: tuple[Coefficients, Coefficients]) -> None:
    me, other = faces
    smiling = me.edited({"expression": other}, {})
    np.testing.assert_array_equal(smiling.pose, me.pose)
    change = np.abs(surface(smiling)[0] - surface(me)[0])[:68].max(axis=1)
    assert change[48:68].max() > 3 * change[27:31].max()
    np.testing.assert_allclose(pose_in(smiling, MODEL.render([smiling], SIZE).visible[0]), me.pose, atol=1.0)


def test_amounts_lie_between(faces: tuple[Coefficients, Coefficients]) -> None:
    me, other = faces
    half = me.edited({"pose": other, "lighting": other}, {"pose": 0.5})
    np.testing.assert_allclose(half.pose, (me.pose + other.pose) / 2, atol=1e-4)
    np.testing.assert_allclose(half.light, other.light, atol=1e-6)
    np.testing.assert_array_equal(me.edited({"pose": other}, {"pose": 0.0}).pose, me.pose)


def test_an_expression_is_found_again() -> None:
    wanted = np.array([0.8, 0.3, -0.4, 0.2, 0.5, -0.3, 0.6, -0.2])
    found = expression_of(MEAN_SHAPE + moved(wanted))
    np.testing.assert_allclose(found, wanted, atol=0.15)  # the ridge takes a little of each


def test_a_resting_face_that_is_known_has_no_expression() -> None:
    rest = MEAN_SHAPE + moved(np.array([0.6, 0, 0.5, 0, 0, 0, 0, 0]))
    pose = Pose(rotation_matrix(10, 5, 0), 90.0, np.array((128.0, 110.0)))
    crop = Crop(np.full((SIZE, SIZE, 3), 150, np.uint8), np.eye(3), project(rest, pose).astype(np.float32), "ffhq")
    assert np.abs(MODEL.coefficients(crop, rest, texture=False).expression).max() < 0.02
    assert MODEL.coefficients(crop, texture=False).expression[0] > 0.4


def test_a_batch_is_its_pictures_one_by_one(faces: tuple[Coefficients, Coefficients]) -> None:
    together = MODEL.render(faces, 128).rgb
    for face, picture in zip(faces, together, strict=True):
        alone = MODEL.render([face], 128).rgb[0]
        assert np.abs(alone.astype(int) - picture).max() <= 1  # rounding


def test_a_light_of_a_lamp_is_rendered_from_its_side(faces: tuple[Coefficients, Coefficients]) -> None:
    me, _ = faces
    lamp = normalised(directional_light(np.array((-1.0, 0.0, 0.4)), 0.3))
    made = MODEL.render([Coefficients(me.shape, me.expression, me.pose, me.camera, me.texture, lamp)], SIZE)
    middle = int(me.camera[1] * SIZE)
    left, right = (
        made.rgb[0][:, part][made.visible[0][:, part]].mean() for part in (slice(0, middle), slice(middle, None))
    )
    assert left > 1.3 * right

"""The stand-ins for the paper's extractors, on portraits of the evaluation set and on faces made for the purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from facexcli.engines.facex.config import MOTION_SIZES, REGIONS
from facexcli.engines.facex.gaze import IrisGaze
from facexcli.engines.facex.identity import ArcFaceIdentity, DlibIdentity
from facexcli.engines.facex.motion import EXPRESSIVE, LandmarkMotion, harmonics, split_coefficients
from facexcli.engines.facex.parsing import BiSeNetParser, LandmarkParser
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.source import find_source_face
from facexcli.geometry.face_shape import MEAN_SHAPE
from facexcli.geometry.model3d import Pose, project, rotation_matrix
from facexcli.media.image import read_image
from facexcli.pipeline.painter import CropShape
from facexcli.types import Array, Crop

CropMaker = Callable[..., Crop]


@lru_cache(maxsize=8)
def portrait(path: Path) -> Crop:
    rgb = read_image(path)
    height, width = rgb.shape[:2]
    return CropShape("ffhq", 128, (width, height)).crop_still(rgb, find_source_face(rgb, DlibAnalyzer()))


@pytest.fixture
def smiling(eval_data: Path) -> Crop:
    return portrait(eval_data / "london" / "009_smiling.jpg")


@pytest.fixture
def neutral(eval_data: Path) -> Crop:
    return portrait(eval_data / "london" / "009_neutral.jpg")


def posed(yaw_deg: float, shape: Array = MEAN_SHAPE) -> Crop:
    """The mean face, turned, on grey."""
    pose = Pose(rotation_matrix(yaw_deg, 5.0, -3.0), 40.0, np.array([60.0, 50.0]))
    landmarks = project(shape, pose).astype(np.float32)
    return Crop(np.full((128, 128, 3), 128, np.uint8), np.eye(3), landmarks, "ffhq")


def test_regions_share_the_picture(smiling: Crop) -> None:
    masks = LandmarkParser()(smiling)
    assert masks.shape == (8, 128, 128) and masks.dtype == np.float32
    assert masks.min() >= 0
    np.testing.assert_allclose(masks.sum(axis=0), 1, atol=1e-5)


def test_regions_are_where_a_face_has_them(smiling: Crop) -> None:
    masks = dict(zip(REGIONS, LandmarkParser()(smiling), strict=True))
    landmarks = smiling.landmarks_px
    for region, point in (("nose", landmarks[30]), ("lips", landmarks[62]), ("eyes", landmarks[36:42].mean(axis=0)),
                          ("skin", landmarks[[2, 31]].mean(axis=0))):  # fmt: skip
        x, y = np.round(point).astype(int)
        assert masks[region][y, x] > 0.5, region
    rows, columns = np.indices((128, 128))
    assert (rows * masks["hair"]).sum() / masks["hair"].sum() < landmarks[27, 1]
    assert masks["hair"][:24, 50:78].mean() > 0.6, "the hair above her forehead"
    assert masks["background"][:40, :10].mean() > 0.95
    left = masks["ears"][:, :64]
    assert (columns[:, :64] * left).sum() / left.sum() < landmarks[1, 0] + 3


def test_nobody_gets_hair_from_a_plain_picture() -> None:
    masks = dict(zip(REGIONS, LandmarkParser()(posed(0)), strict=True))
    assert not masks["hair"].any()


def test_bisenets_classes_become_regions(crop: CropMaker) -> None:
    labels = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64) % 19
    masks = BiSeNetParser(lambda rgb: labels)(crop(0))
    np.testing.assert_array_equal(masks.sum(axis=0), 1)
    owners = {label: REGIONS[int(masks[:, 0, label].argmax())] for label in range(19)}
    assert owners[6] == "eyes" and owners[18] == "hair" and owners[12] == "lips" and owners[1] == "skin"
    assert {owners[label] for label in (0, 14, 15, 16)} == {"background"}


def test_the_numbers_have_the_papers_sizes(smiling: Crop) -> None:
    found = {**LandmarkMotion()(smiling), "gaze": IrisGaze()(smiling)}
    assert {name: value.shape for name, value in found.items()} == {name: (n,) for name, n in MOTION_SIZES.items()}
    assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in found.values())
    assert max(float(np.abs(value).max()) for value in found.values()) < 10


def test_pose_is_told_apart_from_expression() -> None:
    front, turned = LandmarkMotion()(posed(0)), LandmarkMotion()(posed(20))
    np.testing.assert_allclose(front["expression"], 0, atol=1e-2)
    np.testing.assert_allclose(turned["expression"], 0, atol=1e-2)
    assert np.degrees(turned["pose"][0] - front["pose"][0]) == pytest.approx(20, abs=0.5)
    opened = MEAN_SHAPE.copy()
    opened[[57, 58, 56, 66], 1] += 0.1
    spoken = LandmarkMotion()(posed(20, opened))["expression"].reshape(32, 2)
    lower_lip = list(EXPRESSIVE).index(57)
    assert spoken[lower_lip, 1] == pytest.approx(1.0, abs=0.1)  # in tenths of a face unit
    assert np.abs(spoken[:10]).max() < 0.1, "the brows did not move"


def test_a_known_neutral_takes_the_person_out_of_the_expression(neutral: Crop) -> None:
    broad = MEAN_SHAPE * (1.0, 1.0, 1.0)
    broad[48:60, 1] += 0.05
    own, average = (LandmarkMotion()(posed(0, broad), rest)["expression"] for rest in (broad, None))
    assert np.abs(own).max() < 0.02 < np.abs(average).max()


def test_light_from_one_side_is_found() -> None:
    plain = posed(0)
    ramp = np.broadcast_to(np.linspace(40, 220, 128)[None, :, None], (128, 128, 3)).astype(np.uint8)
    light = LandmarkMotion()(replace(plain, rgb=np.ascontiguousarray(ramp)))["light"].reshape(9, 3)
    even = LandmarkMotion()(plain)["light"].reshape(9, 3)
    right, left = (float((harmonics(np.array([[x, 0.0, -0.6]])) @ light)[0, 0]) for x in (0.8, -0.8))
    assert right > left + 0.1
    assert abs(even[3]).max() < 0.05, "the harmonic along x"


def test_a_smile_is_an_expression(smiling: Crop, neutral: Crop) -> None:
    corners = [2 * list(EXPRESSIVE).index(point) for point in (48, 54)]
    told = [LandmarkMotion()(crop)["expression"] for crop in (smiling, neutral)]
    width = [expression[corners[1]] - expression[corners[0]] for expression in told]
    assert width[0] > width[1] + 0.3


def test_the_papers_coefficients_are_split_as_its_model_orders_them() -> None:
    parts = split_coefficients(np.arange(257))
    assert {name: len(part) for name, part in parts.items()} == {name: MOTION_SIZES[name] for name in parts}
    np.testing.assert_array_equal(parts["pose"], [224, 225, 226, 254, 255, 256])
    assert parts["expression"][0] == 80 and parts["texture"][0] == 144 and parts["light"][0] == 227


def test_identity_is_the_persons(smiling: Crop, neutral: Crop, eval_data: Path) -> None:
    extract = DlibIdentity()
    somebody_else = portrait(eval_data / "london" / "033_neutral.jpg")
    one, again, other = (extract(crop) for crop in (smiling, neutral, somebody_else))
    assert one.shape == (1, 128)
    assert np.linalg.norm(one - again) < 0.6 < np.linalg.norm(one - other)  # dlib's own threshold


def test_arcface_sees_an_aligned_face_and_gives_49_places(smiling: Crop) -> None:
    seen: list[Array] = []

    def features(rgb: Array) -> Array:
        seen.append(rgb)
        return np.arange(512 * 49, dtype=np.float32).reshape(512, 7, 7)

    found = ArcFaceIdentity(features)(smiling)
    assert seen[0].shape == (112, 112, 3)
    assert found.shape == (49, 512)
    np.testing.assert_array_equal(found[3], np.arange(512) * 49 + 3)  # the fourth place of the first row

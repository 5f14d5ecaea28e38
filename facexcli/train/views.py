"""Several views of one face: frames of a video, or a still that is turned, lit and cut in other ways."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from facexcli.affine import transform_points
from facexcli.engines.lighting import mixed_light, normalised, relit
from facexcli.faces.align import crop_from_frame, take_crop
from facexcli.geometry.light import directional_light, even_light
from facexcli.geometry.model3d import Pose, fit_pose, personal_shape, project, rotation_matrix
from facexcli.geometry.warp import displacement_map, warp_image
from facexcli.types import Crop

if TYPE_CHECKING:
    from facexcli.types import Array, TemplateName

TEMPLATES: tuple[TemplateName, ...] = ("ffhq", "head")
"""The crops that FaceX works in: the first for swaps, the second where the head moves or is taken along."""

_TURN_DEG = (18.0, 10.0, 8.0)
"""Yaw, pitch and roll of a new view, at most; more would show what the picture does not have."""
_MOST_YAW_DEG = 40.0
_RIM_POINTS = 6
_RELIT_SHARE = 0.6
_SHIFT, _GROWTH, _TILT_DEG = 0.02, 0.04, 3.0
"""How far the cut of a new view is off, at most: in crop widths, as a share of its size, and in degrees."""


@dataclass(frozen=True, slots=True)
class WideFace:
    """A face with all that any crop may need: twice the `head` crop's pixels, as many as the `ffhq` crop has in its
    part. rgb: uint8 (2S, 2S, 3). landmarks_px: float64 (68, 2)."""

    rgb: Array
    landmarks_px: Array

    def crop(self, template: TemplateName, size_px: int, cut: Array | None = None) -> Crop:
        """The aligned face. cut: a matrix (3, 3) in crop widths that moves the crop away from where it should be."""
        matrix = crop_from_frame(self.landmarks_px, template, size_px)
        if cut is not None:
            scale = np.diag([size_px, size_px, 1.0])
            matrix = scale @ cut @ np.linalg.inv(scale) @ matrix
        rgb, _ = take_crop(self.rgb, matrix, size_px)
        landmarks = transform_points(matrix, self.landmarks_px).astype(np.float32)
        return Crop(rgb, matrix, landmarks, template)


def wide_face(rgb: Array, landmarks_px: Array, size_px: int, aspect_ratio: float = 1.0) -> WideFace:
    """From a picture uint8 (H, W, 3) with landmarks (68, 2) in its pixels; size_px: of the crops to come."""
    matrix = crop_from_frame(landmarks_px, "head", 2 * size_px, aspect_ratio)
    cut, _ = take_crop(rgb, matrix, 2 * size_px)
    return WideFace(cut, transform_points(matrix, landmarks_px))


def plain_view(face: WideFace, size_px: int) -> dict[TemplateName, Crop]:
    """As an engine would get it."""
    return {template: face.crop(template, size_px) for template in TEMPLATES}


def other_view(face: WideFace, size_px: int, random: np.random.Generator) -> dict[TemplateName, Crop]:
    """Turned, perhaps lit from elsewhere, and not cut exactly."""
    turned = _turned(face, random)
    if random.random() < _RELIT_SHARE:
        turned = _relit(turned, random)
    cut = _cut(random)
    return {template: turned.crop(template, size_px, cut) for template in TEMPLATES}


def _turned(face: WideFace, random: np.random.Generator) -> WideFace:
    """The landmarks go with the head of the picture's own proportions; the picture follows, and its rim stays."""
    side = face.rgb.shape[0]
    pose = fit_pose(face.landmarks_px)
    shape = personal_shape(face.landmarks_px, pose)
    yaw, pitch, roll = pose.angles_deg + random.uniform(-1, 1, 3) * _TURN_DEG
    rotation = rotation_matrix(float(np.clip(yaw, -_MOST_YAW_DEG, _MOST_YAW_DEG)), pitch, roll)
    moved = project(shape, Pose(rotation, pose.scale, pose.translation_px))
    edge = np.linspace(0, side - 1, _RIM_POINTS)
    rim = np.array([(x, y) for x in edge for y in edge if min(x, y) == 0 or max(x, y) == side - 1])
    source_map = displacement_map(np.vstack([face.landmarks_px, rim]), np.vstack([moved, rim]), side)
    return WideFace(warp_image(face.rgb, source_map), moved)


def _relit(face: WideFace, random: np.random.Generator) -> WideFace:
    towards = np.array([random.uniform(-1, 1), random.uniform(-0.3, 1), random.uniform(0.3, 1)])
    lamp = normalised(directional_light(towards))
    light = mixed_light(normalised(even_light()), lamp, float(random.uniform(0.2, 0.8)))
    crop = Crop(face.rgb, np.eye(3), face.landmarks_px.astype(np.float32), "head")
    rgb, _ = relit(crop, light)
    return replace(face, rgb=np.asarray(np.round(255 * rgb), np.uint8))


def _cut(random: np.random.Generator) -> Array:
    angle = np.radians(_TILT_DEG) * random.uniform(-1, 1)
    factor = np.exp(np.log1p(_GROWTH) * random.uniform(-1, 1)) * np.exp(1j * angle)
    turn = np.array([[factor.real, -factor.imag, 0], [factor.imag, factor.real, 0], [0, 0, 1]])
    middle = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    shift = np.eye(3)
    shift[:2, 2] = random.uniform(-_SHIFT, _SHIFT, 2)
    return np.asarray(shift @ middle @ turn @ np.linalg.inv(middle))

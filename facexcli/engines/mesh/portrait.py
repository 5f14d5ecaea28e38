"""A still portrait, prepared to be moved: its pose, its own 3-D points, the head around them, and what must not
move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facexcli.engines.mesh.eyelids import Eye, find_eyes, without_eyes
from facexcli.engines.mesh.lips import with_lip_edges
from facexcli.engines.mesh.mouth import MouthLook, find_seam, study_mouth
from facexcli.geometry.model3d import Pose, fit_pose, personal_shape

if TYPE_CHECKING:
    from facexcli.types import Array, Crop

_HEAD_CENTRE = np.array([0.0, 0.1, 0.75])
"""Middle of the skull in face space: the outline of a turning head stays around it."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """rgb: uint8 (S, S, 3); lidless: the same with bare skin where the eyes are. points_px: float64 (72, 2), the
    landmarks and four points more of the lips. shape: float64 (72, 3) in face space; with `pose` it
    projects to the landmarks. ring_px: (N, 2) points of the head's outline, which follow the skull with the weights
    ring_weights (N,), 1 for hair and less down the neck. anchors_px: (M, 2) points that stay.
    """

    rgb: Array
    lidless: Array
    points_px: Array
    pose: Pose
    shape: Array
    ring_px: Array
    ring_weights: Array
    anchors_px: Array
    eyes: tuple[Eye, Eye]
    mouth: MouthLook

    @property
    def size_px(self) -> int:
        return int(self.rgb.shape[0])

    @property
    def centre_px(self) -> Array:
        """Projection of the skull's middle, float64 (2,)."""
        return np.asarray(self.pose.scale * self.pose.rotation[:2] @ _HEAD_CENTRE + self.pose.translation_px)


def prepare_portrait(crop: Crop) -> Portrait:
    """Study a portrait once. Costs tens of milliseconds."""
    pose = fit_pose(crop.landmarks_px)
    landmarks = find_seam(crop.rgb, crop.landmarks_px, pose.scale)
    eyes = find_eyes(landmarks)
    ring, weights = _ring(landmarks, pose)
    return Portrait(
        rgb=crop.rgb,
        lidless=without_eyes(crop.rgb, eyes),
        points_px=with_lip_edges(landmarks),
        pose=pose,
        shape=with_lip_edges(personal_shape(landmarks, pose)),
        ring_px=ring,
        ring_weights=weights,
        anchors_px=_anchors(pose, crop.size_px),
        eyes=eyes,
        mouth=study_mouth(crop.rgb, landmarks),
    )


def head_centre() -> Array:
    return _HEAD_CENTRE


def _in_picture(pose: Pose) -> tuple[Array, Array]:
    """Unit vectors of the head in the picture, in pixels: to the right and down along the head's axis."""
    roll = np.radians(pose.roll_deg)
    right = pose.scale * np.array([np.cos(roll), np.sin(roll)])
    return right, np.array([-right[1], right[0]])


def _ring(landmarks: Array, pose: Pose) -> tuple[Array, Array]:
    """Points around the head from one side of the neck over the crown to the other, and how much each follows the
    skull."""
    right, down = _in_picture(pose)
    brow = landmarks[[19, 24]].mean(axis=0)
    middle = brow + 0.3 * down
    angles = np.radians(np.arange(-30, 211, 20))  # 0 to the right, 90 up
    ring = [middle + np.cos(a) * 1.12 * right - np.sin(a) * 1.45 * down for a in angles]
    inner = [middle + np.cos(a) * 0.72 * right - np.sin(a) * 0.95 * down for a in np.radians(np.arange(20, 161, 20))]
    chin = landmarks[8]
    neck, neck_weights = [], []
    for depth, weight, width in ((0.25, 0.55, 0.5), (0.55, 0.25, 0.6), (0.9, 0.05, 0.9)):
        for side in (-1.0, -0.5, 0.0, 0.5, 1.0):
            neck.append(chin + depth * down + side * width * right)
            neck_weights.append(weight)
    weights = np.concatenate([np.ones(len(ring)), np.ones(len(inner)), neck_weights])
    return np.array([*ring, *inner, *neck]), weights


def _anchors(pose: Pose, size_px: int) -> Array:
    """Still points: the rim of the crop, a ring in the background, and the shoulders."""
    right, down = _in_picture(pose)
    rim = np.linspace(0, size_px - 1, 7)
    edge = [(a, b) for b in (0, size_px - 1) for a in rim] + [(b, a) for b in (0, size_px - 1) for a in rim[1:-1]]
    middle = pose.translation_px
    ring = [middle + np.cos(a) * 2.1 * right - np.sin(a) * 2.3 * down for a in np.radians(np.arange(-30, 211, 20))]
    shoulders = [middle + 2.55 * down + side * right for side in (-1.2, -0.6, 0.0, 0.6, 1.2)]
    points = np.array([*edge, *ring, *shoulders])
    inside = ((points >= 0) & (points <= size_px - 1)).all(axis=1)
    return np.asarray(points[inside])

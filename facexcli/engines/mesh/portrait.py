"""A still portrait, prepared to be moved: its pose, its own 3-D points, the relief of its head, its eyes and its
mouth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.engines.mesh.eyelids import Eye, find_eyes, without_eyes
from facexcli.engines.mesh.head import Head, prepare_head
from facexcli.engines.mesh.lips import with_lip_edges
from facexcli.engines.mesh.mouth import MouthLook, find_seam, study_mouth
from facexcli.geometry.model3d import Pose, fit_pose, personal_shape

if TYPE_CHECKING:
    from facexcli.types import Array, Crop


@dataclass(frozen=True, slots=True)
class Portrait:
    """rgb: uint8 (S, S, 3); lidless: the same with bare skin where the eyes are. landmarks_px: (68, 2) as
    given; points_px: float64 (72, 2), the same with lips that meet at their seam and four points more of them. shape:
    float64 (72, 3) in face space; with `pose` it projects to them. anchors_px: (N, 2) points around the face that no
    expression moves; face_window: float32 (S, S, 1), 1 inside them, 0 farther out.
    """

    rgb: Array
    lidless: Array
    landmarks_px: Array
    points_px: Array
    pose: Pose
    shape: Array
    anchors_px: Array
    face_window: Array
    head: Head
    eyes: tuple[Eye, Eye]
    mouth: MouthLook

    @property
    def size_px(self) -> int:
        return int(self.rgb.shape[0])


def prepare_portrait(crop: Crop) -> Portrait:
    """Study a portrait once. Costs tens of milliseconds."""
    pose = fit_pose(crop.landmarks_px)
    landmarks = find_seam(crop.rgb, crop.landmarks_px, pose.scale)
    shape = with_lip_edges(personal_shape(landmarks, pose))
    eyes = find_eyes(landmarks)
    anchors = _anchors(pose)
    return Portrait(
        rgb=crop.rgb,
        lidless=without_eyes(crop.rgb, eyes),
        landmarks_px=crop.landmarks_px,
        points_px=with_lip_edges(landmarks),
        pose=pose,
        shape=shape,
        anchors_px=anchors,
        face_window=_window(anchors, crop.size_px),
        head=prepare_head(shape, pose, crop.size_px),
        eyes=eyes,
        mouth=study_mouth(crop.rgb, landmarks, pose.scale),
    )


def _anchors(pose: Pose) -> Array:
    """Still points around the face, (N, 2) in pixels: expressions end at the hairline, the ears and the middle of the
    neck."""
    roll = np.radians(pose.roll_deg)
    right = pose.scale * np.array([np.cos(roll), np.sin(roll)])
    down = np.array([-right[1], right[0]])
    angles = np.radians(np.arange(0, 360, 20))
    across, along = 1.15 * np.cos(angles), 0.45 + np.where(np.sin(angles) > 0, 1.35, 1.2) * np.sin(angles)
    return np.asarray(pose.translation_px + across[:, None] * right + along[:, None] * down)


def _window(anchors: Array, size_px: int) -> Array:
    mask = np.zeros((size_px, size_px), np.uint8)
    cv2.fillConvexPoly(mask, np.round(anchors).astype(np.int32), 255)
    reach = max(float(np.ptp(anchors[:, 0])) * 0.04, 1.0)
    inside = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=round(2 * reach))
    return np.asarray(cv2.GaussianBlur(inside, (0, 0), reach)[..., None] / np.float32(255))

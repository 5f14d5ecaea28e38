"""A head as a relief over the portrait: what turns with the skull, how deep it lies, and where the stillness begins.

Hair, ears and neck have no landmarks. They get the depth of a skull around the face and, away from it, less and less
of the motion, so that head and background stay one picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.geometry.model3d import Pose, project
from facexcli.geometry.warp import ThinPlate, warp_image

if TYPE_CHECKING:
    from facexcli.types import Array

HEAD_CENTRE = np.array([0.0, 0.1, 0.75])
"""Middle of the skull in face space: the outline of a turning head stays around it."""
_GRID_PX = 6
_STEPS = 24
_LEAST_SLOPE = 0.25
"""Steps in the portrait for a step in the moved picture; below this, it is about to fold."""
_DEPTH_SMOOTHING = 1e-3
"""Cheeks bend away from the camera so steeply that a turned relief would fold; smoothing lays them flatter."""
_SKULL = np.array(
    [
        (-0.5, -0.7, 0.05), (0.0, -0.75, -0.12), (0.5, -0.7, 0.05),
        (-0.6, -1.15, 0.5), (0.0, -1.2, 0.35), (0.6, -1.15, 0.5), (0.0, -1.6, 0.75),
        (-0.85, -0.45, 0.5), (0.85, -0.45, 0.5), (-1.0, 0.0, 0.75), (1.0, 0.0, 0.75),
        (-0.95, 0.5, 0.75), (0.95, 0.5, 0.75),
        (-0.45, 1.6, 0.6), (0.0, 1.6, 0.45), (0.45, 1.6, 0.6), (-0.8, 2.1, 0.75), (0.0, 2.1, 0.65), (0.8, 2.1, 0.75),
        *((2.2 * np.cos(a), -2.2 * np.sin(a), 0.75) for a in np.radians(np.arange(-60, 241, 30))),
    ]
)  # fmt: skip
"""Points (N, 3) of an average head around the 68 landmarks, in face space: forehead, crown, sides, neck, and the still
surroundings, which lie at the depth of the skull's middle."""


@dataclass(frozen=True, slots=True)
class Head:
    """The relief of one portrait. pose: as it was taken. places: float32 (h, w, 2), grid nodes in pixels, one ring of
    them outside the picture. depth: float32 (h, w), along the view, in face units. weight: float32 (h, w), share of the
    motion: 1 on the head, 0 on shoulders and background.
    """

    size_px: int
    pose: Pose
    places: Array
    depth: Array
    weight: Array


@dataclass(frozen=True, slots=True)
class Turn:
    """A head in motion. shifts: float32 (h, w, 2), how far each grid node went, in pixels. source_map: float32 (S, S,
    2), where each pixel of the moved picture comes from.
    """

    shifts: Array
    source_map: Array

    def of_points(self, points_px: Array) -> Array:
        """Where points (N, 2) of the portrait went: float64 (N, 2)."""
        places = _node_index(np.asarray(points_px, np.float32)[None])
        return np.asarray(np.asarray(points_px, np.float64) + warp_image(self.shifts, places)[0])


def prepare_head(shape: Array, pose: Pose, size_px: int) -> Head:
    """The relief around a face of shape (N, 3) in face space, seen at `pose` in a picture of `size_px`."""
    nodes = np.arange(-1, -(-size_px // _GRID_PX) + 1, dtype=np.float32) * _GRID_PX + (_GRID_PX - 1) / 2
    places = np.stack(np.meshgrid(nodes, nodes), axis=-1)
    seen = np.concatenate([shape, _SKULL]) @ pose.rotation.T
    spline = ThinPlate(pose.scale * seen[:, :2] + pose.translation_px, _DEPTH_SMOOTHING)
    depth = spline.at(places.reshape(-1, 2), seen[:, 2:]).reshape(places.shape[:2])
    return Head(size_px, pose, places, np.clip(depth, -0.7, 0.8), _weights(places, pose))


def _weights(places: Array, pose: Pose) -> Array:
    """Share of the motion at `places`: an ellipse around hair and chin that ends softly, and a neck that bends."""
    roll = np.radians(pose.roll_deg)
    right = np.array([np.cos(roll), np.sin(roll)])
    local = (places - pose.translation_px) / pose.scale
    x, y = local @ right, local @ np.array([-right[1], right[0]])
    radius = np.hypot(x / 1.15, (y + 0.05) / 1.6)
    head = np.clip((1.95 - radius) / 0.95, 0, 1)
    neck = np.clip((2.5 - y) / 1.3, 0, 1)
    share = np.minimum(head, neck)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def turn_head(head: Head, pose: Pose) -> Turn:
    """Move the head from the pose that it was taken in to `pose`; it turns about its own middle, in perspective of
    depth."""
    rest = head.pose
    seen = (head.places - rest.translation_px) / rest.scale
    seen = np.concatenate([seen, head.depth[..., None]], axis=-1)
    turned = seen @ (pose.rotation @ rest.rotation.T)[:2].T
    moved = pose.scale * turned + pose.translation_px
    shifts = (head.weight[..., None] * (moved - head.places)).astype(np.float32)
    return Turn(shifts, _inverse(head, shifts))


def _inverse(head: Head, shifts: Array) -> Array:
    """For each pixel the place that was moved there: fixed-point iteration on the grid, then linear interpolation."""
    origin = head.places.astype(np.float32)
    for _ in range(_STEPS):
        origin = head.places - warp_image(shifts, _node_index(origin))
    soft = _without_folds(origin)
    fine = cv2.resize(soft, None, fx=_GRID_PX, fy=_GRID_PX, interpolation=cv2.INTER_LINEAR)
    return np.array(fine[_GRID_PX : _GRID_PX + head.size_px, _GRID_PX : _GRID_PX + head.size_px])


def _without_folds(origin: Array) -> Array:
    """Where the far cheek of a turned head hides behind the near one, the iteration lands on either: blur the place."""
    across = np.diff(origin[..., 0], axis=1, append=np.inf) < _LEAST_SLOPE * _GRID_PX
    along = np.diff(origin[..., 1], axis=0, append=np.inf) < _LEAST_SLOPE * _GRID_PX
    folded = across | along
    if not folded.any():
        return origin
    near = cv2.GaussianBlur(cv2.dilate(folded.astype(np.float32), np.ones((5, 5), np.uint8)), (5, 5), 0)[..., None]
    return np.asarray(origin + near * (cv2.GaussianBlur(origin, (7, 7), 0) - origin))


def _node_index(places: Array) -> Array:
    """Coordinates of pixels on the grid of nodes, float32, for cv2.remap."""
    return np.asarray((places - np.float32((_GRID_PX - 1) / 2)) / np.float32(_GRID_PX) + 1, np.float32)


def centre_px(pose: Pose) -> Array:
    """Where the middle of the skull is seen, float64 (2,)."""
    return np.asarray(project(HEAD_CENTRE[None], pose)[0])

"""Reenact: the portrait's own pixels, moved as the driving face moves relative to its own rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.engines.mesh.eyelids import close_eye
from facexcli.engines.mesh.lips import LIP_LINE, mouth_gap, move_lips
from facexcli.engines.mesh.mouth import SHUT, paint_mouth
from facexcli.engines.mesh.performance import STILL, Gesture, Performance, perform
from facexcli.engines.mesh.portrait import Portrait, head_centre, prepare_portrait
from facexcli.geometry.face_shape import BROWS, EYES, OUTLINE
from facexcli.geometry.model3d import Pose, project
from facexcli.geometry.warp import ThinPlate, warp_image
from facexcli.types import Array, Patch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.types import Crop, EditRequest, Motion

_GRID_PX = 8
_FINE_GRID_PX = 2
_JAW_PROFILE = np.sin(np.linspace(0, np.pi, 17)) ** 1.5
_TEETH_EDGE = 0.035
"""Face units from the resting upper lip's inner edge down to the edge of the upper teeth."""


@dataclass(frozen=True, slots=True)
class MotionState:
    """A prepared portrait, and the performance that moves it (None: driving crops are read one by one)."""

    portrait: Portrait
    performance: Performance | None


def prepare_motion(sources: Sequence[Crop], motion: Motion | None) -> MotionState:
    return MotionState(prepare_portrait(sources[0]), perform(motion) if motion is not None else None)


def render_motion(state: MotionState, request: EditRequest) -> Patch:
    portrait = state.portrait
    gesture = _gesture(state, request)
    pose = _posed(portrait, gesture)
    shape = _expressed(portrait, gesture)
    targets = project(shape, pose)
    source_map = _source_map(portrait, pose, targets)
    moved = warp_image(portrait.rgb, source_map)
    for eye, points, opening in zip(portrait.eyes, EYES, gesture.lids, strict=True):
        box = _eye_box(targets[points], eye.half_width_px, portrait.size_px)
        x0, y0, x1, y1 = box
        moved[y0:y1, x0:x1] = close_eye(
            portrait.rgb, portrait.lidless, source_map, box, eye, float(np.clip(opening, 0, 1.3))
        )
    picture = np.multiply(moved, np.float32(1 / 255), dtype=np.float32)
    if portrait.mouth.gap_px < SHUT * portrait.pose.scale:
        lift = float((shape - portrait.shape)[[61, 62, 63], 1].mean()) * pose.scale
        opened = (mouth_gap(shape) - mouth_gap(portrait.shape)) * float(np.linalg.norm(targets[60] - targets[64]))
        paint_mouth(picture, targets[LIP_LINE], opened, _TEETH_EDGE * pose.scale - lift, portrait.mouth)
    return Patch(picture, _rim_alpha(portrait.size_px))


def _gesture(state: MotionState, request: EditRequest) -> Gesture:
    if state.performance is None:
        return STILL
    return state.performance.at(request.providers["pose"].frame_index)


def _posed(portrait: Portrait, gesture: Gesture) -> Pose:
    """The portrait's head turned about its own middle, and shifted and brought nearer as the driver's."""
    rotation = gesture.rotation @ portrait.pose.rotation
    scale = portrait.pose.scale * gesture.zoom
    driver_shift = gesture.shift * portrait.pose.scale
    return Pose(rotation, scale, portrait.pose.translation_px + driver_shift)


def _expressed(portrait: Portrait, gesture: Gesture) -> Array:
    """The portrait's 3-D points (72, 3) with the driver's expression, in proportion to the portrait's face."""
    shape, lip_drop = move_lips(portrait.shape, gesture.lips)
    shape[BROWS, :2] += gesture.brows
    # The chin's landmarks are noisy and slide; the lower lip rides on the jaw and says how far it can have gone.
    low, high = sorted((0.35 * lip_drop, 1.0 * lip_drop))
    shape[OUTLINE, 1] += float(np.clip(gesture.jaw, low, high)) * _JAW_PROFILE
    return shape


def _source_map(portrait: Portrait, pose: Pose, targets: Array) -> Array:
    rest = portrait.pose
    centre = rest.scale * rest.rotation[:2] @ head_centre() + rest.translation_px
    new_centre = pose.scale * pose.rotation[:2] @ head_centre() + pose.translation_px
    turn = np.radians(pose.roll_deg - rest.roll_deg)
    zoom = pose.scale / rest.scale
    matrix = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    rigid = (portrait.ring_px - centre) @ matrix.T + new_centre
    ring = portrait.ring_px + portrait.ring_weights[:, None] * (rigid - portrait.ring_px)
    sources = np.concatenate([portrait.points_px, portrait.ring_px, portrait.anchors_px])
    spline = ThinPlate(np.concatenate([targets, ring, portrait.anchors_px]))
    source_map = spline.map(sources, portrait.size_px, _GRID_PX)
    _refine(source_map, spline, sources, targets[48:], 0.15 * pose.scale)
    return source_map


def _refine(source_map: Array, spline: ThinPlate, sources: Array, points: Array, margin_px: float) -> None:
    """Sample the spline more densely around `points` (N, 2), where it bends sharply; source_map is changed in place."""
    size = source_map.shape[0]
    step = _FINE_GRID_PX
    low = np.clip(np.floor((points.min(axis=0) - margin_px) / _GRID_PX) * _GRID_PX, 0, size).astype(int)
    high = np.clip(np.ceil((points.max(axis=0) + margin_px) / _GRID_PX) * _GRID_PX, 0, size).astype(int)
    columns, rows = (high - low) // step
    if columns < 1 or rows < 1:
        return
    x = low[0] + np.arange(-1, columns + 1) * step + (step - 1) / 2
    y = low[1] + np.arange(-1, rows + 1) * step + (step - 1) / 2
    nodes = spline.at(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2), sources)
    fine = cv2.resize(nodes.reshape(rows + 2, columns + 2, 2), None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
    x1, y1 = low[0] + columns * step, low[1] + rows * step
    source_map[low[1] : y1, low[0] : x1] = fine[step:-step, step:-step]


def _eye_box(points: Array, half_width_px: float, size_px: int) -> tuple[int, int, int, int]:
    centre = points.mean(axis=0)
    x0, y0 = np.floor(centre - half_width_px * np.array([1.35, 1.5])).astype(int)
    x1, y1 = np.ceil(centre + half_width_px * np.array([1.35, 1.2])).astype(int) + 1
    return max(int(x0), 0), max(int(y0), 0), min(int(x1), size_px), min(int(y1), size_px)


def _rim_alpha(size_px: int) -> Array:
    """1 inside, 0 at the crop's rim."""
    place = np.arange(size_px, dtype=np.float32)
    ramp = np.clip(np.minimum(place, place[::-1]) / np.float32(0.06 * size_px), 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return np.minimum(ramp[:, None], ramp[None])

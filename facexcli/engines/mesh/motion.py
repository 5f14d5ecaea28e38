"""Reenact: the portrait's own pixels, moved as the driving face moves relative to its own rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.engines.mesh.eyelids import close_eye
from facexcli.engines.mesh.head import HEAD_CENTRE, Turn, centre_px, turn_head
from facexcli.engines.mesh.lips import LIP_LINE, mouth_gap, move_lips
from facexcli.engines.mesh.mouth import paint_mouth
from facexcli.engines.mesh.performance import STILL, Gesture, Performance, gesture_of_still, perform
from facexcli.engines.mesh.portrait import Portrait, prepare_portrait
from facexcli.fusion.mask import rim_alpha
from facexcli.geometry.face_shape import BROWS, EYES, OUTLINE
from facexcli.geometry.model3d import Pose, project, rotation_matrix
from facexcli.geometry.warp import ThinPlate, warp_image
from facexcli.types import LANDMARK_COUNT, Array, Patch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.types import Crop, EditRequest, Motion

_GRID_PX = 8
_FINE_GRID_PX = 2
_MOST_TURN_DEG = np.array([36.0, 30.0, 60.0])
_MOST_SHIFT = 0.5
"""Yaw, pitch and roll, and face units, that the head of a portrait may go at most."""
_JAW_PROFILE = np.sin(np.linspace(0, np.pi, 17)) ** 1.5
_TEETH_EDGE = 0.035
"""Face units from the resting upper lip's inner edge down to the edge of the upper teeth."""


@dataclass(frozen=True, slots=True)
class MotionState:
    """A prepared portrait, and the performance that moves it (None: driving crops are read one by one)."""

    portrait: Portrait
    performance: Performance | None


def prepare_motion(sources: Sequence[Crop], motion: Motion | None) -> MotionState:
    """Study the portrait, `sources[0]`, and the driver's clip. Takes a tenth of a second."""
    return MotionState(prepare_portrait(sources[0]), perform(motion) if motion is not None else None)


def render_motion(state: MotionState, request: EditRequest) -> Patch:
    """The canvas, moved as the providers of pose, expression and gaze (here: lids) are at this frame.

    The patch is made of the canvas's own pixels only; alpha is 1 but for a soft rim.
    """
    portrait = _portrait_of(state, request.canvas)
    gesture = _gesture(state, request)
    shape = _expressed(portrait, gesture)
    pose = _posed(portrait, gesture)
    turn = turn_head(portrait.head, pose)
    expressed_px = _met(turn, project(shape, portrait.pose), project(shape, pose))
    source_map = compose(turn.source_map, portrait, expressed_px)
    moved = warp_image(portrait.rgb, source_map)
    for eye, points, opening in zip(portrait.eyes, EYES, gesture.lids, strict=True):
        box = _eye_box(turn.of_points(portrait.points_px[points]), eye.half_width_px, portrait.size_px)
        x0, y0, x1, y1 = box
        moved[y0:y1, x0:x1] = close_eye(
            portrait.rgb, portrait.lidless, source_map, box, eye, float(np.clip(opening, 0, 1.3))
        )
    picture = np.multiply(moved, np.float32(1 / 255), dtype=np.float32)
    lip_line = turn.of_points(expressed_px[LIP_LINE])
    opened = (mouth_gap(shape) - mouth_gap(portrait.shape)) * float(np.linalg.norm(lip_line[0] - lip_line[6]))
    lift = float((shape - portrait.shape)[[61, 62, 63], 1].mean())
    teeth_edge = (_TEETH_EDGE - lift) * portrait.pose.scale
    paint_mouth(picture, lip_line, opened, teeth_edge, portrait.mouth, portrait.rgb, _teeth_map(turn, portrait, pose))
    return Patch(picture, rim_alpha(portrait.size_px), landmarks_px=turn.of_points(expressed_px[:LANDMARK_COUNT]))


def _portrait_of(state: MotionState, canvas: Crop) -> Portrait:
    """The prepared portrait if `canvas` is the same picture, as it is for a still; another frame is studied anew."""
    known = state.portrait
    same = (
        canvas.rgb.shape == known.rgb.shape
        and bool(np.abs(canvas.landmarks_px - known.landmarks_px).max() < 0.1)
        # A still that went through YUV comes back with rounding errors.
        and float(cv2.absdiff(canvas.rgb[::8, ::8], known.rgb[::8, ::8]).mean()) < 2.0
    )
    return known if same else prepare_portrait(canvas)


def _gesture(state: MotionState, request: EditRequest) -> Gesture:
    """Pose, expression and lids, each from its own provider; at rest where none is named."""
    read: dict[int, Gesture] = {}

    def of(attribute: str) -> Gesture:
        crop = request.providers.get(attribute)
        if crop is None:
            return STILL
        if state.performance is not None:
            return state.performance.at(crop.frame_index)
        if id(crop) not in read:
            read[id(crop)] = gesture_of_still(_upright(crop))
        return read[id(crop)]

    pose, expression, lids = of("pose"), of("expression"), of("gaze").lids
    return Gesture(pose.turn_deg, pose.shift, pose.zoom, expression.brows, expression.jaw, expression.lips, lids)


def _upright(crop: Crop) -> Array:
    """The crop's landmarks (68, 2) without the turn that aligned the crop: as they are tilted in their frame."""
    along_x = crop.crop_from_frame[:2, 0]
    cosine, sine = along_x / np.linalg.norm(along_x)
    return np.asarray(crop.landmarks_px @ np.array([[cosine, -sine], [sine, cosine]]), np.float64)


def _posed(portrait: Portrait, gesture: Gesture) -> Pose:
    """The portrait's head turned about its own middle, and shifted and brought nearer as the driver's."""
    turn = _MOST_TURN_DEG * np.tanh(gesture.turn_deg / _MOST_TURN_DEG)
    rotation = rotation_matrix(*(portrait.pose.angles_deg + turn))
    scale = portrait.pose.scale * float(np.clip(gesture.zoom, 0.8, 1.25))
    shift = _MOST_SHIFT * np.tanh(gesture.shift / _MOST_SHIFT)
    centre = centre_px(portrait.pose) + shift * portrait.pose.scale
    return Pose(rotation, scale, centre - scale * rotation[:2] @ HEAD_CENTRE)


def _expressed(portrait: Portrait, gesture: Gesture) -> Array:
    """The portrait's 3-D points (72, 3) with the driver's expression, in proportion to the portrait's face."""
    lips = gesture.lips
    if portrait.mouth.own is not None:  # there is no picture of what lies above the teeth
        lips = replace(lips, lift=min(lips.lift, 0.0))
    shape, lip_drop = move_lips(portrait.shape, lips)
    shape[BROWS, :2] += gesture.brows
    # The chin's landmarks are noisy and slide; the lower lip rides on the jaw and says how far it can have gone.
    low, high = sorted((0.35 * lip_drop, 1.0 * lip_drop))
    shape[OUTLINE, 1] += float(np.clip(gesture.jaw, low, high)) * _JAW_PROFILE
    return shape


def _met(turn: Turn, points_px: Array, wanted_px: Array) -> Array:
    """Move the features of the resting head (72, 2) so that its turn, whose relief is flatter than a face, takes them
    to wanted_px. The outline stays: on it a sharper relief would fold."""
    result = points_px.copy()
    for _ in range(3):
        result[OUTLINE.stop :] += (wanted_px - turn.of_points(result))[OUTLINE.stop :]
    return result


def _teeth_map(turn: Turn, portrait: Portrait, pose: Pose) -> Array:
    """Where the teeth come from: through the head's motion, brought to where `_met` takes a mouth at rest."""
    inner = portrait.points_px[LIP_LINE]
    wanted = project(portrait.shape[LIP_LINE], pose)
    missed = (wanted - turn.of_points(inner)).mean(axis=0)
    return np.asarray(turn.source_map - missed.astype(np.float32))


def compose(head_map: Array, portrait: Portrait, expressed_px: Array) -> Array:
    """Where each pixel comes from: back through the head's motion, then through the expression. float32 (S, S, 2).

    expressed_px (72, 2): the portrait's points as the expression moves them while the head keeps its pose.
    """
    sources = np.concatenate([portrait.points_px, portrait.anchors_px])
    spline = ThinPlate(np.concatenate([expressed_px, portrait.anchors_px]))
    shifts = np.zeros_like(head_map)
    _sample(shifts, spline, sources, portrait.anchors_px, _GRID_PX)
    _sample(shifts, spline, sources, expressed_px[48:], _FINE_GRID_PX, 0.15 * portrait.pose.scale)
    shifts *= portrait.face_window
    return head_map + warp_image(shifts, head_map, border=cv2.BORDER_CONSTANT)


def _sample(shifts: Array, spline: ThinPlate, sources: Array, around: Array, step: int, margin_px: float = 0.0) -> None:
    """Write the spline's displacement into `shifts` (S, S, 2) over the box around some points, every `step` pixels."""
    size = shifts.shape[0] // _GRID_PX * _GRID_PX
    low = np.clip(np.floor((around.min(axis=0) - margin_px) / _GRID_PX) * _GRID_PX, 0, size).astype(int)
    high = np.clip(np.ceil((around.max(axis=0) + margin_px) / _GRID_PX) * _GRID_PX, 0, size).astype(int)
    columns, rows = (high - low) // step
    if columns < 1 or rows < 1:
        return
    x = low[0] + np.arange(-1, columns + 1) * step + (step - 1) / 2
    y = low[1] + np.arange(-1, rows + 1) * step + (step - 1) / 2
    nodes = np.stack(np.meshgrid(x, y), axis=-1)
    coarse = (spline.at(nodes.reshape(-1, 2), sources) - nodes.reshape(-1, 2)).astype(np.float32)
    fine = cv2.resize(coarse.reshape(nodes.shape), None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
    shifts[low[1] : low[1] + rows * step, low[0] : low[0] + columns * step] = fine[step:-step, step:-step]


def _eye_box(points: Array, half_width_px: float, size_px: int) -> tuple[int, int, int, int]:
    centre = points.mean(axis=0)
    x0, y0 = np.floor(centre - half_width_px * np.array([1.35, 1.5])).astype(int)
    x1, y1 = np.ceil(centre + half_width_px * np.array([1.35, 1.2])).astype(int) + 1
    return max(int(x0), 0), max(int(y0), 0), min(int(x1), size_px), min(int(y1), size_px)

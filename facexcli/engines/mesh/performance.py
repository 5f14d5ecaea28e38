"""What a driving face does, relative to its own rest: the track of one clip, ready to be put on another face."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import savgol_filter

from facexcli.engines.mesh.head import centre_px
from facexcli.engines.mesh.lips import RESTING_LIPS, LipMotion, lip_motion, measure_lips, mouth_width
from facexcli.geometry.face_shape import BROWS, MEAN_SHAPE
from facexcli.geometry.model3d import (
    NeutralFace,
    Pose,
    eye_openings,
    fit_pose,
    fit_poses,
    neutral_of,
    unpose,
)

if TYPE_CHECKING:
    from facexcli.types import Array, Motion

_HEAD_WINDOW = 5
_FACE_WINDOW = 7
_SPEECH_WINDOW = 5


_USUAL_LIDS = (0.13, 0.3)
"""Lid distance over eye width of shut and of open eyes, as landmarks have it."""
_SHUT_GAP = 0.05
"""Lips further apart than this, over the mouth's width, are not shut; a driver may never shut them."""


@dataclass(frozen=True, slots=True)
class Gesture:
    """One frame of a performance, in units that fit any face.

    turn_deg: float64 (3,), yaw, pitch and roll from the driver's resting pose. shift: float64 (2,), how far the
    middle of the skull went in the picture, in face units. zoom: how much nearer it came (1: not at all). brows:
    float64 (10, 2), from the resting face, in face space. jaw: how far the chin dropped, in face units. lids: float64
    (2,), opening of each eye over its open state, 0 shut.
    """

    turn_deg: Array
    shift: Array
    zoom: float
    brows: Array
    jaw: float
    lips: LipMotion
    lids: Array


STILL = Gesture(np.zeros(3), np.zeros(2), 1.0, np.zeros((10, 2)), 0.0, RESTING_LIPS, np.ones(2))
"""The gesture of a face at rest."""


@dataclass(frozen=True, slots=True)
class Performance:
    """The gestures of a clip. frame_indices: int64 (T,), ascending; neutral: the driver's resting face."""

    neutral: NeutralFace
    frame_indices: Array
    gestures: tuple[Gesture, ...]

    def at(self, frame_index: int) -> Gesture:
        """The gesture of a frame; of the nearest one where the track has a gap."""
        after = int(np.searchsorted(self.frame_indices, frame_index))
        before = max(after - 1, 0)
        after = min(after, len(self.frame_indices) - 1)
        gaps = abs(int(self.frame_indices[before]) - frame_index), abs(int(self.frame_indices[after]) - frame_index)
        return self.gestures[before if gaps[0] < gaps[1] else after]


def perform(motion: Motion) -> Performance:
    """Read the gestures of a clip off its landmark track, relative to the driver's own rest."""
    neutral = neutral_of(motion)
    return Performance(neutral, np.asarray(motion.frame_indices), _gestures(motion.landmarks_px, neutral))


def gesture_of_still(landmarks_px: Array) -> Gesture:
    """The gesture of one picture (68, 2) of somebody whose rest is not known: relative to the mean face, seen in
    front."""
    pose = fit_pose(landmarks_px)
    in_front = Pose(np.eye(3), pose.scale, pose.translation_px)
    mean = NeutralFace(MEAN_SHAPE, in_front, np.full(2, _USUAL_LIDS[1]), np.full(2, _USUAL_LIDS[0]))
    # Where the head is in the picture says nothing without a rest.
    return replace(_gestures(landmarks_px[None], mean)[0], shift=np.zeros(2))


def _gestures(landmarks_px: Array, neutral: NeutralFace) -> tuple[Gesture, ...]:
    poses = fit_poses(landmarks_px, neutral.points)
    rest = neutral.pose
    turns = _smooth(np.array([pose.angles_deg for pose in poses]) - rest.angles_deg, _HEAD_WINDOW)
    shifts = _smooth(np.stack([(centre_px(pose) - centre_px(rest)) / rest.scale for pose in poses]), _HEAD_WINDOW)
    zooms = _smooth(np.array([[pose.scale / rest.scale] for pose in poses]), _HEAD_WINDOW)[:, 0]

    faces = np.stack([unpose(frame, pose, neutral.points) for frame, pose in zip(landmarks_px, poses, strict=True)])
    # Seen from the side, a landmark's motion is mostly error: expressions fade to rest there.
    trust = np.array([np.clip((pose.rotation[2, 2] - 0.75) / 0.17, 0, 1) for pose in poses])
    offsets = (trust[:, None, None] * (faces - neutral.points))[..., :2]
    offsets = _smooth(offsets.reshape(len(faces), -1), _FACE_WINDOW).reshape(-1, 68, 2)
    jaws = offsets[:, [7, 8, 9], 1].mean(axis=1)
    lids, lips = _lids(faces, neutral), _lips(faces, neutral.points, trust)
    return tuple(
        Gesture(turn, shift, float(zoom), brow, float(jaw), lip, lid)
        for turn, shift, zoom, brow, jaw, lip, lid in zip(
            turns, shifts, zooms, _brows(offsets), jaws, lips, lids, strict=True
        )
    )


def _lids(faces: Array, neutral: NeutralFace) -> Array:
    """Openings (T, 2) of the eyes, 1 open and 0 shut. They follow each frame: a blink is too short to smooth."""
    opened, closed = neutral.eye_opening_open, neutral.eye_opening_closed
    lids = np.stack([(eye_openings(face) - closed) / (opened - closed) for face in faces])
    # Both lids move together; the mean of the two has half the noise, and a wink still shows.
    return np.asarray(0.7 * lids.mean(axis=1, keepdims=True) + 0.3 * lids)


def _lips(faces: Array, neutral: Array, trust: Array) -> list[LipMotion]:
    """The lips of each frame. The gap follows each frame, for speech is fast; what goes with it is smoothed."""
    measures = np.stack([measure_lips(face) for face in faces])
    gaps = measures[:, 4].copy()
    rest = measure_lips(neutral)
    measures = _smooth(rest + trust[:, None] * (measures - rest), _SPEECH_WINDOW)
    measures[:, 4] = gaps
    rest[4] = min(float(np.quantile(gaps, 0.05)), _SHUT_GAP)
    return [lip_motion(frame, rest, mouth_width(neutral)) for frame in measures]


def _brows(offsets: Array) -> Array:
    """Offsets (T, 10, 2) of brows that move as two wholes rather than as ten noisy points."""
    brows = offsets[:, BROWS].reshape(len(offsets), 2, 5, 2)
    whole = brows.mean(axis=2, keepdims=True)
    share = np.array([0.0, 0.5])  # along the brow, nothing of a single point's motion; across it, half
    return np.asarray((whole + share * (brows - whole)).reshape(len(offsets), 10, 2))


def _smooth(signal: Array, window: int) -> Array:
    """Zero-phase quadratic smoothing of (T, D) along time; short tracks use the longest odd window that fits."""
    window = min(window, len(signal) - 1 + len(signal) % 2)
    if window < 5:
        return signal
    return np.asarray(savgol_filter(signal, window, 2, axis=0, mode="nearest"))

"""What a driving face does, relative to its own rest: the track of one clip, ready to be put on another face."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

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
from facexcli.tracks import in_parts

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


@dataclass(frozen=True, slots=True, eq=False)
class Gestures:
    """The gestures of T frames as columns, 0.3 kB a frame; an item is a `Gesture`.

    turns_deg (T, 3), shifts (T, 2), zooms (T,), brows (T, 10, 2), jaws (T,), lids (T, 2): float64, as in `Gesture`.
    lips: float64 (T, 8) of `measure_lips`, and resting_lips (8,); mouth_width: of the resting mouth.
    """

    turns_deg: Array
    shifts: Array
    zooms: Array
    brows: Array
    jaws: Array
    lids: Array
    lips: Array
    resting_lips: Array
    mouth_width: float

    def __len__(self) -> int:
        return len(self.zooms)

    def __getitem__(self, row: int) -> Gesture:
        return Gesture(
            self.turns_deg[row], self.shifts[row], float(self.zooms[row]), self.brows[row], float(self.jaws[row]),
            lip_motion(self.lips[row], self.resting_lips, self.mouth_width), self.lids[row],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Performance:
    """The gestures of a clip. frame_indices: int64 (T,), ascending; neutral: the driver's resting face."""

    neutral: NeutralFace
    frame_indices: Array
    gestures: Gestures

    def at(self, frame_index: int) -> Gesture:
        """The gesture of a frame; of the nearest one where the track has a gap."""
        return self.gestures[self.row_of(frame_index)]

    def row_of(self, frame_index: int) -> int:
        """Which of the gestures is that of a frame."""
        after = int(np.searchsorted(self.frame_indices, frame_index))
        before = max(after - 1, 0)
        after = min(after, len(self.frame_indices) - 1)
        gaps = abs(int(self.frame_indices[before]) - frame_index), abs(int(self.frame_indices[after]) - frame_index)
        return before if gaps[0] < gaps[1] else after


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


def _gestures(landmarks_px: Array, neutral: NeutralFace) -> Gestures:
    seen = _Seen.of(len(landmarks_px))
    for part in in_parts(len(landmarks_px)):
        seen.look(part, landmarks_px[part], neutral)
    trust = seen.trust[:, None]
    # The gap follows each frame, for speech is fast; what goes with it is smoothed.
    gaps, resting_lips = seen.lips[:, 4].copy(), measure_lips(neutral.points)
    lips = _smooth(resting_lips + trust * (seen.lips - resting_lips), _SPEECH_WINDOW)
    lips[:, 4] = gaps
    resting_lips[4] = min(float(np.quantile(gaps, 0.05)), _SHUT_GAP)
    return Gestures(
        turns_deg=_smooth(seen.turns_deg, _HEAD_WINDOW),
        shifts=_smooth(seen.shifts, _HEAD_WINDOW),
        zooms=_smooth(seen.zooms[:, None], _HEAD_WINDOW)[:, 0],
        brows=_brows(_smooth(trust * seen.brows, _FACE_WINDOW)),
        jaws=_smooth(trust * seen.jaws[:, None], _FACE_WINDOW)[:, 0],
        # They follow each frame: a blink is too short to smooth. Both lids move together; the mean of the two has half
        # the noise, and a wink still shows.
        lids=0.7 * seen.lids.mean(axis=1, keepdims=True) + 0.3 * seen.lids,
        lips=lips,
        resting_lips=resting_lips,
        mouth_width=mouth_width(neutral.points),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What is seen in each of T frames, not smoothed. trust: float64 (T,), 0..1; brows: (T, 20), jaws: (T,), offsets
    from the resting face; lids: (T, 2), 1 open and 0 shut; the rest as in `Gestures`."""

    turns_deg: Array
    shifts: Array
    zooms: Array
    trust: Array
    brows: Array
    jaws: Array
    lids: Array
    lips: Array

    @classmethod
    def of(cls, count: int) -> Self:
        return cls(*(np.empty((count, *size)) for size in ((3,), (2,), (), (), (20,), (), (2,), (8,))))

    def look(self, part: slice, landmarks_px: Array, neutral: NeutralFace) -> None:
        """Fill in the frames `part`, of which the landmarks (t, 68, 2) are given."""
        rest, poses = neutral.pose, fit_poses(landmarks_px, neutral.points)
        faces = np.stack(
            [unpose(points, pose, neutral.points) for points, pose in zip(landmarks_px, poses, strict=True)]
        )
        offsets = (faces - neutral.points)[..., :2]
        opened, closed = neutral.eye_opening_open, neutral.eye_opening_closed
        self.turns_deg[part] = [pose.angles_deg - rest.angles_deg for pose in poses]
        self.shifts[part] = [(centre_px(pose) - centre_px(rest)) / rest.scale for pose in poses]
        self.zooms[part] = [pose.scale / rest.scale for pose in poses]
        # Seen from the side, a landmark's motion is mostly error: expressions fade to rest there.
        self.trust[part] = [np.clip((pose.rotation[2, 2] - 0.75) / 0.17, 0, 1) for pose in poses]
        self.brows[part] = offsets[:, BROWS].reshape(len(faces), -1)
        self.jaws[part] = offsets[:, [7, 8, 9], 1].mean(axis=1)
        self.lids[part] = [(eye_openings(face) - closed) / (opened - closed) for face in faces]
        self.lips[part] = [measure_lips(face) for face in faces]


def _brows(offsets: Array) -> Array:
    """Offsets (T, 10, 2), out of (T, 20), of brows that move as two wholes rather than as ten noisy points."""
    brows = offsets.reshape(len(offsets), 2, 5, 2)
    whole = brows.mean(axis=2, keepdims=True)
    share = np.array([0.0, 0.5])  # along the brow, nothing of a single point's motion; across it, half
    return np.asarray((whole + share * (brows - whole)).reshape(len(offsets), 10, 2))


def _smooth(signal: Array, window: int) -> Array:
    """Zero-phase quadratic smoothing of (T, D) along time; short tracks use the longest odd window that fits."""
    window = min(window, len(signal) - 1 + len(signal) % 2)
    if window < 5:
        return signal
    return np.asarray(savgol_filter(signal, window, 2, axis=0, mode="nearest"))

"""What a driving face does, relative to its own rest: the track of one clip, ready to be put on another face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import savgol_filter

from facexcli.geometry.face_shape import INNER_LIPS, OUTER_LIPS, OUTLINE
from facexcli.geometry.model3d import NeutralFace, eye_openings, fit_poses, neutral_of, unpose

if TYPE_CHECKING:
    from facexcli.types import Array, Motion

_HEAD_WINDOW = 7
_FACE_WINDOW = 7
_SPEECH_WINDOW = 5


_SHUT_GAP = 0.05
"""Lips further apart than this, over the mouth's width, are not shut; a driver may never shut them."""


def mouth_gap(points: Array) -> float:
    """Mean distance of the inner lips over the inner mouth's width, from points (68, 2 or 3), of which x and y
    count."""
    planar = np.asarray(points, np.float64)[:, :2]
    gaps = np.linalg.norm(planar[61:64] - planar[67:64:-1], axis=1)
    return float(gaps.mean() / max(float(np.linalg.norm(planar[60] - planar[64])), 1e-6))


@dataclass(frozen=True, slots=True)
class Gesture:
    """One frame of a performance, in units that fit any face.

    rotation: float64 (3, 3), from the driver's resting pose to this one. shift: float64 (2,), how far the head went in
    the picture, in face units. zoom: how much nearer it came (1: not at all). offsets: float64 (68, 3) in face space
    from the resting face, without the lids. gap: how much wider than at rest the lips are apart, over the inner
    mouth's width. lids: float64 (2,), opening of each eye over its open state, 0 shut.
    """

    rotation: Array
    shift: Array
    zoom: float
    offsets: Array
    gap: float
    lids: Array


STILL = Gesture(np.eye(3), np.zeros(2), 1.0, np.zeros((68, 3)), 0.0, np.ones(2))
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
    """Read the gestures of a clip off its landmark track."""
    neutral = neutral_of(motion)
    poses = fit_poses(motion.landmarks_px, neutral.points)
    rest = neutral.pose
    turns = np.stack([pose.rotation @ rest.rotation.T for pose in poses])
    turns = _nearest_rotations(_smooth(turns.reshape(-1, 9), _HEAD_WINDOW).reshape(-1, 3, 3))
    shifts = _smooth(
        np.stack([(pose.translation_px - rest.translation_px) / rest.scale for pose in poses]), _HEAD_WINDOW
    )
    zooms = _smooth(np.array([[pose.scale / rest.scale] for pose in poses]), _HEAD_WINDOW)[:, 0]

    faces = np.stack(
        [unpose(frame, pose, neutral.points) for frame, pose in zip(motion.landmarks_px, poses, strict=True)]
    )
    offsets = _plausible(faces - neutral.points)
    opened, closed = neutral.eye_opening_open, neutral.eye_opening_closed
    lids = np.stack([(eye_openings(face) - closed) / (opened - closed) for face in faces])
    # Both lids move together; the mean of the two has half the noise, and a wink still shows.
    lids = 0.7 * lids.mean(axis=1, keepdims=True) + 0.3 * lids
    gaps = np.array([mouth_gap(face) for face in faces])
    gaps -= min(float(np.quantile(gaps, 0.05)), _SHUT_GAP)
    gestures = tuple(
        Gesture(turn, shift, float(zoom), offset, float(gap), lid)
        for turn, shift, zoom, offset, gap, lid in zip(turns, shifts, zooms, offsets, gaps, lids, strict=True)
    )
    return Performance(neutral, np.asarray(motion.frame_indices), gestures)


def _plausible(offsets: Array) -> Array:
    """Keep what a face can do: the nose stays, brows move as two wholes, the outline follows the chin."""
    result = np.zeros_like(offsets)
    lips = np.r_[OUTER_LIPS, INNER_LIPS]
    smoothed = _smooth(offsets[:, lips].reshape(len(offsets), -1), _SPEECH_WINDOW).reshape(-1, len(lips), 3)
    result[:, lips] = np.einsum("ab,tbd->tad", _SMOOTH_LIPS, smoothed)
    slow = _smooth(offsets.reshape(len(offsets), -1), _FACE_WINDOW).reshape(offsets.shape)
    for brow in (slice(17, 22), slice(22, 27)):
        result[:, brow, 1] = 0.5 * slow[:, brow, 1] + 0.5 * slow[:, brow, 1].mean(axis=1, keepdims=True)
        result[:, brow, 0] = slow[:, brow, 0].mean(axis=1, keepdims=True)
    # The chin's own landmarks are noisy and slide; the lower lip rides on the jaw, and says how far it can have gone.
    lip_drop = result[:, [56, 57, 58], 1].mean(axis=1)
    chin_drop = slow[:, [7, 8, 9], 1].mean(axis=1)
    low, high = np.minimum(0.3 * lip_drop, lip_drop), np.maximum(0.3 * lip_drop, lip_drop)
    drop = np.clip(chin_drop, low, high)
    profile = np.sin(np.linspace(0, np.pi, 17)) ** 1.5
    result[:, OUTLINE, 1] = drop[:, None] * profile
    return result


def _lip_smoother() -> Array:
    """(20, 20): replaces the offsets of the lips' points by the quadratics along the four lip edges that fit them best.

    Single landmarks jump by a pixel; a lip does not. Both edges of a corner end in the mean of their two curves.
    """
    total, shares = np.zeros((20, 20)), np.zeros(20)
    for edge in ([0, 1, 2, 3, 4, 5, 6], [6, 7, 8, 9, 10, 11, 0], [12, 13, 14, 15, 16], [16, 17, 18, 19, 12]):
        along = np.linspace(-1, 1, len(edge))
        basis = np.stack([np.ones_like(along), along, along**2], axis=1)
        total[np.ix_(edge, edge)] += basis @ np.linalg.pinv(basis)
        shares[edge] += 1
    return np.asarray(total / shares[:, None])


_SMOOTH_LIPS = _lip_smoother()


def _smooth(signal: Array, window: int) -> Array:
    """Zero-phase quadratic smoothing of (T, D) along time; short tracks use the longest odd window that fits."""
    window = min(window, len(signal) - 1 + len(signal) % 2)
    if window < 5:
        return signal
    return np.asarray(savgol_filter(signal, window, 2, axis=0, mode="nearest"))


def _nearest_rotations(matrices: Array) -> Array:
    left, _, right = np.linalg.svd(matrices)
    return np.asarray(left @ right)

"""Pose and expression of a face from 68 landmarks, by the embedded mean face under weak perspective.

    landmarks = scale * (rotation @ points)[:2] + translation                     (scaled orthography)

Face space: unit is the distance of the outer eye corners of the mean face, origin midway between them, x to the right
of the picture, y down, z away from the camera. Angles as in `types.Face`: yaw > 0 turns to the picture's right, pitch
> 0 looks down, roll > 0 tilts clockwise; rotation = roll about z @ yaw about y @ pitch about x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facexcli.geometry.face_shape import EYES, MEAN_SHAPE, RIGID_WEIGHTS
from facexcli.tracks import in_parts
from facexcli.types import LANDMARK_COUNT, Array

if TYPE_CHECKING:
    from facexcli.types import Motion

_STEPS = 8
_AT_ONCE = 256
_RESIDUAL_SCALE = 0.06
"""Residuals of this size, in face units, count half: the spread of points between persons."""
_LEAST_COSINE = 0.35
"""Foreshortening is undone up to the factor that belongs to 70 degrees; beyond, noise would grow without bound."""


@dataclass(frozen=True, slots=True)
class Pose:
    """A weak-perspective camera on face space. rotation: float64 (3, 3); scale: pixels a face unit; translation_px
    (2,)."""

    rotation: Array
    scale: float
    translation_px: Array

    @property
    def yaw_deg(self) -> float:
        return float(np.degrees(np.arcsin(np.clip(self.rotation[2, 0], -1.0, 1.0))))

    @property
    def pitch_deg(self) -> float:
        return float(np.degrees(np.arctan2(self.rotation[2, 1], self.rotation[2, 2])))

    @property
    def roll_deg(self) -> float:
        return float(np.degrees(np.arctan2(self.rotation[1, 0], self.rotation[0, 0])))

    @property
    def angles_deg(self) -> Array:
        """Yaw, pitch and roll, float64 (3,); `rotation_matrix(*angles_deg)` is `rotation`."""
        return np.array([self.yaw_deg, self.pitch_deg, self.roll_deg])


@dataclass(frozen=True, slots=True)
class NeutralFace:
    """The resting face of one person, and how it is usually held.

    points: float64 (68, 3) in face space, mouth closed, eyes open, everything else at its median. pose: the median
    pose. eye_opening_open, eye_opening_closed: float64 (2,), lid distance over eye width (as
    `evaluate.measures.eye_opening`) of each eye when it is open, and when it is shut.
    """

    points: Array
    pose: Pose
    eye_opening_open: Array
    eye_opening_closed: Array


def rotation_matrix(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Array:
    """float64 (3, 3), the inverse of the angles of `Pose`."""
    yaw, pitch, roll = np.radians([-yaw_deg, pitch_deg, roll_deg])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def project(points: Array, pose: Pose) -> Array:
    """Points of face space (N, 3) to pixels: float64 (N, 2)."""
    return np.asarray(pose.scale * np.asarray(points, np.float64) @ pose.rotation[:2].T + pose.translation_px)


def fit_pose(landmarks_px: Array, shape: Array = MEAN_SHAPE) -> Pose:
    """The pose of `shape` (68, 3) that explains landmarks_px (68, 2), given in square pixels.

    Robust least squares over the points that move with the skull; expression and identity are left to `unpose`.
    """
    return fit_poses(np.asarray(landmarks_px)[None], shape)[0]


def fit_poses(landmarks_px: Array, shape: Array = MEAN_SHAPE) -> list[Pose]:
    """`fit_pose` of landmarks_px (T, 68, 2), many at once.

    Gauss-Newton on rotation, scale and translation with Geman-McClure weights, from the orthonormalised affine fit.
    Raises ValueError for another shape of landmarks.
    """
    landmarks = np.asarray(landmarks_px)
    if landmarks.ndim != 3 or landmarks.shape[1:] != (LANDMARK_COUNT, 2):
        raise ValueError(f"landmarks_px must be (T, 68, 2), got {landmarks.shape}")
    # A few hundred at once: each takes 20 kB on the way, and a track may be as long as a film.
    return [
        pose
        for first in range(0, len(landmarks), _AT_ONCE)
        for pose in _fitted(landmarks[first : first + _AT_ONCE].astype(np.float64), shape)
    ]


def _fitted(landmarks: Array, shape: Array) -> list[Pose]:
    rotations, scales, shifts = _affine_start(landmarks, shape)
    for _ in range(_STEPS):
        turned = np.einsum("nij,kj->nki", rotations, shape)
        residuals = landmarks - scales[:, None, None] * turned[..., :2] - shifts[:, None]
        sizes = np.linalg.norm(residuals, axis=2) / scales[:, None]
        weights = RIGID_WEIGHTS / (1.0 + (sizes / _RESIDUAL_SCALE) ** 2) ** 2
        step = _gauss_newton_step(turned, residuals, weights, scales)
        rotations = _rotations(np.clip(step[:, :3], -0.5, 0.5)) @ rotations
        scales = scales * np.exp(np.clip(step[:, 3], -0.5, 0.5))
        shifts = shifts + step[:, 4:]
    return [Pose(r, float(s), t) for r, s, t in zip(rotations, scales, shifts, strict=True)]


def reprojection_error(landmarks_px: Array, pose: Pose, shape: Array = MEAN_SHAPE) -> float:
    """Root of the weighted mean squared distance between landmarks (68, 2) and the posed shape, in face units."""
    squared = ((np.asarray(landmarks_px, np.float64) - project(shape, pose)) ** 2).sum(axis=1)
    return float(np.sqrt(np.average(squared, weights=RIGID_WEIGHTS)) / pose.scale)


def unpose(landmarks_px: Array, pose: Pose, shape: Array = MEAN_SHAPE) -> Array:
    """Landmarks (68, 2) in the face's own frame: float64 (68, 3).

    Each point keeps the depth of `shape`; x and y are those that project to the landmark, so `project(unpose(l, p), p)`
    gives l back (up to yaws of about 70 degrees, where foreshortening is no longer undone).
    """
    in_plane = (np.asarray(landmarks_px, np.float64) - pose.translation_px) / pose.scale
    residuals = in_plane - shape @ pose.rotation[:2].T
    left, singular, right = np.linalg.svd(pose.rotation[:2, :2])
    inverse = (right.T / np.maximum(singular, _LEAST_COSINE)) @ left.T
    points = np.array(shape, np.float64)
    points[:, :2] += residuals @ inverse.T
    return points


def personal_shape(landmarks_px: Array, pose: Pose, shape: Array = MEAN_SHAPE) -> Array:
    """The shape (68, 3) of one portrait: as `unpose`, but each point moves least, so that it projects to its landmark
    exactly."""
    in_plane = (np.asarray(landmarks_px, np.float64) - pose.translation_px) / pose.scale
    return np.asarray(shape + (in_plane - shape @ pose.rotation[:2].T) @ pose.rotation[:2])


def _affine_start(landmarks: Array, shape: Array) -> tuple[Array, Array, Array]:
    """Rotations (N, 3, 3), scales (N,), shifts (N, 2): the weighted affine fit, made orthonormal."""
    weights = RIGID_WEIGHTS / RIGID_WEIGHTS.sum()
    shape_mean, means = weights @ shape, np.einsum("k,nki->ni", weights, landmarks)
    centred = shape - shape_mean
    normal = np.einsum("k,ka,kb->ab", weights, centred, centred)
    # Identity blurs the depth that few near-frontal points see: a ridge keeps the start from taking it for rotation.
    normal += 1e-3 * np.trace(normal) * np.eye(3)
    affine = np.einsum("nki,k,ka->nia", landmarks - means[:, None], weights, centred) @ np.linalg.inv(normal)
    left, singular, right = np.linalg.svd(affine, full_matrices=False)
    axes = left @ right
    rotations = np.concatenate([axes, np.cross(axes[:, 0], axes[:, 1])[:, None]], axis=1)
    scales = np.maximum(singular.mean(axis=1), 1e-9)
    return rotations, scales, means - scales[:, None] * (axes @ shape_mean)


def _gauss_newton_step(turned: Array, residuals: Array, weights: Array, scales: Array) -> Array:
    """(N, 6): rotation vector, log scale and translation that lower the weighted residuals (N, 68, 2)."""
    jacobian = np.zeros((*residuals.shape, 6))
    jacobian[..., 0, 1], jacobian[..., 0, 2] = turned[..., 2], -turned[..., 1]
    jacobian[..., 1, 0], jacobian[..., 1, 2] = -turned[..., 2], turned[..., 0]
    jacobian[..., 3] = turned[..., :2]
    jacobian[..., :4] *= scales[:, None, None, None]
    jacobian[..., 0, 4] = jacobian[..., 1, 5] = 1.0
    weighted = jacobian * weights[..., None, None]
    normal = np.einsum("nkia,nkib->nab", weighted, jacobian, optimize=True)
    # Relative damping keeps a degenerate view (all points coincide) from raising.
    diagonal = np.einsum("naa->na", normal)
    normal[:, range(6), range(6)] += 1e-6 * diagonal + 1e-12
    right = np.einsum("nkia,nki->na", weighted, residuals)
    return np.asarray(np.linalg.solve(normal, right[..., None])[..., 0])


def _rotations(vectors: Array) -> Array:
    """Rodrigues' formula for rotation vectors (N, 3): (N, 3, 3)."""
    angles = np.linalg.norm(vectors, axis=1)
    axes = vectors / np.maximum(angles, 1e-12)[:, None]
    cross = np.zeros((len(vectors), 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -axes[:, 2], axes[:, 1], -axes[:, 0]
    cross -= cross.transpose(0, 2, 1)
    sine, cosine = np.sin(angles)[:, None, None], np.cos(angles)[:, None, None]
    return np.asarray(np.eye(3) + sine * cross + (1 - cosine) * cross @ cross)


def eye_openings(points: Array) -> Array:
    """Lid distance over eye width of each eye, from points (68, 2 or 3), of which x and y count: float64 (2,)."""
    planar = np.asarray(points, np.float64)[:, :2]
    result = []
    for eye in EYES:
        outer, upper_a, upper_b, inner, lower_b, lower_a = planar[eye]
        lids = np.linalg.norm(upper_a - lower_a) + np.linalg.norm(upper_b - lower_b)
        result.append(lids / (2 * max(float(np.linalg.norm(outer - inner)), 1e-6)))
    return np.array(result)


def neutral_of(motion: Motion) -> NeutralFace:
    """The resting face over a clip: robust against talking, blinking and turning, and not the first frame.

    The lips, chin and outline are the mean over the quarter of the frames in which the mouth is the least open, the
    lids over the half in which the eyes are the most open, everything else the median; all in face space, so that the
    pose plays no part. The shape is refined once: poses fitted with the person's own proportions separate better from
    expression.
    """
    shape = _resting(_unposed(motion.landmarks_px, MEAN_SHAPE), MEAN_SHAPE)
    seen = _unposed(motion.landmarks_px, shape)
    shape = _resting(seen, shape)
    opened = np.quantile(seen.openings, 0.7, axis=0)
    return NeutralFace(shape, _median_pose(seen), opened, _closed_level(seen.openings, opened))


@dataclass(frozen=True, slots=True)
class _Unposed:
    """A clip in the face's own frame, 1.2 kB a face. Depth is left out: it is that of the shape.

    points: float64 (T, 68, 2). lip_gaps: (T,). openings: (T, 2), as `eye_openings`. angles_deg: (T, 3). scales: (T,).
    translations_px: (T, 2).
    """

    points: Array
    lip_gaps: Array
    openings: Array
    angles_deg: Array
    scales: Array
    translations_px: Array


def _unposed(landmarks_px: Array, shape: Array) -> _Unposed:
    count = len(landmarks_px)
    columns = [np.empty((count, *size)) for size in ((LANDMARK_COUNT, 2), (), (2,), (3,), (), (2,))]
    for part in in_parts(count):
        poses = fit_poses(landmarks_px[part], shape)
        faces = np.stack([unpose(points, pose, shape) for points, pose in zip(landmarks_px[part], poses, strict=True)])
        found = (
            faces[..., :2],
            np.linalg.norm(faces[:, 61:64] - faces[:, 67:64:-1], axis=2).mean(axis=1),
            [eye_openings(face) for face in faces],
            [pose.angles_deg for pose in poses],
            [pose.scale for pose in poses],
            [pose.translation_px for pose in poses],
        )
        for column, values in zip(columns, found, strict=True):
            column[part] = values
    return _Unposed(*columns)


def _resting(seen: _Unposed, shape: Array) -> Array:
    """The robust rest (68, 3) of unposed faces."""
    rest = np.array(shape, np.float64)
    for landmark in range(LANDMARK_COUNT):  # one after the other: a median copies what it is of
        rest[landmark, :2] = np.median(seen.points[:, landmark], axis=0)
    closed = seen.lip_gaps <= np.quantile(seen.lip_gaps, 0.25)
    for part in (slice(3, 14), slice(48, 68)):
        rest[part, :2] = np.median(seen.points[closed, part], axis=0)
    for eye, opening in zip(EYES, seen.openings.T, strict=True):
        rest[eye, :2] = np.median(seen.points[opening >= np.median(opening), eye], axis=0)
    return rest


def _closed_level(openings: Array, opened: Array) -> Array:
    """What the landmarks call shut: the least opening of a clip with a blink, else a usual part of the open state."""
    usual = 0.45 * opened
    least = openings.min(axis=0)
    return np.where(least < 0.6 * opened, np.maximum(least, 0.3 * opened), usual)


def _median_pose(seen: _Unposed) -> Pose:
    yaw, pitch, roll = np.median(seen.angles_deg, axis=0).tolist()
    return Pose(
        rotation_matrix(yaw, pitch, roll),
        float(np.median(seen.scales)),
        np.median(seen.translations_px, axis=0),
    )

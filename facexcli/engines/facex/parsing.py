"""phi_Parse: where the eight regions of a face are (sec. 3.2)."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from facexcli.engines.facex.config import REGIONS
from facexcli.fusion.mask import FEATURES, face_outline, fill, forehead_points, region_masks
from facexcli.fusion.skin import fit_skin, skin_distance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from facexcli.types import Array, Crop

_CELEBAMASK: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "eyebrows": (2, 3),
        "eyes": (4, 5, 6),  # glasses belong to the eyes
        "nose": (10,),
        "lips": (11, 12, 13),  # the mouth between them too
        "ears": (7, 8, 9),  # and what hangs on them
        "skin": (1,),
        "hair": (17, 18),  # a hat too
        "background": (0, 14, 15, 16),  # neck, necklace and cloth stay with the picture
    }
)
"""BiSeNet's 19 classes of CelebAMask-HQ, by region."""

_GRAB_SIDE = 96
_GRAB_STEPS = 2
_SIDE = 4
"""Columns at the left and the right of the picture, of `_GRAB_SIDE`."""
_ARC, _HOOD, _END = 1.25, 1.6, 1.8
"""The outline of the face, grown about the bridge of the nose: to where hair is, to its usual end and to its last."""
_UNLIKE = 2.5
"""Standard deviations from the skin's colours."""
_LEAST_CELLS = 20
"""A mixture of five Gaussians needs some pixels to be fitted to."""


class RegionParser(Protocol):
    """Masks of the eight `REGIONS`, in their order: float32 (8, S, S) in 0..1, adding up to 1 everywhere."""

    name: str

    def __call__(self, crop: Crop) -> Array: ...


class BiSeNetParser:
    """The paper's network, once its weights are installed.

    labels: gives uint8 (S, S) classes of CelebAMask-HQ, 0..18, for rgb uint8 (S, S, 3).
    """

    name = "bisenet"

    def __init__(self, labels: Callable[[Array], Array]) -> None:
        self._labels = labels

    def __call__(self, crop: Crop) -> Array:
        labels = self._labels(crop.rgb)
        return np.stack([np.isin(labels, _CELEBAMASK[region]) for region in REGIONS]).astype(np.float32)


class LandmarkParser:
    """The stand-in that comes with facex: regions drawn from landmarks; hair by its colour (GrabCut).

    Features hide skin, skin hides ears, ears hide hair, and the background is what is left.
    """

    name = "landmarks"

    def __call__(self, crop: Crop) -> Array:
        size, landmarks = crop.size_px, crop.landmarks_px
        face = fill(face_outline(landmarks), size).astype(np.float32) / 255
        drawn = {name: mask * face for name, mask in region_masks(landmarks, size).items() if name in FEATURES}
        drawn["skin"] = np.clip(face - sum(drawn.values()), 0, 1)
        drawn["ears"] = (1 - face) * _ears(landmarks, size)
        left = np.clip(1 - face - drawn["ears"], 0, 1)
        drawn["hair"] = left * _hair(crop.rgb, landmarks)
        drawn["background"] = np.clip(left - drawn["hair"], 0, 1)
        return np.stack([drawn[region] for region in REGIONS]).astype(np.float32)


def _ears(landmarks_px: Array, size_px: int) -> Array:
    """Half an ellipse beside the outline, from the brow to the base of the nose; its other half lies under the face."""
    mask = np.zeros((size_px, size_px), np.uint8)
    height = 0.5 * float(np.linalg.norm(landmarks_px[33] - landmarks_px[27])) + 1
    across = landmarks_px[16] - landmarks_px[0]
    tilt_deg = float(np.degrees(np.arctan2(across[1], across[0])))
    for edge in (landmarks_px[0:3], landmarks_px[14:17]):
        x, y = edge.mean(axis=0)
        cv2.ellipse(mask, ((float(x), float(y)), (0.8 * height, 2 * height), tilt_deg), 255, -1, cv2.LINE_AA)
    return mask.astype(np.float32) / 255


def _hair(rgb: Array, landmarks_px: Array) -> Array:
    """Where hair is, above and beside the face: float32 (S, S), 0 or 1.

    GrabCut (Rother et al. 2004) on what lies above the nose's base. An arc over the forehead is hair where it does not
    have the colours of the face's skin; the face and what is far from it is not; a hood about the head may be.
    """
    points = landmarks_px * (_GRAB_SIDE / rgb.shape[0])
    rows = int(np.clip(points[33, 1], 0, _GRAB_SIDE))
    found = np.zeros((_GRAB_SIDE, _GRAB_SIDE), np.float32)
    bridge, crown, face = points[27], forehead_points(points, 15), face_outline(points)

    def within(growth: float, outline: Array) -> Array:
        return np.asarray(fill(bridge + growth * (outline - bridge), _GRAB_SIDE) > 127)

    trimap = np.where(within(_HOOD, crown), np.uint8(cv2.GC_PR_FGD), np.uint8(cv2.GC_PR_BGD))
    unlike_skin = skin_distance(rgb, fit_skin(rgb, landmarks_px), _GRAB_SIDE) > _UNLIKE
    trimap[within(_ARC, crown) & ~within(1.05, crown) & unlike_skin] = cv2.GC_FGD
    trimap[within(0.95, face)] = cv2.GC_BGD
    trimap[:, :_SIDE] = trimap[:, -_SIDE:] = cv2.GC_BGD
    trimap[~within(_END, face)] = cv2.GC_BGD
    trimap = np.ascontiguousarray(trimap[:rows])
    if (trimap == cv2.GC_FGD).sum() < _LEAST_CELLS:
        return np.zeros(rgb.shape[:2], np.float32)  # bald, or under a hat of the skin's colour
    small = np.ascontiguousarray(cv2.resize(rgb, found.shape, interpolation=cv2.INTER_AREA)[:rows])
    cv2.setRNGSeed(0)
    cv2.grabCut(small, trimap, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), _GRAB_STEPS, cv2.GC_INIT_WITH_MASK)
    found[:rows] = (trimap == cv2.GC_PR_FGD) | (trimap == cv2.GC_FGD)
    return np.asarray(cv2.resize(found, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5, np.float32)

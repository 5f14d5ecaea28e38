"""Which slot is what: slots are learnt without names, so they are told apart by where they look."""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from facexcli.errors import UsageError
from facexcli.fusion.mask import face_outline, fill
from facexcli.types import Array

Role = Literal["face", "hair", "clothes", "background"]
ROLES: tuple[Role, ...] = get_args(Role)
_HAIR = 0.2
"""Widths of the face around it, in its upper half, where hair is."""

_SLOT_COLOURS = np.array(
    [(230, 80, 60), (60, 160, 230), (90, 200, 90), (240, 200, 60), (170, 90, 220), (90, 220, 220), (240, 140, 200),
     (150, 150, 150)], np.float32,
)  # fmt: skip


def slot_roles(masks: Array, landmarks_px: Array, size_px: int) -> dict[Role, int]:
    """The slot that stands for each role, each another one, by the overlap with where it is usually seen.

    Args:
        masks: float (K, g, g), the slots' attention to one crop.
        landmarks_px: (68, 2), in a crop of `size_px`.

    Raises UsageError for a network with fewer slots than there are roles.
    """
    if len(masks) < len(ROLES):
        raise UsageError(
            f"a network of {len(masks)} slots does not tell {', '.join(ROLES)} apart", "train one with --slots 4"
        )
    expected = expected_regions(fill(face_outline(landmarks_px), size_px) > 127, masks.shape[-1])
    flat, wanted = masks.reshape(len(masks), -1), expected.reshape(len(ROLES), -1)
    both = wanted @ flat.T
    overlap = both / (wanted.sum(axis=1)[:, None] + flat.sum(axis=1) - both)
    rows, slots = linear_sum_assignment(-overlap)
    return {ROLES[row]: int(slot) for row, slot in zip(rows, slots, strict=True)}


def expected_regions(face: Array, grid_px: int) -> Array:
    """Where face, hair, clothes and background are on most portraits: float32 (4, g, g), adding up to 1.

    face: bool (S, S), the face up to its hairline.
    """
    y, x = np.nonzero(face)
    top, chin, middle, width = y.min(), y.max(), x.mean(), np.ptp(x) + 1
    reach = 2 * max(1, round(_HAIR * width)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    around = cv2.dilate(face.astype(np.uint8), kernel) > 0
    rows, columns = np.mgrid[: face.shape[0], : face.shape[1]]
    hair = ~face & around & (rows < (top + chin) / 2 + 0.1 * (chin - top))
    # Shoulders fall away from the neck.
    fall = np.maximum(np.abs(columns - middle) - 0.35 * width, 0)
    clothes = ~face & ~hair & (rows > chin + 0.12 * width + 0.45 * fall)
    regions = np.stack([face, hair, clothes, ~(face | hair | clothes)]).astype(np.float32)
    return np.stack([cv2.resize(region, (grid_px, grid_px), interpolation=cv2.INTER_AREA) for region in regions])


def painted_slots(masks: Array) -> Array:
    """Each slot in a colour of its own: uint8 (B, S, S, 3) of masks (B, K, S, S)."""
    colours = np.resize(_SLOT_COLOURS, (masks.shape[1], 3))
    return np.asarray(np.einsum("bkyx,kc->byxc", masks, colours), np.uint8)

"""A face and what surrounds it, cut out of a frame at one size, so that measures mean the same at every resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.affine import crop_box, resample, shift, transform_points
from facexcli.faces.tracklet import face_box
from facexcli.fusion.mask import face_outline, fill
from facexcli.media.color import rgb_roi

if TYPE_CHECKING:
    from facexcli.types import Array, Frame

VIEW_PX = 224
COARSE_PX = 28
"""At this size grain and coding noise average out; a face, and its place, are still there."""
_REACH = 2.4
"""Side of a view over the detector's box, which goes from brows to chin: room for the hair and for some background."""
NEIGHBOURHOOD = 1.35
"""How far the ground that a swap may change reaches from a face's middle, over its outline."""


@dataclass(frozen=True, slots=True)
class Window:
    """Where a view lies. view_from_frame: float64 (3, 3); landmarks_px: float64 (68, 2), in the view."""

    view_from_frame: Array
    landmarks_px: Array


def window_of(landmarks_px: Array, aspect: float, size_px: int = VIEW_PX) -> Window:
    """The upright window around landmarks (68, 2) in frame pixels; `aspect` is a frame pixel's width over its height.

    A view has square pixels.
    """
    x0, y0, x1, y1 = face_box(landmarks_px, aspect)
    scale = size_px / (_REACH * (y1 - y0))
    middle = (size_px - 1) / 2
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    matrix = np.array([[scale * aspect, 0, middle - scale * aspect * x], [0, scale, middle - scale * y], [0, 0, 1.0]])
    return Window(matrix, transform_points(matrix, landmarks_px))


def cut(frame: Frame, size_px: tuple[int, int], window: Window) -> Array:
    """The view of a frame whose display size is `size_px`, uint8 (VIEW_PX, VIEW_PX, 3); its border is replicated."""
    x0, y0, x1, y1 = crop_box(window.view_from_frame, VIEW_PX, size_px)
    view_from_part = window.view_from_frame @ shift(x0, y0)
    return resample(rgb_roi(frame, (x0, y0, x1, y1)), view_from_part, (VIEW_PX, VIEW_PX), smooth=False)


def inside_face(landmarks_px: Array) -> Array:
    """bool (VIEW_PX, VIEW_PX): inside the face's outline, forehead included."""
    return np.asarray(fill(face_outline(landmarks_px), VIEW_PX) > 127)


def beside_face(landmarks_px: Array) -> Array:
    """bool (VIEW_PX, VIEW_PX): where nothing that is meant for this face can reach."""
    return np.asarray(fill(neighbourhood(landmarks_px), VIEW_PX) == 0)


def neighbourhood(landmarks_px: Array) -> Array:
    """The outline of the ground that a swap may change, float64 (N, 2)."""
    outline = face_outline(landmarks_px)
    middle = outline.mean(axis=0)
    return np.asarray(middle + NEIGHBOURHOOD * (outline - middle))


def coarse(picture: Array) -> Array:
    """Area means of something of a view's size: float32 (COARSE_PX, COARSE_PX) or (COARSE_PX, COARSE_PX, channels)."""
    means: Array = cv2.resize(picture.astype(np.float32), (COARSE_PX, COARSE_PX), interpolation=cv2.INTER_AREA)
    return means

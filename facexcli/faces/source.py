"""The faces of a still."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.errors import NoFaceError
from facexcli.faces.tracklet import is_face
from facexcli.types import Face

if TYPE_CHECKING:
    from facexcli.faces.base import Analyzer, Detection
    from facexcli.types import Array

_BORDER = 0.25
_SMALL_SIDES_PX = (640, 320)


def find_faces(rgb: Array, analyzer: Analyzer) -> list[Face]:
    """Every face of a still, largest first, with embeddings. rgb: uint8 (H, W, 3) in square pixels.

    A face that fills the picture is missed by detectors that expect something around it, and one that is too large for
    their training looks sharper than any they know; so the search is repeated in smaller pictures and with a border.
    """
    for image, scale, border in _views(rgb):
        faces = [_face(rgb, analyzer, item, scale, border) for item in analyzer.detect(image, thorough=True)]
        found = [face for face in faces if face is not None]
        if found:
            return sorted(found, key=lambda face: -(face.box_px[2] - face.box_px[0]))
    return []


def find_source_face(rgb: Array, analyzer: Analyzer) -> Face:
    """The largest face of a still, with its embedding. rgb: uint8 (H, W, 3) in square pixels.

    Raises NoFaceError, which leaves it to the caller to name the file.
    """
    faces = find_faces(rgb, analyzer)
    if not faces:
        raise NoFaceError("no face found")
    return faces[0]


def _views(rgb: Array) -> list[tuple[Array, float, int]]:
    """(image, still pixels per image pixel, border of the image) to search, the most likely first."""
    views: list[tuple[Array, float, int]] = [(rgb, 1.0, 0)]
    for side in _SMALL_SIDES_PX:
        scale = max(rgb.shape[:2]) / side
        size = (max(1, round(rgb.shape[1] / scale)), max(1, round(rgb.shape[0] / scale)))
        flags = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
        small = cv2.resize(rgb, size, interpolation=flags)
        border = round(_BORDER * side)
        views.append((cv2.copyMakeBorder(small, border, border, border, border, cv2.BORDER_REPLICATE), scale, border))
    return views


def _face(rgb: Array, analyzer: Analyzer, detection: Detection, scale: float, border: int) -> Face | None:
    x0, y0, x1, y1 = ((edge - border) * scale for edge in detection.box_px)
    fit = analyzer.landmarks(rgb, (x0, y0, x1, y1))
    if not is_face(fit.spread, analyzer.confidence(rgb, fit.landmarks_px), detected=True):
        return None
    embedding = analyzer.embed(rgb, fit.landmarks_px)
    return Face((x0, y0, x1, y1), np.asarray(fit.landmarks_px, np.float32), detection.score, embedding)

"""How much a face changes from one frame to the next beyond its own motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facexcli.evaluate.metrics.view import VIEW_PX, coarse, inside_face
from facexcli.geometry.warp import displacement_map, warp_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.types import Array

_STIFFNESS = 1e-4
"""Of the warp: a single landmark that trembles by a pixel hardly moves the picture under it."""


@dataclass(frozen=True, slots=True)
class Flicker:
    """Mean absolute change from the frame before, in 8-bit code values.

    all: of every pixel, grain and coding noise included. broad: at `view.COARSE_PX`, where these average out and a
    change of brightness or of place does not.
    """

    all: float
    broad: float


UNKNOWN = Flicker(float("nan"), float("nan"))


@dataclass(slots=True)
class _Last:
    index: int
    segment: int
    landmarks_px: Array
    views: list[Array]


class FlickerMeter:
    """Mean absolute difference, inside the face, of a frame and the one before it, warped by the landmarks' motion.

    Several films of the same face (the input and the result) are measured with the same landmarks, so that an error of
    theirs counts alike in all. Holds one frame.
    """

    def __init__(self) -> None:
        self._last: _Last | None = None

    def feed(self, index: int, segment: int, landmarks_px: Array, views: Sequence[Array]) -> list[Flicker]:
        """The flicker of each film; NaN where the frame before is not of the same segment.

        Args:
            index: of the frame.
            segment: of a steady series of landmarks: one track.
            landmarks_px: (68, 2), in the views.
            views: uint8 (VIEW_PX, VIEW_PX, 3) each, of one frame.
        """
        now = [view.astype(np.float32) for view in views]
        last, self._last = self._last, _Last(index, segment, landmarks_px, now)
        if last is None or last.segment != segment or last.index != index - 1:
            return [UNKNOWN] * len(views)
        moved = displacement_map(last.landmarks_px, landmarks_px, VIEW_PX, smoothing=_STIFFNESS)
        inside = inside_face(landmarks_px)
        inside_coarse = coarse(inside.astype(np.uint8)) > 0.99
        found = []
        for film, before in zip(now, last.views, strict=True):
            difference = film - warp_image(before, moved)
            broad = np.abs(coarse(difference))[inside_coarse]
            everywhere = float(np.abs(difference)[inside].mean())
            found.append(Flicker(everywhere, float(broad.mean()) if broad.size else float("nan")))
        return found

"""phi_Gaze: where the eyes look (sec. 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from facexcli.engines.mesh.eyes import EYES, measure_eye

if TYPE_CHECKING:
    from facexcli.types import Array, Crop


class GazeExtractor(Protocol):
    """float32 (4,): how far each iris is from the middle of its eye, along it and across it, in eye widths."""

    name: str

    def __call__(self, crop: Crop) -> Array: ...


class IrisGaze:
    """The stand-in that comes with facex: the iris found between the lids; across, the lids follow it."""

    name = "iris"

    def __call__(self, crop: Crop) -> Array:
        eyes = [measure_eye(crop.rgb, crop.landmarks_px, eye) for eye in EYES]
        return np.array([value for eye in eyes for value in (eye.iris, eye.middle)], np.float32)

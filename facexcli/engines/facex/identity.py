"""phi_ID: who a face is (sec. 3.2)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from facexcli.types import Array, Crop


class IdentityExtractor(Protocol):
    """The paper takes ArcFace's last feature map, 49 x 512, which still knows of places, instead of its embedding."""

    name: str

    def __call__(self, crop: Crop) -> Array:
        """float32 (N, size), as `FaceXConfig.identity_shape` says."""
        ...


class DlibIdentity:
    """The stand-in that comes with facex: dlib's descriptor, float32 (1, 128)."""

    name = "dlib"

    def __init__(self) -> None:
        from facexcli.faces.dlib_backend import DlibAnalyzer

        self._analyzer = DlibAnalyzer()
        self._lock = threading.Lock()  # dlib's networks keep their activations

    def __call__(self, crop: Crop) -> Array:
        with self._lock:
            return np.asarray(self._analyzer.descriptor(crop.rgb, crop.landmarks_px)[None])

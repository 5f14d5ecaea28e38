"""phi_ID: who a face is (sec. 3.2)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

import numpy as np

from facexcli.faces.align import crop_from_frame, take_crop

if TYPE_CHECKING:
    from collections.abc import Callable

    from facexcli.types import Array, Crop

_ARCFACE_PX = 112


class IdentityExtractor(Protocol):
    """The paper takes ArcFace's last feature map, 49 x 512, which still knows of places, instead of its embedding."""

    name: str

    def __call__(self, crop: Crop) -> Array:
        """float32 (N, size), as `FaceXConfig.identity_shape` says."""
        ...


class ArcFaceIdentity:
    """The paper's network, once its weights are installed.

    features: gives the last feature map before the embedding, float32 (512, 7, 7), for rgb uint8 (112, 112, 3).
    """

    name = "arcface"

    def __init__(self, features: Callable[[Array], Array]) -> None:
        self._features = features

    def __call__(self, crop: Crop) -> Array:
        matrix = crop_from_frame(crop.landmarks_px, "arcface", _ARCFACE_PX)
        aligned, _ = take_crop(crop.rgb, matrix, _ARCFACE_PX)
        return np.ascontiguousarray(self._features(aligned).reshape(512, -1).T)


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

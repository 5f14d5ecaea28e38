"""Facial Omni-Representation Decomposing (sec. 3.2): a crop of a face as all that the networks are told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facexcli.engines.facex.config import MOTION_SIZES
from facexcli.engines.facex.gaze import GazeExtractor, IrisGaze
from facexcli.engines.facex.identity import DlibIdentity, IdentityExtractor
from facexcli.engines.facex.motion import LandmarkMotion, MotionExtractor
from facexcli.engines.facex.parsing import LandmarkParser, RegionParser
from facexcli.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from facexcli.engines.facex.config import FaceXConfig
    from facexcli.engines.facex.model import FaceTensors
    from facexcli.types import Array, Crop


@dataclass(frozen=True, slots=True)
class FaceFacts:
    """rgb uint8 (S, S, 3); masks float32 (8, S, S), see `RegionParser`; identity float32 (N, size), zeros where nobody
    asked; motion: each of `MOTION_SIZES`, float32. landmarks_px: float32 (68, 2), where they are known."""

    rgb: Array
    masks: Array
    identity: Array
    motion: Mapping[str, Array]
    landmarks_px: Array | None = None


@dataclass(frozen=True, slots=True)
class Decomposer:
    """FORD: the five extractors, each the paper's network or its stand-in."""

    identity: IdentityExtractor
    parse: RegionParser
    motion: MotionExtractor
    gaze: GazeExtractor
    identity_shape: tuple[int, int]

    @property
    def names(self) -> tuple[str, ...]:
        """Which models these are, for results to say."""
        return tuple(part.name for part in (self.identity, self.parse, self.motion, self.gaze))

    def __call__(self, crop: Crop, neutral: Array | None = None, *, who: bool = False) -> FaceFacts:
        """Everything about a crop. neutral: see `MotionExtractor`. who: also find the identity."""
        identity = self.identity(crop) if who else np.zeros(self.identity_shape, np.float32)
        motion = {**self.motion(crop, neutral), "gaze": self.gaze(crop)}
        return FaceFacts(crop.rgb, self.parse(crop), identity, motion, crop.landmarks_px)


def embedded_decomposer(config: FaceXConfig) -> Decomposer:
    """The stand-ins that come with facex. Raises WeightsError for a network that was trained on the paper's extractors:
    it would not understand what others say."""
    if config.perception == "paper":
        raise WeightsError(
            f"FaceX {config.name} needs ArcFace's feature map, and a face model's coefficients",
            "use a checkpoint of --config compact, which needs neither",
        )
    return Decomposer(DlibIdentity(), LandmarkParser(), LandmarkMotion(), IrisGaze(), config.identity_shape)


def face_tensors(faces: Sequence[FaceFacts]) -> FaceTensors:
    """Faces of one size as a batch for torch, float32, on the CPU."""
    from facexcli.engines.facex.model import FaceTensors

    return FaceTensors(
        picture_tensor([face.rgb for face in faces]),
        stacked([face.masks for face in faces]),
        stacked([face.identity for face in faces]),
        {name: stacked([face.motion[name] for face in faces]) for name in MOTION_SIZES},
    )


def picture_tensor(pictures: Sequence[Array]) -> Tensor:
    """uint8 (S, S, 3) each -> float32 (B, 3, S, S) in -1..1."""
    return stacked(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def stacked(arrays: Sequence[Array]) -> Tensor:
    """Arrays of one shape as a batch for torch, on the CPU."""
    import torch

    return torch.from_numpy(np.stack(arrays))

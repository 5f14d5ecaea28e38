"""Which occlusion model a run uses: networks that are installed, what was learnt of each face, or single colours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from facexcli.engines.onnx.providers import providers_for
from facexcli.events import Informed
from facexcli.fusion.segmentation import Segmentation
from facexcli.pipeline.face_model import FaceModel, learn_face_models
from facexcli.pipeline.kept import kept_face_models
from facexcli.pipeline.perception import occlusion_network

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from facexcli.events import Reporter
    from facexcli.pipeline.painter import CropShape
    from facexcli.pipeline.placing import FacesByFrame
    from facexcli.types import Array, Crop, MediaInfo


@dataclass(frozen=True, slots=True)
class OcclusionModel:
    """What is in front of a face, from one crop and from what was learnt beforehand.

    networks: all of them have to see a face. faces: by track id; a track that is too short has none.
    """

    networks: tuple[Segmentation, ...] = ()
    faces: Mapping[int, FaceModel] = field(default_factory=dict)

    def covered(self, crop: Crop) -> Array | None:
        """float32 (n, n) in 0..1 over the whole crop; None where only the colours of the crop can tell."""
        seen = [network.covered(crop.rgb) for network in self.networks]
        if (face := self.faces.get(crop.track_id)) is not None:
            seen.append(face.covered(crop))
        return np.maximum.reduce(seen) if seen else None


def occlusion_model(
    info: MediaInfo, faces: FacesByFrame, shape: CropShape, device: str, reporter: Reporter, keep: Path | None = None
) -> OcclusionModel:
    """The best model that is possible here, and an `Informed` that says which.

    XSeg needs nobody beside it; BiSeNet does not know hands, so that what was learnt of the faces is asked too.

    Args:
        device: as `--device` has it.
        keep: the file in which what is learnt is kept, for those that render other parts.
    Raises:
        WeightsError: an installed network cannot be used.
    """
    path = occlusion_network()
    networks: tuple[Segmentation, ...] = ()
    if path is not None:
        chosen = providers_for(device)
        networks = (Segmentation(path, chosen.index if chosen.memory == "cuda" else None),)
        if networks[0].kind == "xseg":
            reporter.emit(Informed(f"occlusion: {path.name}, which is installed"))
            return OcclusionModel(networks)
    known: Mapping[int, FaceModel] = {}
    if info.kind != "image":
        known = kept_face_models(keep, lambda: learn_face_models(info, faces, shape), reporter)
    reporter.emit(Informed(f"occlusion: {_described(networks, known)}"))
    return OcclusionModel(networks, known)


def _described(networks: tuple[Segmentation, ...], known: Mapping[int, FaceModel]) -> str:
    learnt = f"a model of colour and motion, learnt from {len(known)} track{'s' if len(known) != 1 else ''}"
    own = learnt if known else "the colours of each picture"
    return " and ".join([*(network.path.name for network in networks), own])

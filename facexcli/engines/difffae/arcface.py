"""f_id of the paper's configuration: ArcFace's embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facexcli.errors import WeightsError
from facexcli.faces.align import arcface_chip
from facexcli.faces.embed import unit
from facexcli.weights.sessions import load_session
from facexcli.weights.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from facexcli.types import Array, Crop

_NAME, _FILE = "antelopev2", "glintr100.onnx"


def open_arcface(store: Store | None = None) -> Callable[[Crop], Array]:
    """Gives unit embeddings, float32 (512,), of crops. Raises WeightsError where ArcFace is not installed."""
    known = store or Store()
    if not known.installed(_NAME):
        raise WeightsError("this checkpoint was trained on ArcFace's embedding", f"facex models pull {_NAME}")
    path = known.path(_NAME, _FILE)
    session = load_session(path, ("CPUExecutionProvider",))
    slot = session.get_inputs()[0].name

    def embed(crop: Crop) -> Array:
        chip = arcface_chip(crop.rgb, crop.landmarks_px).astype(np.float32)
        given = np.ascontiguousarray(((chip - 127.5) / 127.5).transpose(2, 0, 1)[None])
        try:
            (answer,) = session.run(None, {slot: given})
            return unit(answer.ravel())
        # onnxruntime raises classes of its own, which share only Exception.
        except Exception as error:
            raise WeightsError(f"{path}: the network failed: {str(error).splitlines()[0]}") from error

    return embed

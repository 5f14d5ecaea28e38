"""Who the source is, as a swapper wants to hear it: an ArcFace embedding, converted or mapped, of known length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from facexcli.engines.onnx.swapper import EMBEDDING
from facexcli.errors import WeightsError
from facexcli.faces.align import arcface_chip
from facexcli.faces.embed import unit
from facexcli.types import Array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from facexcli.engines.onnx.swapper import Part, Swapper
    from facexcli.types import Crop

    Borrow = Callable[[Part], AbstractContextManager[Any]]


def source_embedding(swapper: Swapper, crops: Sequence[Crop], borrow: Borrow) -> Array:
    """The swapper's `source` for one person: float32 (1, 512), the mean over the stills.

    A converter was trained on embeddings of ArcFace's own length, so that it is given that; what it answers is brought
    to length 1 unless the catalog says that the swapper wants it as it is. InSwapper's map is applied to a unit vector,
    and its result brought to length 1 (insightface, `INSwapper`).

    Raises WeightsError for a graph that answers with no embedding.
    """
    raw = np.mean([_answer(swapper.recogniser, _arcface_input(crop), borrow) for crop in crops], axis=0)
    if swapper.converter is not None:
        converted = _answer(swapper.converter, raw[None].astype(np.float32), borrow)
        normalised = swapper.entry.facts.get("embedding_is_normalised", True)
        return (unit(converted) if normalised else converted)[None]
    if swapper.emap is not None:
        return _unit(unit(raw) @ swapper.emap, swapper.body)[None]
    return unit(raw)[None]


def _arcface_input(crop: Crop) -> Array:
    chip = arcface_chip(crop.rgb, crop.landmarks_px).astype(np.float32)
    return np.ascontiguousarray((chip / 127.5 - 1).transpose(2, 0, 1)[None])


def _answer(part: Part, values: Array, borrow: Borrow) -> Array:
    """float32 (512,), with a direction."""
    slot = part.graph.inputs[0]
    try:
        with borrow(part) as session:
            told = session.run([part.graph.outputs[0].name], {slot.name: values.astype(slot.dtype)})[0]
    except WeightsError:
        raise
    # onnxruntime raises classes of its own, which share only Exception.
    except Exception as error:
        raise WeightsError(f"{part.path}: the network failed: {error}", "pull it again") from error
    answer = np.asarray(told, np.float32).ravel()
    if answer.shape != (EMBEDDING,):
        raise WeightsError(f"{part.path}: answered with {answer.size} numbers, not {EMBEDDING}", "pull it again")
    _unit(answer, part)
    return answer


def _unit(vector: Array, part: Part) -> Array:
    if not np.isfinite(vector).all() or not np.any(vector):
        raise WeightsError(f"{part.path}: answered with no embedding", "pull it again")
    return unit(vector)

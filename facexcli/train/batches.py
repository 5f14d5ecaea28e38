"""Samples of FaceX as tensors, on their way to a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from facexcli.engines.facex.config import MOTION_SIZES
from facexcli.engines.facex.ford import face_tensors, picture_tensor, stacked
from facexcli.engines.facex.model import FaceTensors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from facexcli.train.pairs import Sample
    from facexcli.train.trainable import Batch

_PICTURES = frozenset(("source/rgb", "target/rgb", "reference"))
_MASKS = frozenset(("source/masks", "target/masks", "hole", "edited"))


def tensors_of(samples: Sequence[Sample]) -> Batch:
    """Samples as a batch: faces of `source` and `target` (see `FaceTensors`), `reference` (B, 3, S, S) in -1..1, `hole`
    and `edited` (B, 1, S, S), and `from_source` bool (B, tokens)."""
    batch: dict[str, Tensor] = {}
    for who, facts in (("source", [each.source for each in samples]), ("target", [each.target for each in samples])):
        tensors = face_tensors(facts)
        batch |= {f"{who}/rgb": tensors.rgb, f"{who}/masks": tensors.masks, f"{who}/identity": tensors.identity}
        batch |= {f"{who}/{name}": tensors.motion[name] for name in MOTION_SIZES}
    batch["reference"] = picture_tensor([each.reference.rgb for each in samples])
    batch["hole"] = stacked([each.reference.hole for each in samples])[:, None]
    batch["edited"] = stacked([each.reference.edited for each in samples])[:, None]
    batch["from_source"] = torch.tensor([each.from_source for each in samples])
    return batch


def packed(batch: Batch) -> Batch:
    """A batch with its pictures and masks as bytes, a quarter of what is moved to a device."""
    return {name: _as_bytes(name, tensor) for name, tensor in batch.items()}


def unpacked(batch: Batch) -> Batch:
    """What `packed` was given, masks to 1/510."""
    return {name: _from_bytes(name, tensor) for name, tensor in batch.items()}


def _as_bytes(name: str, tensor: Tensor) -> Tensor:
    if name in _PICTURES:
        return ((tensor + 1) * 127.5).round().to(torch.uint8)
    return (255 * tensor).round().to(torch.uint8) if name in _MASKS else tensor


def _from_bytes(name: str, tensor: Tensor) -> Tensor:
    if name in _PICTURES:
        return tensor.float() / 127.5 - 1
    return tensor.float() / 255 if name in _MASKS else tensor


def faces_in(batch: Batch, who: str) -> FaceTensors:
    """The faces of `source` or `target`."""
    motion = {name: batch[f"{who}/{name}"] for name in MOTION_SIZES}
    return FaceTensors(batch[f"{who}/rgb"], batch[f"{who}/masks"], batch[f"{who}/identity"], motion)

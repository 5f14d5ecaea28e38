"""FaceX's checkpoints (see `engines.checkpoint`): all weights, or those that were trained on a public backbone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from pydantic import ValidationError

from facexcli.engines.checkpoint import Layout, fingerprint
from facexcli.engines.facex.config import FaceXConfig
from facexcli.engines.facex.model import BACKBONE, FaceXNetwork
from facexcli.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

__all__ = ["FORMAT", "VERSION", "fingerprint", "load_checkpoint", "read_config", "save_checkpoint"]

FORMAT = "facex"
VERSION = 1
_HINT = "take a checkpoint that `facex train facex` wrote"
_LAYOUT = Layout(FORMAT, VERSION, "FaceX", _HINT)


def save_checkpoint(network: nn.Module, config: FaceXConfig, path: Path, *, half: bool = False) -> None:
    """Write all weights of an embedded configuration, or those that were trained on top of a public backbone.

    The file appears complete or not at all. half: in float16, half the size; it is computed with float32 again.
    Raises OutputError where it cannot be written.
    """
    tensors = _own(network.state_dict(), config)
    if half:
        tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    _LAYOUT.save(tensors, config.model_dump_json(), path)


def load_checkpoint(path: Path) -> FaceXNetwork:
    """The network of a file, on the CPU; a backbone that it does not carry is on the meta device, without weights.

    Raises WeightsError for a file that is not there, is no checkpoint, is damaged or was altered.
    """
    config, tensors = _LAYOUT.read(path, _parsed)
    with torch.device("meta"):
        network = FaceXNetwork(config)
    _LAYOUT.check(path, config.name, _own(network.state_dict(), config), tensors)
    whole = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    network.load_state_dict(whole, strict=False, assign=True)
    return network.eval()


def read_config(path: Path) -> FaceXConfig:
    """The configuration alone, without reading weights. Raises WeightsError as `load_checkpoint` does."""
    return _parsed(path, _LAYOUT.read_config(path))


def _own(state: Mapping[str, Tensor], config: FaceXConfig) -> dict[str, Tensor]:
    """What a checkpoint carries: everything, or all but the public backbone."""
    if config.perception == "embedded":
        return dict(state)
    return {name: tensor for name, tensor in state.items() if name.partition(".")[0] not in BACKBONE}


def _parsed(path: Path, text: str) -> FaceXConfig:
    try:
        values = json.loads(text)
        if values.get("motion") is None:  # from before there was a choice
            values["motion"] = "landmarks" if values.get("perception") == "paper" else "auto"
        return FaceXConfig.model_validate(values)
    except (ValidationError, ValueError, AttributeError, UsageError) as error:
        raise WeightsError(f"{path}: its configuration cannot be read", _HINT) from error

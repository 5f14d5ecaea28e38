"""DiffFAE's checkpoints (see `engines.checkpoint`): the whole network, and RSC alone, as it is pretrained."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch
from pydantic import ValidationError

from facexcli.engines.checkpoint import Layout
from facexcli.engines.difffae.config import DiffFAEConfig
from facexcli.engines.difffae.model import DiffFAENetwork
from facexcli.engines.difffae.slots import SlotAutoencoder
from facexcli.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from pathlib import Path

_Network = TypeVar("_Network", DiffFAENetwork, SlotAutoencoder)
_WHOLE = Layout("difffae", 1, "DiffFAE", "take a checkpoint that `facex train difffae` wrote")
_REGIONS = Layout("difffae-rsc", 1, "DiffFAE region", "take a checkpoint that `facex train difffae-rsc` wrote")


def save_network(network: DiffFAENetwork, path: Path) -> None:
    """Write all weights, the codec's too. Raises OutputError."""
    _WHOLE.save(network.state_dict(), network.config.model_dump_json(), path)


def load_network(path: Path) -> DiffFAENetwork:
    """The network of a file, on the CPU. Raises WeightsError for one that is no checkpoint, damaged or altered."""
    return _loaded(_WHOLE, DiffFAENetwork, path)


def save_regions(network: SlotAutoencoder, path: Path) -> None:
    """Write RSC with its decoder. Raises OutputError."""
    _REGIONS.save(network.state_dict(), network.config.model_dump_json(), path)


def load_regions(path: Path) -> SlotAutoencoder:
    """RSC as it was pretrained. Raises WeightsError as `load_network` does."""
    return _loaded(_REGIONS, SlotAutoencoder, path)


def read_config(path: Path) -> DiffFAEConfig:
    """The configuration of a whole network, without reading weights. Raises WeightsError as `load_network` does."""
    return _parsed(_WHOLE, path, _WHOLE.read_config(path))


def _loaded(layout: Layout, kind: type[_Network], path: Path) -> _Network:
    config, tensors = layout.read(path, partial(_parsed, layout))
    with torch.device("meta"):
        wanted = kind(config).state_dict()
    layout.check(path, config.name, wanted, tensors)
    network = kind(config)  # not on the meta device: what is not saved has to be there
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def _parsed(layout: Layout, path: Path, text: str) -> DiffFAEConfig:
    try:
        return DiffFAEConfig.model_validate(json.loads(text))
    except (ValidationError, ValueError, UsageError) as error:
        raise WeightsError(f"{path}: its configuration cannot be read", layout.hint) from error

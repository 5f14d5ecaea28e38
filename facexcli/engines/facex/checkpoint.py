"""A checkpoint: one safetensors file that carries its configuration and the version of its layout.

Nothing of a file is trusted before it is checked: not that it is safetensors, whole, of this layout, of the shapes that
its configuration asks for, or unaltered.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from facexcli.engines.facex.config import FaceXConfig
from facexcli.engines.facex.model import BACKBONE, FaceXNetwork
from facexcli.errors import UsageError, WeightsError
from facexcli.media.atomic import AtomicFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

FORMAT = "facex"
VERSION = 1
_HINT = "take a checkpoint that `facex train facex` wrote"


def save_checkpoint(network: nn.Module, config: FaceXConfig, path: Path) -> None:
    """Write all weights of an embedded configuration, or those that were trained on top of a public backbone.

    The file appears complete or not at all. Raises OutputError where it cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _own(network.state_dict(), config).items()}
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "config": config.model_dump_json(),
        "sha256": fingerprint(tensors),
    }
    with AtomicFile(path) as file:
        mode = file.temporary.stat().st_mode
        save_file(tensors, str(file.temporary), metadata)
        file.temporary.chmod(mode)  # the library's own files are for nobody else to read
        file.commit()


def load_checkpoint(path: Path) -> FaceXNetwork:
    """The network of a file, on the CPU; a backbone that it does not carry is on the meta device, without weights.

    Raises WeightsError for a file that is not there, is no checkpoint, is damaged or was altered.
    """
    config, tensors = _read(path)
    with torch.device("meta"):
        network = FaceXNetwork(config)
    wanted = _own(network.state_dict(), config)
    _check_names(path, config, wanted, tensors)
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            raise WeightsError(
                f"{path}: {name} is {tuple(tensor.shape)}, but {config.name!r} has {tuple(wanted[name].shape)}", _HINT
            )
    network.load_state_dict(tensors, strict=False, assign=True)
    return network.eval()


def read_config(path: Path) -> FaceXConfig:
    """The configuration alone, without reading weights. Raises WeightsError as `load_checkpoint` does."""
    with _opened(path) as file:
        return _config(path, file.metadata() or {})


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256, hexadecimal, of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _own(state: Mapping[str, Tensor], config: FaceXConfig) -> dict[str, Tensor]:
    """What a checkpoint carries: everything, or all but the public backbone."""
    if config.perception == "embedded":
        return dict(state)
    return {name: tensor for name, tensor in state.items() if name.partition(".")[0] not in BACKBONE}


def _opened(path: Path) -> Any:
    try:
        return safe_open(str(path), "pt")
    except (OSError, SafetensorError) as error:
        if not path.is_file():
            reason = "no such file"
        elif _is_pickle(path):
            reason = "a pickle, which could run a program when it is opened; only safetensors are read"
        else:
            reason = "not a safetensors file, or cut short"
        raise WeightsError(f"{path}: {reason}", _HINT) from error


def _read(path: Path) -> tuple[FaceXConfig, dict[str, Tensor]]:
    with _opened(path) as file:
        metadata = file.metadata() or {}
        config = _config(path, metadata)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    if fingerprint(tensors) != metadata.get("sha256"):
        raise WeightsError(f"{path}: its weights are not those that were saved", "fetch or train it again")
    return config, tensors


def _config(path: Path, metadata: Mapping[str, str]) -> FaceXConfig:
    if metadata.get("format") != FORMAT:
        raise WeightsError(f"{path}: not a FaceX checkpoint: it does not carry its configuration", _HINT)
    if metadata.get("version") != str(VERSION):
        raise WeightsError(
            f"{path}: layout {metadata.get('version')} of FaceX checkpoints; this facex reads {VERSION}",
            "use the version of facex that wrote it",
        )
    try:
        return FaceXConfig.model_validate(json.loads(metadata.get("config", "")))
    except (ValidationError, ValueError, UsageError) as error:
        raise WeightsError(f"{path}: its configuration cannot be read", _HINT) from error


def _check_names(path: Path, config: FaceXConfig, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    missing, foreign = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or foreign:
        what = f"lacks {missing[0]}" if missing else f"has {foreign[0]}, which no {config.name!r} has"
        raise WeightsError(f"{path}: another architecture: it {what}", _HINT)


def _is_pickle(path: Path) -> bool:
    """By its first bytes: a pickle of protocol 2 or later, or the zip archive that torch.save writes."""
    with path.open("rb") as file:
        return file.read(4)[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK")

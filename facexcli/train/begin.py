"""What a training of FaceX sets out from: a configuration, and weights that are random, trained before or public."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError

from facexcli.engines.facex.backbone import CHECKPOINT, load_backbone, load_network
from facexcli.engines.facex.checkpoint import read_config
from facexcli.engines.facex.config import FaceXConfig, config_named
from facexcli.engines.facex.extractors import motion_name
from facexcli.engines.facex.model import FaceXNetwork
from facexcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def chosen_config(named: str, changes: Mapping[str, Any] | None = None) -> FaceXConfig:
    """By name, or out of a TOML file with the fields of `FaceXConfig`; `changes` to its fields. Raises UsageError."""
    path = Path(named)
    try:
        values = tomllib.loads(path.read_text("utf-8")) if path.suffix == ".toml" else config_named(named).model_dump()
        return FaceXConfig.model_validate(changed(values, changes or {}))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "it"
        raise UsageError(f"{named}: {where}: {problem['msg']}", "see FaceXConfig for the fields") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{path}: not a configuration: {reason}", "name sd15, sd21, compact, tiny or a file"
        ) from error


def changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values with `changes`; what is a table in both is changed key by key."""
    merged = dict(values)
    for name, value in changes.items():
        own = merged.get(name)
        merged[name] = changed(own, value) if isinstance(own, dict) and isinstance(value, dict) else value
    return merged


def with_motion(config: FaceXConfig, begun: Path | None = None) -> FaceXConfig:
    """The configuration with the face model whose coefficients it is trained on, for the checkpoint to remember.

    begun: a checkpoint that is gone on with or begun from, or a folder with one, which knows already; where there is
    none, it is the face model that is installed. Raises WeightsError for a checkpoint that cannot be read.
    """
    if config.perception == "embedded" or config.motion != "auto":
        return config
    file = begun / CHECKPOINT if begun is not None and begun.is_dir() else begun
    named = motion_name(read_config(file) if file is not None and file.is_file() else config)
    return FaceXConfig.model_validate({**config.model_dump(), "motion": named})


def first_network(config: FaceXConfig, init: Path | None, out: Path, seed: int) -> FaceXNetwork:
    """The network at step 0.

    init: a checkpoint of the same configuration, or a folder with one; else a folder with the public parts that the
    paper's configurations are built upon, in diffusers' layout, which `out` and the store may hold too. Raises
    WeightsError for what is missing or damaged, UsageError for a checkpoint of another configuration.
    """
    if init is not None and (init.is_file() or (init / CHECKPOINT).is_file()):
        network = load_network(init)
        if _shape_of(network.config) != _shape_of(config):
            raise UsageError(
                f"{init} is a {network.config.name!r} of other sizes than configuration {config.name!r}",
                f"--config {network.config.name}, or leave out --init",
            )
        network.config = config
        return network
    if init is not None and not init.is_dir():
        raise UsageError(f"--init {init}: no such file or folder", "name a checkpoint, or Stable Diffusion's folder")
    torch.manual_seed(seed)
    network = FaceXNetwork(config)
    if config.perception == "paper":
        load_backbone(network, init or out)
    elif init is not None:
        raise UsageError(f"--init {init}: there is no {CHECKPOINT} in it", f"{config.name} is built upon nothing else")
    return network


def _shape_of(config: FaceXConfig) -> FaceXConfig:
    """Without what may be another for the same weights."""
    return config.model_copy(update={"name": "", "steps": 0, "reference": "cut", "motion": "auto"})

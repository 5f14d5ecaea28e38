"""What a training of FaceX sets out from: a configuration, and weights that are random, trained before or public."""

from __future__ import annotations

import tomllib
from pathlib import Path

import torch
from pydantic import ValidationError

from facexcli.engines.facex.backbone import CHECKPOINT, load_backbone, load_network
from facexcli.engines.facex.config import FaceXConfig, config_named
from facexcli.engines.facex.model import FaceXNetwork
from facexcli.errors import UsageError


def chosen_config(named: str) -> FaceXConfig:
    """By name, or out of a TOML file with the fields of `FaceXConfig`. Raises UsageError."""
    path = Path(named)
    if path.suffix != ".toml":
        return config_named(named)
    try:
        return FaceXConfig.model_validate(tomllib.loads(path.read_text("utf-8")))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "it"
        raise UsageError(f"{path}: {where}: {problem['msg']}", "see FaceXConfig for the fields") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{path}: not a configuration: {reason}", "name sd15, sd21, compact, tiny or a file"
        ) from error


def first_network(config: FaceXConfig, init: Path | None, out: Path, seed: int) -> FaceXNetwork:
    """The network at step 0.

    init: a checkpoint of the same configuration, or a folder with one; else a folder with the public parts that the
    paper's configurations are built upon, in diffusers' layout, which `out` and the store may hold too. Raises
    WeightsError for what is missing or damaged, UsageError for a checkpoint of another configuration.
    """
    if init is not None and (init.is_file() or (init / CHECKPOINT).is_file()):
        network = load_network(init)
        if network.config != config:
            raise UsageError(
                f"{init} is a {network.config.name!r} of other sizes than configuration {config.name!r}",
                f"--config {network.config.name}, or leave out --init",
            )
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

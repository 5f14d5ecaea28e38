"""A trained network as an ONNX file, which runs without torch (see `graph_file` for what is in it)."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from copy import deepcopy
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from facexcli.engines.facex.assemble import TOKEN_ATTRIBUTES
from facexcli.engines.facex.config import MOTION_SIZES, REGIONS
from facexcli.engines.facex.controller import Steering, transformer_blocks
from facexcli.engines.facex.graph_file import KEYS, SAMPLED, STEP, TOKENS, check_exportable, metadata_of, token_count
from facexcli.engines.facex.model import FaceTensors, joined
from facexcli.errors import UsageError, WeightsError
from facexcli.media.atomic import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from facexcli.engines.facex.model import FaceXNetwork

_OPSET = 20
_KINDS = ("frozen.keys", "frozen.values", "new.keys", "new.values")
"""What a block of the UNet looks up (see `Steering`)."""


def export_network(network: FaceXNetwork, path: Path) -> None:
    """Write a network with its weights as one ONNX file. The file appears complete or not at all.

    Raises UsageError for a configuration that stays with torch, or without the packages that write ONNX, OutputError
    where the file cannot be written.
    """
    check_exportable(network.config)
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise UsageError(f"exporting needs the package {package}", "pip install 'facexcli[diffusion]'")
    whole = deepcopy(network).eval().requires_grad_(False)
    whole.controller.fold()
    content = _file_of(whole)
    write_whole(path, content)


class _Tokens(nn.Module):
    """See `FaceXNetwork.tokens`: all of a face's tokens side by side, in the order of `TOKEN_ATTRIBUTES`."""

    def __init__(self, network: FaceXNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, rgb: Tensor, masks: Tensor, identity: Tensor, *motion: Tensor) -> Tensor:
        faces = FaceTensors(rgb, masks, identity, dict(zip(MOTION_SIZES, motion, strict=True)))
        tokens = self.network.tokens(faces)
        return joined([tokens[name] for name in TOKEN_ATTRIBUTES])


class _Keys(nn.Module):
    """See `FaceXNetwork.steering`: everything that the blocks look up, block by block."""

    def __init__(self, network: FaceXNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, context: Tensor) -> tuple[Tensor, ...]:
        found = self.network.steering(context)
        assert found.new is not None
        return tuple(value for name in found.frozen for value in (*found.frozen[name], *found.new[name]))


class _Step(nn.Module):
    """One pass of the UNet, see `FaceXNetwork.denoise`; what is looked up comes as `_Keys` gives it."""

    def __init__(self, network: FaceXNetwork) -> None:
        super().__init__()
        self.network = network
        self.blocks = tuple(transformer_blocks(network.unet))

    def forward(self, latent: Tensor, timestep: Tensor, channels: Tensor, *looked_up: Tensor) -> Tensor:
        of_block = {name: looked_up[4 * row : 4 * row + 4] for row, name in enumerate(self.blocks)}
        frozen = {name: (values[0], values[1]) for name, values in of_block.items()}
        new = {name: (values[2], values[3]) for name, values in of_block.items()}
        return self.network.denoise(latent, timestep, Steering(frozen, new), channels, None)


def _file_of(network: FaceXNetwork) -> bytes:
    config = network.config
    size, grid = config.size_px, config.latent_px
    face = {
        "rgb": torch.zeros(1, 3, size, size),
        "masks": torch.zeros(1, len(REGIONS), size, size),
        "identity": torch.zeros(1, *config.identity_shape),
        **{name: torch.zeros(1, count) for name, count in MOTION_SIZES.items()},
    }
    context = torch.zeros(1, token_count(config), config.width)
    with torch.inference_mode():
        looked_up = _Keys(network)(context)
    names = [f"{block}.{kind}" for block in transformer_blocks(network.unet) for kind in _KINDS]
    step = {
        "latent": torch.zeros(1, config.latent_channels, grid, grid),
        "timestep": torch.zeros(1),
        "channels": torch.zeros(1, config.latent_channels + 1, grid, grid),
        **{name: torch.zeros(value.shape) for name, value in zip(names, looked_up, strict=True)},
    }
    onnx = import_module("onnx")
    parts = {
        TOKENS: _traced(_Tokens(network), face, ["tokens"]),
        KEYS: _traced(_Keys(network), {"context": context}, names),
        STEP: _traced(_Step(network), step, [SAMPLED]),
    }
    graph = onnx.GraphProto(name="facex")
    for prefix, part in parts.items():
        _check_plain(part)
        named = onnx.compose.add_prefix(part, prefix).graph
        for field in ("node", "initializer", "input", "output"):
            getattr(graph, field).extend(getattr(named, field))
    for node in graph.node:  # where in a source file it comes from is nobody's business
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", _OPSET)], ir_version=10)
    model.producer_name = "facex"
    for key, value in metadata_of(config, model.graph.SerializeToString()).items():
        model.metadata_props.add(key=key, value=value)
    return bytes(model.SerializeToString())


def _traced(module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> Any:
    """A module as an ONNX model of its own, constants among the weights."""
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _check_plain(model: Any) -> None:
    if model.functions or any(node.domain not in ("", "ai.onnx") for node in model.graph.node):
        raise WeightsError("torch wrote operators that are none of ONNX's own", "use the versions in constraints.txt")


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of packages that are not there, and of its own to-do list."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)

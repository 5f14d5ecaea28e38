"""The public networks that FaceX is built upon, from a folder in the layout of diffusers.

    FOLDER/facex.safetensors    what FaceX trained (`checkpoint`)
    FOLDER/unet/                Stable Diffusion's UNet, or a community's
    FOLDER/vae/                 its autoencoder
    FOLDER/image_encoder/       CLIP ViT-L/14, vision only
    FOLDER/text_encoder/        Stable Diffusion's text encoder, for guidance with a checkpoint that lacks its answer

A part that is not in the folder is taken from the weights that `facex models pull` fetched. Nothing is downloaded here,
and only safetensors are read.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import torch

from facexcli.engines.facex.checkpoint import load_checkpoint
from facexcli.errors import WeightsError
from facexcli.weights.catalog import entry
from facexcli.weights.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from facexcli.engines.facex.config import FaceXConfig
    from facexcli.engines.facex.model import FaceXNetwork

CHECKPOINT = "facex.safetensors"
_CLIP, _VAE = "clip_vit_large_patch14", "sd_vae_ft_mse"
PULLED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "unet": {"sd15": "stable_diffusion_v1_5"},
        "vae": {"sd15": _VAE, "sd21": _VAE},
        "image_encoder": {"sd15": _CLIP, "sd21": _CLIP},
    }
)
"""What brings a part to a configuration: names of the catalog (`facex models list`)."""

_OPEN_CLIP_WIDTH = 1024
_UNET_FACTS = ("in_channels", "out_channels", "cross_attention_dim", "block_out_channels", "layers_per_block")


def load_network(path: Path, unet: Path | None = None) -> FaceXNetwork:
    """The whole network of `--weights`: a checkpoint, or a folder with one and with what it is built upon.

    unet: another UNet of the same shape in place of its own, such as a community's (see `unet_place`).

    Raises WeightsError for what is missing, damaged or of the wrong kind.
    """
    file = checkpoint_of(path)
    network = load_checkpoint(file)
    if network.config.perception == "paper":
        load_backbone(network, file.parent, unet=unet)
    elif unet is not None:
        _load_unet(network, unet_place(unet))
    return network


def unet_place(named: Path, store: Store | None = None) -> Path:
    """The folder of a UNet in diffusers' layout that a folder, a pipeline's folder or a name of pulled weights means.

    Raises WeightsError, and UsageError for a name that is neither.
    """
    for folder in (named, named / "unet"):
        if (folder / "config.json").is_file():
            return folder
    if named.exists():
        raise WeightsError(f"{named}: no UNet in diffusers' layout", "name the folder that holds unet/config.json")
    known = store or Store()
    name = str(named)
    files = [file for file in entry(name, known.known).files if file.startswith("unet/")]
    if not files:
        raise WeightsError(f"{name} has no UNet", "name a folder, or weights that `facex models list` shows with one")
    return next(path.parent for path in [known.path(name, file) for file in files] if path.name == "config.json")


def check_unet(config: FaceXConfig, place: Path) -> None:
    """By its own words, the UNet in `place` has the shape that a configuration asks for. Raises WeightsError."""
    try:
        given = json.loads((place / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{place / 'config.json'}: cannot be read", "fetch it again") from error
    _check_kind(given if isinstance(given, dict) else {}, config, place)


def checkpoint_of(path: Path) -> Path:
    """The checkpoint that a file or a folder stands for. Raises WeightsError for a folder without one."""
    if not path.is_dir():
        return path
    file = path / CHECKPOINT
    if not file.is_file():
        raise WeightsError(f"{path}: there is no {CHECKPOINT} in this folder", "name a checkpoint with --weights FILE")
    return file


def load_backbone(network: FaceXNetwork, folder: Path, store: Store | None = None, unet: Path | None = None) -> None:
    """Fill in UNet, VAE and image encoder, from `folder` or else from the store of pulled weights.

    Raises WeightsError for what is not there, or of the wrong kind.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from transformers import CLIPVisionModel

    known = store or Store()
    _load_unet(network, unet_place(unet, known) if unet else _place("unet", network.config, folder, known))
    place = _place("vae", network.config, folder, known)
    _copy(_pretrained(AutoencoderKL, place), cast("nn.Module", network.codec.vae), place)
    place = _place("image_encoder", network.config, folder, known)
    _copy(_pretrained(CLIPVisionModel, place, part_of_more=True), cast("nn.Module", network.encoder.clip), place)
    _fill_null_context(network, folder / "text_encoder")


def _load_unet(network: FaceXNetwork, place: Path) -> None:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    check_unet(network.config, place)
    _copy(_pretrained(UNet2DConditionModel, place), network.unet, place)


def _fill_null_context(network: FaceXNetwork, folder: Path) -> None:
    """The empty prompt's embedding, for a checkpoint that does not carry it yet, where the text encoder is there.

    A prompt of nothing is a beginning, an end and padding: for Stable Diffusion 1 ends, for 2 the token 0.
    """
    if network.null_context.any() or not (folder / "config.json").is_file():
        return
    from transformers import CLIPTextModel

    encoder = _pretrained(CLIPTextModel, folder, part_of_more=True)
    words, count = encoder.config.vocab_size, network.config.null_tokens
    padding = 0 if encoder.config.hidden_size == _OPEN_CLIP_WIDTH else words - 1
    tokens = torch.tensor([[words - 2, words - 1, *[padding] * (count - 2)]])
    with torch.inference_mode():
        found = encoder(tokens).last_hidden_state
    if found.shape != network.null_context.shape:
        raise WeightsError(
            f"{folder}: its tokens are {found.shape[-1]} wide, {network.config.name} needs {network.config.width}",
            "take the text encoder that belongs to the UNet",
        )
    network.null_context.copy_(found)


def _place(part: str, config: FaceXConfig, folder: Path, store: Store) -> Path:
    """The folder of one network: beside the checkpoint, or in the store, where its files are verified."""
    beside = folder / part
    if (beside / "config.json").is_file():
        return beside
    name = PULLED[part].get(config.name)
    if name is None:
        raise WeightsError(f"{beside}: missing; FaceX {config.name} is built upon it", "put it there")
    if not store.installed(name):
        raise WeightsError(f"{beside}: missing; FaceX {config.name} is built upon it", f"facex models pull {name}")
    files = [store.path(name, file) for file in entry(name, store.known).files]
    return next(file.parent for file in files if file.name == "config.json")


def _check_kind(unet: Mapping[str, Any], config: FaceXConfig, place: Path) -> None:
    expected = config.unet_arguments()
    for fact in _UNET_FACTS:
        given, wanted = _plain(unet.get(fact, "not told")), _plain(expected[fact])
        if given != wanted:
            raise WeightsError(
                f"{place}: another kind of UNet: {fact} is {given}, {config.name} needs {wanted}",
                f"take the UNet that {config.name} is named after, or one that was fine-tuned from it",
            )


def _pretrained(kind: Any, folder: Path, *, part_of_more: bool = False) -> Any:
    """A network of diffusers or transformers. What its file lacks, they would fill up with random numbers.

    part_of_more: the file may hold other networks beside it, as CLIP's does.
    """
    try:
        network, told = kind.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{folder}: not a {kind.__name__}: {str(error).splitlines()[0]}", "fetch it again; facex reads safetensors"
        ) from error
    missing, foreign = sorted(told["missing_keys"]), sorted(told["unexpected_keys"])
    if missing or (foreign and not part_of_more):
        what = f"lacks {missing[0]}" if missing else f"has {foreign[0]}, which no {kind.__name__} of its shape has"
        raise WeightsError(f"{folder}: its file {what}", "fetch it again, or take the network that it belongs to")
    return network


def _copy(source: nn.Module, destination: nn.Module, folder: Path) -> None:
    """The weights themselves, in float32, and what a network keeps beside them where there was none yet."""
    try:
        destination.load_state_dict(source.float().state_dict(), assign=True)
    except RuntimeError as error:
        raise WeightsError(f"{folder}: its weights have other shapes than its configuration says") from error
    for name, buffer in source.named_buffers():
        owner, _, own_name = name.rpartition(".")
        if destination.get_buffer(name).is_meta:
            destination.get_submodule(owner).register_buffer(own_name, buffer, persistent=False)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

"""The public networks that FaceX is built upon, from a folder in the layout of diffusers.

    FOLDER/facex.safetensors    what FaceX trained (`checkpoint`)
    FOLDER/unet/                Stable Diffusion's UNet, or a community's
    FOLDER/vae/                 its autoencoder
    FOLDER/image_encoder/       CLIP ViT-L/14, vision only

A part that is not in the folder is taken from the weights that `facex models pull` fetched. Nothing is downloaded here,
and only safetensors are read.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

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

_UNET_FACTS = ("in_channels", "out_channels", "cross_attention_dim", "block_out_channels", "layers_per_block")


def load_network(path: Path) -> FaceXNetwork:
    """The whole network of `--weights`: a checkpoint, or a folder with one and with what it is built upon.

    Raises WeightsError for what is missing, damaged or of the wrong kind.
    """
    file = checkpoint_of(path)
    network = load_checkpoint(file)
    if network.config.perception == "paper":
        load_backbone(network, file.parent)
    return network


def checkpoint_of(path: Path) -> Path:
    """The checkpoint that a file or a folder stands for. Raises WeightsError for a folder without one."""
    if not path.is_dir():
        return path
    file = path / CHECKPOINT
    if not file.is_file():
        raise WeightsError(f"{path}: there is no {CHECKPOINT} in this folder", "name a checkpoint with --weights FILE")
    return file


def load_backbone(network: FaceXNetwork, folder: Path, store: Store | None = None) -> None:
    """Fill in UNet, VAE and image encoder, from `folder` or else from the store of pulled weights.

    Raises WeightsError for what is not there, or of the wrong kind.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPVisionModel

    known = store or Store()
    place = _place("unet", network.config, folder, known)
    unet = _pretrained(UNet2DConditionModel, place)
    _check_kind(unet, network.config, place)
    _copy(unet, network.unet, place)
    place = _place("vae", network.config, folder, known)
    _copy(_pretrained(AutoencoderKL, place), cast("nn.Module", network.codec.vae), place)
    place = _place("image_encoder", network.config, folder, known)
    _copy(_pretrained(CLIPVisionModel, place), cast("nn.Module", network.encoder.clip), place)


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


def _check_kind(unet: Any, config: FaceXConfig, place: Path) -> None:
    expected = config.unet_arguments()
    for fact in _UNET_FACTS:
        given, wanted = _plain(unet.config[fact]), _plain(expected[fact])
        if given != wanted:
            raise WeightsError(
                f"{place}: another kind of UNet: {fact} is {given}, {config.name} needs {wanted}",
                f"take the UNet that {config.name} is named after, or one that was fine-tuned from it",
            )


def _pretrained(kind: Any, folder: Path) -> Any:
    try:
        return kind.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{folder}: not a {kind.__name__}: {str(error).splitlines()[0]}", "fetch it again; facex reads safetensors"
        ) from error


def _copy(source: nn.Module, destination: nn.Module, folder: Path) -> None:
    try:
        destination.load_state_dict(source.state_dict())
    except RuntimeError as error:
        raise WeightsError(f"{folder}: its weights have other shapes than its configuration says") from error


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

"""The public networks that FaceX is built upon, from a folder in the layout of diffusers.

    FOLDER/facex.safetensors    what FaceX trained (`checkpoint`)
    FOLDER/unet/                Stable Diffusion's UNet, or a community's
    FOLDER/vae/                 its autoencoder
    FOLDER/image_encoder/       CLIP ViT-L/14, vision only

Nothing is downloaded here, and only safetensors are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from facexcli.engines.facex.checkpoint import load_checkpoint
from facexcli.errors import WeightsError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from facexcli.engines.facex.model import FaceXNetwork

CHECKPOINT = "facex.safetensors"
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


def load_backbone(network: FaceXNetwork, folder: Path) -> None:
    """Fill in UNet, VAE and image encoder. Raises WeightsError for what is not there, or of the wrong kind."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPVisionModel

    name = network.config.training_name
    unet = _pretrained(UNet2DConditionModel, folder / "unet", name)
    expected = network.config.unet_arguments()
    for fact in _UNET_FACTS:
        given, wanted = _plain(unet.config[fact]), _plain(expected[fact])
        if given != wanted:
            raise WeightsError(
                f"{folder / 'unet'}: another kind of UNet: {fact} is {given}, {network.config.name} needs {wanted}",
                f"take the UNet of {name}, or one that was fine-tuned from it",
            )
    _copy(unet, network.unet, folder / "unet")
    _copy(_pretrained(AutoencoderKL, folder / "vae", name), cast("nn.Module", network.codec.vae), folder / "vae")
    _copy(
        _pretrained(CLIPVisionModel, folder / "image_encoder", "clip-vit-large-patch14"),
        cast("nn.Module", network.encoder.clip),
        folder / "image_encoder",
    )


def _pretrained(kind: Any, folder: Path, name: str) -> Any:
    if not (folder / "config.json").is_file():
        raise WeightsError(f"{folder}: missing; FaceX is built upon it", f"facex models pull {name}")
    try:
        return kind.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{folder}: not a {kind.__name__}: {reason}", f"facex models pull {name}") from error


def _copy(source: nn.Module, destination: nn.Module, folder: Path) -> None:
    try:
        destination.load_state_dict(source.state_dict())
    except RuntimeError as error:
        raise WeightsError(f"{folder}: its weights have other shapes than its configuration says") from error


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

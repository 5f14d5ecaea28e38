"""The whole network: what is trained together (sec. 4.3), and what it is asked when a face is edited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from facexcli.engines.difffae.denoiser import Denoiser
from facexcli.engines.difffae.slots import RegionSlots
from facexcli.engines.facex.latents import LatentCodec, UnshuffleCodec, VAECodec

if TYPE_CHECKING:
    from facexcli.diffusion.sample import Predict
    from facexcli.engines.difffae.config import DiffFAEConfig


class VQCodec(nn.Module):
    """The VQ-VAE f4 of latent diffusion (Rombach et al. 2022): 3 channels, 4 times smaller, 8192 words."""

    def __init__(self) -> None:
        super().__init__()
        from diffusers.models.autoencoders.vq_model import VQModel

        self.vq = VQModel(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(128, 256, 512),
            layers_per_block=2,
            latent_channels=3,
            num_vq_embeddings=8192,
            vq_embed_dim=3,
        )

    def encode(self, rgb: Tensor) -> Tensor:
        """What is diffused is not yet quantised; decoding does that."""
        latent: Tensor = self.vq.encode(rgb).latents
        return latent

    def decode(self, latent: Tensor) -> Tensor:
        rgb: Tensor = self.vq.decode(latent).sample
        return rgb


class DiffFAENetwork(nn.Module):
    """RSC, the denoiser and the codec. Holds no state between calls."""

    def __init__(self, config: DiffFAEConfig) -> None:
        super().__init__()
        self.config = config
        self.regions = RegionSlots(config)
        self.denoiser = Denoiser(config)
        self.codec: nn.Module = make_codec(config)

    @property
    def latents(self) -> LatentCodec:
        """The codec, as what it can do."""
        return self.codec  # type: ignore[return-value]

    def predictor(self, rendering: Tensor, slots: Tensor, identity: Tensor | None) -> Predict:
        """The network under its conditions, as `diffusion.sample` wants it: the latent keeps its own precision."""

        def predict(latent: Tensor, timestep: Tensor) -> Tensor:
            given = latent.to(rendering.dtype)
            found: Tensor = self.denoiser(given, timestep.to(latent.device), rendering, slots, identity)
            return found.to(latent.dtype)

        return predict


def make_codec(config: DiffFAEConfig) -> VQCodec | VAECodec | UnshuffleCodec:
    """The codec of a configuration, with random weights where it has any."""
    if config.latent == "vq":
        return VQCodec()
    return VAECodec() if config.latent == "kl" else UnshuffleCodec(config.size_px // config.latent_px)

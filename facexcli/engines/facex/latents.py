"""Between pixels and the latents that are denoised: Stable Diffusion's VAE, or pixels folded into channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from facexcli.engines.facex.config import FaceXConfig


class LatentCodec(Protocol):
    """Pictures are (B, 3, S, S) in -1..1; latents (B, C, s, s) of about unit variance."""

    def encode(self, rgb: Tensor) -> Tensor: ...

    def decode(self, latent: Tensor) -> Tensor: ...


class VAECodec(nn.Module):
    """AutoencoderKL of Stable Diffusion, frozen. The mean is taken: encoding is not random."""

    def __init__(self) -> None:
        super().__init__()
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        self.vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=4,
            sample_size=512,
            scaling_factor=0.18215,
        )

    def encode(self, rgb: Tensor) -> Tensor:
        latent: Tensor = self.vae.encode(rgb).latent_dist.mean * self.vae.config.scaling_factor
        return latent

    def decode(self, latent: Tensor) -> Tensor:
        rgb: Tensor = self.vae.decode(latent / self.vae.config.scaling_factor).sample
        return rgb


class UnshuffleCodec(nn.Module):
    """factor x factor pixels in one cell: exact both ways, without weights."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self._factor = factor

    def encode(self, rgb: Tensor) -> Tensor:
        return functional.pixel_unshuffle(rgb, self._factor)

    def decode(self, latent: Tensor) -> Tensor:
        return functional.pixel_shuffle(latent, self._factor)


def make_codec(config: FaceXConfig) -> VAECodec | UnshuffleCodec:
    """The codec of a configuration, with random weights where it has any."""
    return VAECodec() if config.latent == "vae" else UnshuffleCodec(config.latent_factor)

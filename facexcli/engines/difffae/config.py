"""What a DiffFAE network is made of. A checkpoint carries its configuration, so that nobody has to remember it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from facexcli.errors import unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

LatentName = Literal["vq", "kl", "unshuffle"]
_LATENTS: Mapping[LatentName, tuple[int, int]] = MappingProxyType({"vq": (3, 4), "kl": (4, 8), "unshuffle": (48, 4)})
"""Channels of a latent, and pixels along the side of its cells."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EncoderShape(_Part):
    """The region encoder (table 4): a convolutional U-Net behind a convolution of `patch_px` with as large a stride."""

    patch_px: int
    base: int
    multipliers: tuple[int, ...]
    blocks: int
    heads: int


class SlotShape(_Part):
    """Slot attention: how many slots of what width, and how often they look."""

    count: int = Field(default=4, ge=1, le=64)
    width: int = 192
    iterations: int = Field(default=3, ge=1)


class UNetShape(_Part):
    """The denoising network: `UNet2DConditionModel` of diffusers, with attention below its first level."""

    channels: tuple[int, ...]
    layers_per_block: int = 2
    head_width: int = 32


class DiffFAEConfig(_Part):
    """All that decides the shapes of a network's weights, how it was trained and how it is sampled.

    size_px: side of the crop. latent: the paper's VQ-f4, Stable Diffusion's KL VAE, or 4 x 4 pixels folded into 48
    channels, without a network. identity: the token that AdaIN takes (table 3), ArcFace's embedding or dlib's
    descriptor; none is the ablation. attention_weight: delta of eq. 8; 0 is the ablation. physical: what renders I_R.
    region_prior: how much the first four slots are drawn to where face, hair, clothes and background are by the
    landmarks; 0 leaves that to the slots, as the paper does, which takes far more training.
    """

    name: str
    size_px: int = Field(ge=32, multiple_of=8)
    encoder: EncoderShape
    slots: SlotShape
    unet: UNetShape
    latent: LatentName
    identity: Literal["arcface", "dlib", "none"] = "dlib"
    physical: Literal["embedded", "flame"] = "embedded"
    prediction: Literal["epsilon", "v_prediction"] = "epsilon"
    attention_weight: float = Field(default=0.1, ge=0)
    region_prior: float = Field(default=0.0, ge=0)
    decoder_width: int = 64
    steps: int = 10

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.size_px % (self.encoder.patch_px * 2 ** (len(self.encoder.multipliers) - 1)):
            raise ValueError(f"{self.size_px} pixels cannot be halved as often as the encoder has levels")
        return self

    @property
    def latent_channels(self) -> int:
        return _LATENTS[self.latent][0]

    @property
    def latent_px(self) -> int:
        return self.size_px // _LATENTS[self.latent][1]

    @property
    def grid_px(self) -> int:
        """Side of the grid on which slots look: 32 in the paper."""
        return self.size_px // self.encoder.patch_px

    @property
    def identity_width(self) -> int:
        return {"arcface": 512, "dlib": 128, "none": 0}[self.identity]

    def unet_arguments(self) -> dict[str, Any]:
        """For `UNet2DConditionModel`: the noisy latent and f_r in, what is predicted out."""
        shape, below = self.unet, len(self.unet.channels) - 1
        return {
            "sample_size": self.latent_px,
            "in_channels": 2 * self.latent_channels,
            "out_channels": self.latent_channels,
            "block_out_channels": shape.channels,
            "layers_per_block": shape.layers_per_block,
            "down_block_types": ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * below,
            "up_block_types": ("CrossAttnUpBlock2D",) * below + ("UpBlock2D",),
            "cross_attention_dim": self.slots.width,
            "attention_head_dim": tuple(max(1, width // shape.head_width) for width in shape.channels),
        }


PRESETS: Mapping[str, DiffFAEConfig] = MappingProxyType(
    {
        config.name: config
        for config in (
            DiffFAEConfig(
                name="paper",
                size_px=256,
                encoder=EncoderShape(patch_px=8, base=64, multipliers=(1, 1, 2, 4), blocks=2, heads=8),
                slots=SlotShape(),
                unet=UNetShape(channels=(224, 448, 672, 896)),
                latent="vq",
                identity="arcface",
                physical="flame",
            ),
            DiffFAEConfig(
                name="tiny",
                size_px=64,
                encoder=EncoderShape(patch_px=4, base=32, multipliers=(1, 2), blocks=1, heads=4),
                slots=SlotShape(width=64),
                unet=UNetShape(channels=(64, 96), layers_per_block=1),
                latent="unshuffle",
                prediction="v_prediction",
                region_prior=0.05,
                decoder_width=32,
                steps=4,
            ),
        )
    }
)
"""The paper's configuration (sec. 5.1, app. B), and one for tests and machines without a graphics card."""


def config_named(name: str) -> DiffFAEConfig:
    """Raises UsageError, naming the nearest, for a name that is not in `PRESETS`."""
    if name not in PRESETS:
        raise unknown_name("configuration", name, PRESETS)
    return PRESETS[name]

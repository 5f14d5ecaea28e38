"""What a FaceX network is made of. A checkpoint carries its configuration, so that nobody has to remember it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from facexcli.errors import unknown_name
from facexcli.settings import SwapReference

if TYPE_CHECKING:
    from collections.abc import Mapping

REGIONS = ("eyebrows", "eyes", "nose", "lips", "ears", "skin", "hair", "background")
"""The eight regions of the paper's sec. 3.2, in the order of their masks and tokens."""

MOTION_SIZES: Mapping[str, int] = MappingProxyType({"expression": 64, "pose": 6, "gaze": 4, "texture": 80, "light": 27})
"""How many numbers describe each: f_E, f_P, f_G, f_T and f_L. One token each, in this order."""

_VAE_CHANNELS, _VAE_FACTOR = 4, 8
_UNSHUFFLE_FACTOR = 4


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UNetShape(_Part):
    """The denoising network: `UNet2DConditionModel` of diffusers, with cross-attention at all levels but the last.

    heads: attention heads, of every level or one number for all; `attention_head_dim` in diffusers' old naming.
    """

    channels: tuple[int, ...]
    layers_per_block: int = 2
    heads: int | tuple[int, ...] = 8
    linear_projection: bool = False


class FaceXConfig(_Part):
    """All that decides the shapes of a network's weights, and how it is sampled.

    size_px: side of the crop. latent: Stable Diffusion's VAE (8 times smaller, 4 channels), or 4 x 4 pixels folded
    into 48 channels, without a network. width: of context tokens. perception: `paper` takes ArcFace's feature map,
    CLIP ViT-L/14 and pretrained face models; `embedded` the stand-ins that come with facex, and a small image encoder
    that is trained along. inpainting: the reference image I_R enters as tokens of the image encoder (the paper), or as
    channels of the UNet's input, beside its mask. motion: with `paper`, whose coefficients it was trained on;
    auto for the best that is installed. residual: what the UNet answers is added to I_R, which it then need not hand
    through its first layer (He et al. 2016); for clean latents alone. identity_spread: tokens that dlib's one
    descriptor becomes. reference: what it was trained to see in the place of a face, see `assemble_reference`.
    """

    name: str
    size_px: int = Field(ge=64, multiple_of=8)
    unet: UNetShape
    width: int
    latent: Literal["vae", "unshuffle"] = "vae"
    prediction: Literal["epsilon", "v_prediction", "sample"] = "epsilon"
    perception: Literal["paper", "embedded"] = "paper"
    motion: Literal["auto", "landmarks", "deep3dfacerecon"] = "auto"
    inpainting: Literal["tokens", "channels"] = "tokens"
    encoder_width: int = 1024
    fpn_widths: tuple[int, int] = (512, 256)
    adapter_hidden: int = 3072
    frc_heads: int = 8
    null_tokens: int = 77
    steps: int = 10
    residual: bool = False
    reference: SwapReference = "cut"
    identity_spread: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.inpainting == "channels" and self.latent == "vae":
            raise ValueError("a frozen UNet has no input channels for the inpainting reference")
        if self.residual and (self.inpainting, self.prediction) != ("channels", "sample"):
            raise ValueError("residual is for a reference in channels and prediction sample")
        if self.perception == "embedded" and self.motion == "deep3dfacerecon":
            raise ValueError("deep3dfacerecon is for perception paper")
        return self

    @property
    def latent_channels(self) -> int:
        return _VAE_CHANNELS if self.latent == "vae" else 3 * _UNSHUFFLE_FACTOR**2

    @property
    def latent_factor(self) -> int:
        """Pixels along the side of a latent cell."""
        return _VAE_FACTOR if self.latent == "vae" else _UNSHUFFLE_FACTOR

    @property
    def latent_px(self) -> int:
        return self.size_px // self.latent_factor

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w)."""
        return self.latent_channels, self.latent_px, self.latent_px

    @property
    def input_channels(self) -> int:
        """Of the UNet: the noisy latent, and where it is given as channels, the reference and its mask."""
        reference = self.latent_channels + 1 if self.inpainting == "channels" else 0
        return self.latent_channels + reference

    @property
    def identity_shape(self) -> tuple[int, int]:
        """Tokens and numbers of phi_ID: ArcFace's last feature map, 7 x 7 x 512, or dlib's descriptor."""
        return (49, 512) if self.perception == "paper" else (1, 128)

    @property
    def identity_tokens(self) -> int:
        """dlib's one descriptor is spread over several tokens, so that attention has more than one place to look."""
        return 49 if self.perception == "paper" else self.identity_spread

    def unet_arguments(self) -> dict[str, Any]:
        """For `UNet2DConditionModel`."""
        shape, below = self.unet, len(self.unet.channels) - 1
        return {
            "sample_size": self.latent_px,
            "in_channels": self.input_channels,
            "out_channels": self.latent_channels,
            "block_out_channels": shape.channels,
            "layers_per_block": shape.layers_per_block,
            "down_block_types": ("CrossAttnDownBlock2D",) * below + ("DownBlock2D",),
            "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * below,
            "cross_attention_dim": self.width,
            "attention_head_dim": shape.heads,
            "use_linear_projection": shape.linear_projection,
        }


PRESETS: Mapping[str, FaceXConfig] = MappingProxyType(
    {
        config.name: config
        for config in (
            FaceXConfig(name="sd15", size_px=512, unet=UNetShape(channels=(320, 640, 1280, 1280)), width=768),
            FaceXConfig(
                name="sd21",
                size_px=768,
                unet=UNetShape(channels=(320, 640, 1280, 1280), heads=(5, 10, 20, 20), linear_projection=True),
                width=1024,
                prediction="v_prediction",
            ),
            FaceXConfig(
                name="compact",
                size_px=128,
                unet=UNetShape(channels=(64, 96, 256), layers_per_block=1),
                width=256,
                latent="unshuffle",
                prediction="sample",
                residual=True,
                reference="warp",
                perception="embedded",
                inpainting="channels",
                encoder_width=192,
                fpn_widths=(128, 64),
                adapter_hidden=512,
                null_tokens=4,
                steps=2,
            ),
            FaceXConfig(
                name="tiny",
                size_px=64,
                unet=UNetShape(channels=(32, 64), layers_per_block=1),
                width=64,
                latent="unshuffle",
                prediction="sample",  # 32 channels cannot hand through the noise of 48
                perception="embedded",
                inpainting="channels",
                encoder_width=32,
                fpn_widths=(32, 16),
                adapter_hidden=128,
                null_tokens=4,
                steps=2,
            ),
        )
    }
)
"""The configurations that come with facex: the paper's two (sec. 4), one for machines without a GPU, one for tests."""


def config_named(name: str) -> FaceXConfig:
    """Raises UsageError, naming the nearest, for a name that is not in `PRESETS`."""
    if name not in PRESETS:
        raise unknown_name("configuration", name, PRESETS)
    return PRESETS[name]

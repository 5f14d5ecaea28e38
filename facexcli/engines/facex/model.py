"""The whole network: perception's numbers and pictures in, a denoised latent out (fig. 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from facexcli.diffusion.fuse import latent_mask
from facexcli.diffusion.sample import guided
from facexcli.engines.facex.adapters import RepresentationAdapter, SDAdapter
from facexcli.engines.facex.config import MOTION_SIZES, REGIONS
from facexcli.engines.facex.controller import FacialRepresentationController
from facexcli.engines.facex.latents import make_codec
from facexcli.engines.facex.regions import RegionFeatures
from facexcli.engines.facex.vision import feature_map, make_encoder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facexcli.diffusion.sample import Predict
    from facexcli.engines.facex.config import FaceXConfig
    from facexcli.engines.facex.controller import Steering

TRAINED = ("regions", "representations", "sd_adapter", "controller")
"""The parts that the paper trains (sec. 3.3, 3.4); what is embedded is trained with its network from the beginning."""
BACKBONE = ("unet", "codec", "encoder")


@dataclass(frozen=True, slots=True)
class FaceTensors:
    """FORD's answer for a batch of faces, as tensors.

    rgb: (B, 3, S, S) in -1..1. masks: (B, 8, S, S) in 0..1. identity: (B, N, its size). motion: each of `MOTION_SIZES`,
    (B, its size).
    """

    rgb: Tensor
    masks: Tensor
    identity: Tensor
    motion: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Tokens:
    """A face as adapted tokens, each (B, N, width), by representation: `identity`, the regions, and the motion."""

    parts: Mapping[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.parts[name]

    def row(self, index: int) -> Tokens:
        """One face of the batch."""
        return Tokens({name: value[index : index + 1] for name, value in self.parts.items()})


class FaceXNetwork(nn.Module):
    """FORD's learned part, FORS, FRC and the UNet. Holds no state between calls.

    null_context: what the frozen attention sees without conditions: the empty prompt's embedding, (1, N, width).
    """

    null_context: Tensor

    def __init__(self, config: FaceXConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = make_encoder(config)
        self.regions = RegionFeatures(config)
        self.representations = RepresentationAdapter(config)
        self.sd_adapter = SDAdapter(config)
        self.unet = UNet2DConditionModel(**config.unet_arguments())
        self.controller = FacialRepresentationController(self.unet, config.width, config.frc_heads)
        self.controller.attach(self.unet)
        self.codec = make_codec(config)
        self.register_buffer("null_context", torch.zeros(1, config.null_tokens, config.width))

    def tokens(self, faces: FaceTensors) -> Tokens:
        """All tokens of faces, through both adapters. A source's are made once a video."""
        regions = self.regions(feature_map(self.encoder(faces.rgb)), faces.masks)
        motion = {name: faces.motion[name][:, None] for name in MOTION_SIZES}
        adapted = self.representations({"identity": faces.identity, "regions": regions, **motion})
        done = {name: self.sd_adapter(value) for name, value in adapted.items()}
        by_region = done.pop("regions").split(1, dim=1)
        return Tokens({**done, **dict(zip(REGIONS, by_region, strict=True))})

    def inpainting_tokens(self, reference: Tensor) -> Tensor | None:
        """f_Inp of I_R (B, 3, S, S) in -1..1, adapted: (B, 257, width); None where I_R is given as channels."""
        if self.config.inpainting == "channels":
            return None
        hidden = self.representations({"inpainting": self.encoder(reference)})["inpainting"]
        return self.sd_adapter(hidden)  # type: ignore[no-any-return]

    def reference_channels(self, reference: Tensor, hole: Tensor) -> Tensor | None:
        """What the UNet sees beside the noisy latent: I_R as a latent and its hole (B, 1, S, S) on the latent grid."""
        if self.config.inpainting == "tokens":
            return None
        return torch.cat([self.codec.encode(reference), latent_mask(hole, (self.config.latent_px,) * 2)], dim=1)

    def steering(self, context: Tensor) -> Steering:
        """Keys and values of f_SD, for all steps."""
        return self.controller.steering(self.unet, context)

    def null_steering(self, batch: int) -> Steering:
        """The null branch: the empty prompt, and nothing from the controller."""
        return self.controller.steering(self.unet, self.null_context.expand(batch, -1, -1), with_new=False)

    def predictor(
        self,
        steering: Steering,
        channels: Tensor | None = None,
        guidance: float = 1.0,
        null: Steering | None = None,
    ) -> Predict:
        """The network under its conditions, as `diffusion.sample` wants it: the latent keeps its own precision.

        null: `null_steering(1)`, where it is known already; it is the same for every frame.
        """

        def under(conditions: Steering) -> Predict:
            def predict(latent: Tensor, timestep: Tensor) -> Tensor:
                given = latent.to(self.null_context.dtype)
                seen = given if channels is None else torch.cat([given, channels], dim=1)
                arguments = {"steering": conditions}
                found: Tensor = self.unet(seen, timestep, None, cross_attention_kwargs=arguments, return_dict=False)[0]
                return found.to(latent.dtype)

            return predict

        if guidance == 1:
            return under(steering)
        batch = next(iter(steering.frozen.values()))[0].shape[0]
        return guided(under(steering), under((null or self.null_steering(1)).expanded(batch)), guidance)


def joined(parts: Sequence[Tensor | None]) -> Tensor:
    """f_SD: tokens (B, N, width) side by side, as far as there are any."""
    return torch.cat([part for part in parts if part is not None], dim=1)

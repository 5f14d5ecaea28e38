"""The whole network: perception's numbers and pictures in, a denoised latent out (fig. 3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

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
    from collections.abc import Callable, Mapping, Sequence

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

    def mapped(self, change: Callable[[Tensor], Tensor]) -> FaceTensors:
        """With every tensor changed."""
        motion = {name: change(value) for name, value in self.motion.items()}
        return FaceTensors(change(self.rgb), change(self.masks), change(self.identity), motion)


@dataclass(frozen=True, slots=True)
class Tokens:
    """A face as adapted tokens, each (B, N, width), by representation: `identity`, the regions, and the motion."""

    parts: Mapping[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.parts[name]

    def row(self, index: int) -> Tokens:
        """One face of the batch."""
        return self.mapped(lambda value: value[index : index + 1])

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Tokens:
        """With every tensor changed."""
        return Tokens({name: change(value) for name, value in self.parts.items()})


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
        _take_known_times(self.unet)
        if config.residual:  # at the beginning the answer is the reference itself
            for parameter in self.unet.conv_out.parameters():
                nn.init.zeros_(parameter)
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

    def time_embedding(self, timestep: Tensor, batch: int) -> Tensor:
        """What the UNet knows of a timestep (), for a batch: (B, width). It is the same for every face."""
        sample = self.null_context.new_empty(batch)
        found: Tensor = self.unet.time_embedding(self.unet.get_time_embed(sample, timestep))
        return found

    def denoise(
        self, latent: Tensor, timestep: Tensor, steering: Steering, channels: Tensor | None, embedding: Tensor | None
    ) -> Tensor:
        """One pass of the UNet: latent (B, C, h, w) in the network's precision -> what it predicts, of the same shape.

        channels: see `reference_channels`. embedding: `time_embedding` of the timestep, where it is known already;
        `timestep` is not looked at then.
        """
        seen = latent if channels is None else torch.cat([latent, channels], dim=1)
        arguments = {"steering": steering}
        found: Tensor = self.unet(
            seen, timestep, None, timestep_cond=embedding, cross_attention_kwargs=arguments, return_dict=False
        )[0]
        if self.config.residual and channels is not None:
            found = found + channels[:, : found.shape[1]]
        return found

    def predictor(
        self,
        steering: Steering,
        channels: Tensor | None = None,
        guidance: float = 1.0,
        null: Steering | None = None,
        run: Running | None = None,
    ) -> Predict:
        """The network under its conditions, as `diffusion.sample` wants it: the latent keeps its own precision.

        Args:
            null: steering of the null branch for the same batch, where it is known already.
            run: how a pass is made, in the place of `denoise` and `time_embedding` as they are.
        """
        denoise = run.denoise if run else self.denoise

        def under(conditions: Steering) -> Predict:
            def predict(latent: Tensor, timestep: Tensor) -> Tensor:
                given = latent.to(self.null_context.dtype)
                embedding = run.time_embedding(timestep, len(latent)) if run else None
                return denoise(given, timestep, conditions, channels, embedding).to(latent.dtype)

            return predict

        if guidance == 1:
            return under(steering)
        batch = next(iter(steering.frozen.values()))[0].shape[0]
        return guided(under(steering), under(null or self.null_steering(1).expanded(batch)), guidance)


class Running(Protocol):
    """How the passes of a sampling are made; see the methods of `FaceXNetwork` of the same names."""

    def denoise(
        self, latent: Tensor, timestep: Tensor, steering: Steering, channels: Tensor | None, embedding: Tensor | None
    ) -> Tensor: ...

    def time_embedding(self, timestep: Tensor, batch: int) -> Tensor: ...


def joined(parts: Sequence[Tensor | None]) -> Tensor:
    """f_SD: tokens (B, N, width) side by side, as far as there are any."""
    return torch.cat([part for part in parts if part is not None], dim=1)


def _take_known_times(unet: UNet2DConditionModel) -> None:
    """Let `timestep_cond` be the embedding of the timestep itself; without one the UNet makes its own, as ever."""
    own = unet.time_embedding
    own.forward = partial(_known_time, own)  # type: ignore[method-assign]


def _known_time(own: nn.Module, sample: Tensor, condition: Tensor | None = None) -> Tensor:
    return type(own).forward(own, sample) if condition is None else condition

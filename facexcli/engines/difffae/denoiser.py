"""The denoising network (fig. 2): noise and I_R's latent in, steered by slots and by the identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from diffusers.models.attention_processor import Attention

    from facexcli.engines.difffae.config import DiffFAEConfig

_EPSILON = 1e-5


class AdaIN(nn.Module):
    """eq. 4 and 5: features, normalised by channel, under a scale and a shift that one layer makes of the identity.

    Scale and shift are what the features' own are changed by, so that the layer starts as the identity map.
    """

    def __init__(self, identity_width: int, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(identity_width, 2 * width)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, features: Tensor, identity: Tensor) -> Tensor:
        """(B, C, h, w) under an identity (B, D)."""
        scale, shift = self.layer(functional.silu(identity))[:, :, None, None].chunk(2, dim=1)
        variance, mean = torch.var_mean(features, dim=(2, 3), keepdim=True, correction=0)
        found: Tensor = features + scale * (features - mean) * torch.rsqrt(variance + _EPSILON) + shift
        return found


class _TimeAndIdentity(nn.Module):
    """Stands in for the UNet's embedding of time, and sends the identity along with it to every residual block."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> Tensor:
        embedded: Tensor = self.inner(sample)
        if condition is None:
            return embedded
        return torch.cat([embedded.expand(len(condition), -1), condition.to(embedded.dtype)], dim=1)


class _IdentityBlock(nn.Module):
    """A residual block of the UNet, with AdaIN behind it."""

    def __init__(self, inner: ResnetBlock2D, time_width: int, identity_width: int) -> None:
        super().__init__()
        self.inner, self._time_width = inner, time_width
        self.adain = AdaIN(identity_width, inner.out_channels)

    def forward(self, hidden: Tensor, embedded: Tensor) -> Tensor:
        made = self.inner(hidden, embedded[:, : self._time_width])
        found: Tensor = self.adain(made, embedded[:, self._time_width :])
        return found


class MappedAttention:
    """Attention of a diffusers network that hands out who looked where, if it is asked to.

    Maps are made in training only; else the fused kernel is used, which keeps none.
    """

    def __init__(self, hands_out: bool) -> None:
        self._hands_out = hands_out

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        """maps: gets (B, N, K), the mean over the heads, from each layer that hands out."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            layer(given).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for layer, given in ((attn.to_q, hidden_states), (attn.to_k, context), (attn.to_v, context))
        )
        if maps is None or not self._hands_out:
            found = functional.scaled_dot_product_attention(query, key, value)
        else:
            shares = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1)
            maps.append(shares.mean(dim=1))
            found = shares @ value
        made: Tensor = attn.to_out[0](found.transpose(1, 2).flatten(2))
        return made


class Denoiser(nn.Module):
    """epsilon_theta: predicts the noise, or the velocity, of a latent. Holds no state between calls."""

    def __init__(self, config: DiffFAEConfig) -> None:
        super().__init__()
        self._identity_width, self._grid_px = config.identity_width, config.grid_px
        self.unet = UNet2DConditionModel(**config.unet_arguments())
        if config.identity_width:
            time_width = self.unet.time_embedding.linear_2.out_features
            _wrap_blocks(self.unet, time_width, config.identity_width)
            self.unet.time_embedding = _TimeAndIdentity(self.unet.time_embedding)
        self.unet.set_attn_processor({name: MappedAttention(".attn2." in name) for name in self.unet.attn_processors})

    def forward(
        self,
        latent: Tensor,
        timestep: Tensor,
        rendering: Tensor,
        slots: Tensor,
        identity: Tensor | None = None,
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        """latent, rendering (f_r): (B, C, h, w). slots: (B, K, width). identity: (B, D), unit norm, where there is one.

        maps: gets the cross-attention of each layer, (B, N, K); see `attention_map`.
        """
        condition = None
        if self._identity_width and identity is not None:
            condition = identity * self._identity_width**0.5  # numbers of about 1, which a layer can learn from
        found: Tensor = self.unet(
            torch.cat([latent, rendering], dim=1), timestep, slots, timestep_cond=condition,
            cross_attention_kwargs={"maps": maps}, return_dict=False,
        )[0]  # fmt: skip
        return found

    def attention_map(self, maps: list[Tensor]) -> Tensor:
        """A_cross of eq. 7: the mean over the layers on the slots' own grid, (B, K, g, g); sums to 1 over the slots."""
        total = torch.zeros(())
        for found in maps:
            side = round(found.shape[1] ** 0.5)
            square = found.transpose(1, 2).reshape(len(found), -1, side, side)
            total = total + functional.interpolate(square, (self._grid_px,) * 2, mode="bilinear", align_corners=False)
        return total / len(maps)


def attention_loss(cross: Tensor, query_masks: Tensor) -> Tensor:
    """eq. 7: mean squared difference of A_cross and M_Q, (B, K, g, g) both; the query's own get no gradient."""
    return functional.mse_loss(cross, query_masks.detach())


def _wrap_blocks(network: nn.Module, time_width: int, identity_width: int) -> None:
    for name, child in network.named_children():
        if isinstance(child, ResnetBlock2D):
            setattr(network, name, _IdentityBlock(child, time_width, identity_width))
        else:
            _wrap_blocks(child, time_width, identity_width)

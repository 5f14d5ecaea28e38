"""The Facial Representation Controller (sec. 3.4): one more cross-attention in every transformer block of a UNet.

    v <- v + SelfAttn(v);  v <- v + CrossAttn(v, f_SD)          frozen                                  (eq. 2)
    v <- v + ZeroConv(CrossAttn(v, f_SD))                       new, trained, nothing at the beginning  (eq. 3)

The controller is a module of its own beside the UNet, whose weights keep their names: any UNet of the same shape may
take its place. What steers one call goes through `cross_attention_kwargs`, so that the networks hold no state and may
be used by several threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KeysValues = tuple[Tensor, Tensor]
"""Keys and values of one attention, each (B, heads, N, head width)."""


@dataclass(frozen=True, slots=True)
class Steering:
    """What steers a UNet: keys and values for the frozen and for the new attention of each block, by the block's name.

    They depend on f_SD alone: made once a frame, they serve all steps. Without `new` the UNet is plain Stable
    Diffusion.
    """

    frozen: Mapping[str, KeysValues]
    new: Mapping[str, KeysValues] | None

    def expanded(self, batch: int) -> Steering:
        """Of one sample, for `batch` of them; nothing is copied."""
        return self.mapped(lambda value: value.expand(batch, -1, -1, -1))

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Steering:
        """With every tensor changed."""

        def changed(each: Mapping[str, KeysValues]) -> dict[str, KeysValues]:
            return {name: (change(keys), change(values)) for name, (keys, values) in each.items()}

        return Steering(changed(self.frozen), None if self.new is None else changed(self.new))


class FRCLayer(nn.Module):
    """ZeroConv(CrossAttn(LN(v), f_SD)) of one block; the zero convolution on tokens is a linear layer.

    `fold` merges the attention's output layer and the zero convolution into one matrix, for inference.
    """

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, context_width, heads=heads, dim_head=width // heads)
        self.zero: nn.Linear | nn.Identity = nn.Linear(width, width)
        for parameter in self.zero.parameters():
            nn.init.zeros_(parameter)

    def forward(self, hidden: Tensor, keys_values: KeysValues) -> Tensor:
        """hidden (B, N, width) -> what is added to it."""
        return self.zero(attend(self.attention, self.norm(hidden), keys_values))  # type: ignore[no-any-return]

    @torch.no_grad()
    def fold(self) -> None:
        """zero(out(x)) = (Wz Wo) x + (Wz bo + bz). Worked out in float64; calling it twice is allowed."""
        if isinstance(self.zero, nn.Identity):
            return
        out, zero = cast("nn.Linear", self.attention.to_out[0]), self.zero
        weight = zero.weight.double() @ out.weight.double()
        bias = zero.weight.double() @ out.bias.double() + zero.bias.double()
        out.weight.copy_(weight)
        out.bias.copy_(bias)
        self.zero = nn.Identity()


class FacialRepresentationController(nn.Module):
    """The new layers of all blocks of one UNet, by the name of the block with dots as dashes."""

    def __init__(self, unet: nn.Module, context_width: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(
            {_key(name): FRCLayer(block.dim, context_width, heads) for name, block in transformer_blocks(unet).items()}
        )

    def attach(self, unet: nn.Module) -> None:
        """Let the blocks of `unet` ask this controller. Its weights and their names stay as they are."""
        for name, block in transformer_blocks(unet).items():
            block.forward = partial(_steered, block, self._layer(name), name)  # type: ignore[method-assign]

    def steering(self, unet: nn.Module, context: Tensor, *, with_new: bool = True) -> Steering:
        """Keys and values of f_SD, context (B, N, context width), for every block.

        with_new: False for the null branch, where the controller adds nothing (plain Stable Diffusion).
        """
        blocks = transformer_blocks(unet)
        frozen = {name: keys_values(block.attn2, context) for name, block in blocks.items()}
        if not with_new:
            return Steering(frozen, None)
        return Steering(frozen, {name: keys_values(self._layer(name).attention, context) for name in blocks})

    def fold(self) -> None:
        """See `FRCLayer.fold`."""
        for layer in self.layers.values():
            assert isinstance(layer, FRCLayer)
            layer.fold()

    def _layer(self, name: str) -> FRCLayer:
        return cast("FRCLayer", self.layers[_key(name)])


def transformer_blocks(unet: nn.Module) -> dict[str, BasicTransformerBlock]:
    """The transformer blocks of a UNet, by name, in order."""
    return {name: module for name, module in unet.named_modules() if isinstance(module, BasicTransformerBlock)}


def keys_values(attention: Attention, context: Tensor) -> KeysValues:
    """What an attention looks up in context (B, N, C)."""
    return _heads(attention, attention.to_k(context)), _heads(attention, attention.to_v(context))


def attend(attention: Attention, hidden: Tensor, looked_up: KeysValues) -> Tensor:
    """Scaled dot-product attention of hidden (B, N, width) on keys and values that were made before."""
    keys, values = looked_up
    query = _heads(attention, attention.to_q(hidden))
    found = functional.scaled_dot_product_attention(query, keys, values)
    return attention.to_out[0](found.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def _heads(attention: Attention, projected: Tensor) -> Tensor:
    """(B, N, heads * d) -> (B, heads, N, d)."""
    batch, count, width = projected.shape
    return projected.view(batch, count, attention.heads, width // attention.heads).transpose(1, 2)


def _steered(
    block: BasicTransformerBlock,
    layer: FRCLayer,
    name: str,
    hidden_states: Tensor,
    attention_mask: None = None,
    encoder_hidden_states: None = None,
    encoder_attention_mask: None = None,
    timestep: Tensor | None = None,
    cross_attention_kwargs: Mapping[str, Any] | None = None,
    *_: object,
    **__: object,
) -> Tensor:
    """Equations 2 and 3, then the block's own feed-forward layer; called as `BasicTransformerBlock.forward` is."""
    if cross_attention_kwargs is None:
        raise ValueError("a steered UNet is called with cross_attention_kwargs={'steering': Steering}")
    steering: Steering = cross_attention_kwargs["steering"]
    v = hidden_states
    v = v + block.attn1(block.norm1(v))
    v = v + attend(block.attn2, block.norm2(v), steering.frozen[name])
    if steering.new is not None:
        v = v + layer(v, steering.new[name])
    return v + block.ff(block.norm3(v))  # type: ignore[no-any-return]


def _key(name: str) -> str:
    return name.replace(".", "-")

"""What FaceX's network is told about a batch of samples, and what it predicts from that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from facexcli.engines.facex.assemble import TOKEN_ATTRIBUTES
from facexcli.engines.facex.model import joined
from facexcli.train.batches import faces_in

if TYPE_CHECKING:
    from torch import Tensor

    from facexcli.engines.facex.model import FaceXNetwork
    from facexcli.train.trainable import Batch


def context_of(network: FaceXNetwork, batch: Batch) -> Tensor:
    """f_SD, (B, tokens, width): each token the source's or the target's, as the recipe says. See `tensors_of`."""
    source, target = (network.tokens(faces_in(batch, who)) for who in ("source", "target"))
    picks = batch["from_source"].unbind(dim=1)
    picked = [
        torch.where(pick[:, None, None], source[token], target[token])
        for token, pick in zip(TOKEN_ATTRIBUTES, picks, strict=True)
    ]
    return joined([*picked, network.inpainting_tokens(batch["reference"])])


def predicted(network: FaceXNetwork, batch: Batch, noisy: Tensor, times: Tensor) -> Tensor:
    """What the network predicts under all conditions. noisy: (B, C, h, h); times: int64 (B,)."""
    channels = network.reference_channels(batch["reference"], batch["hole"])
    return network.denoise(noisy, times, network.steering(context_of(network, batch)), channels, None)


def predicted_in_part(network: FaceXNetwork, batch: Batch, noisy: Tensor, times: Tensor, dropped: Tensor) -> Tensor:
    """`predicted`, but samples whose conditions are dropped, bool (B,), take the null branch, which has tokens of
    another number: they are passed on by themselves."""
    channels = network.reference_channels(batch["reference"], batch["hole"])
    context = context_of(network, batch)
    found = torch.empty_like(noisy)
    for chosen, is_null in ((~dropped, False), (dropped, True)):
        rows = chosen.nonzero()[:, 0]
        if not len(rows):
            continue
        steering = network.null_steering(len(rows)) if is_null else network.steering(context[rows])
        beside = None if channels is None else channels[rows]
        denoised = network.denoise(noisy[rows], times[rows], steering, beside, None)
        found = found.index_copy(0, rows, denoised.to(found.dtype))
    return found

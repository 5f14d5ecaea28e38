"""The held-out files that FaceX is judged by, its reconstructions of them, and how near those come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.diffusion.fuse import MaskedFusion, latent_mask
from facexcli.diffusion.noise import track_noise
from facexcli.diffusion.sample import sample
from facexcli.diffusion.schedule import SamplingPlan
from facexcli.evaluate.measures import psnr_db
from facexcli.train.batches import tensors_of
from facexcli.train.conditions import context_of
from facexcli.train.pairs import TASKS, fixed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

    from facexcli.engines.facex.model import FaceXNetwork
    from facexcli.settings import SwapReference
    from facexcli.train.pairs import Sample
    from facexcli.train.shards import PreparedFaces, PreparedFile
    from facexcli.types import Array

_FILES, _CELL_PX, _AT_ONCE = 32, 128, 16


@dataclass(frozen=True, slots=True)
class Judged:
    """Files that a network is judged by. task: of `TASKS`. swap_reference: see `assemble_reference`."""

    faces: PreparedFaces
    files: Sequence[PreparedFile]
    task: str
    swap_reference: SwapReference

    @classmethod
    def among(
        cls, faces: PreparedFaces, files: Sequence[PreparedFile], task: str, swap_reference: SwapReference
    ) -> Judged:
        """At most `_FILES` of them, spread evenly; a file with one view only shows nothing."""
        able = tuple(file for file in files if file.count > 1)
        if len(able) > _FILES:
            able = tuple(able[index * len(able) // _FILES] for index in range(_FILES))
        return cls(faces, able, task, swap_reference)

    def samples(self) -> Iterator[tuple[str, list[Sample]]]:
        """Each assembly of the task with a sample a file, always the same ones."""
        for recipe in TASKS[self.task]:
            yield recipe, [fixed(self.faces, file, recipe, self.swap_reference) for file in self.files]


def in_parts(samples: Sequence[Sample]) -> Iterable[Sequence[Sample]]:
    """As many at once as fit into memory."""
    return [samples[first : first + _AT_ONCE] for first in range(0, len(samples), _AT_ONCE)]


def reconstructed(
    network: FaceXNetwork, samples: Sequence[Sample], steps: int | None = None, *, blind: bool = False
) -> list[Array]:
    """What is sampled for each, uint8 (S, S, 3), as the engine would: from fixed noise, held on the canvas.

    steps: of the sampler; as configured by default. blind: without any condition.
    """
    config, device = network.config, network.null_context.device
    plan = SamplingPlan("dpm++", steps or config.steps, karras=True, prediction=config.prediction)
    made: list[Array] = []
    for part in in_parts(samples):
        batch = {name: tensor.to(device) for name, tensor in tensors_of(part).items()}
        noise = track_noise([(0, len(made) + n) for n in range(len(part))], config.latent_shape, "latent").to(device)
        channels = network.reference_channels(batch["reference"], batch["hole"])
        steering = network.null_steering(len(part)) if blind else network.steering(context_of(network, batch))
        predict = network.predictor(steering, channels)
        fusion = None
        if not bool(batch["edited"].all()):
            mask = latent_mask(batch["edited"], config.latent_shape[1:])
            fusion = MaskedFusion(mask, network.codec.encode(batch["target/rgb"]), noise)
        pictures = network.codec.decode(sample(predict, plan, noise, fusion)).float().cpu()
        made += [_bytes(picture) for picture in pictures]
    return made


def mean_psnr_db(made: Iterable[Array], samples: Iterable[Sample]) -> float:
    """The mean of the peak signal-to-noise ratios, in dB, inside of what is judged. made: uint8 (S, S, 3) each."""
    return float(
        np.mean([_psnr_db(rgb, each.target.rgb, each.judged) for rgb, each in zip(made, samples, strict=True)])
    )


def filled(made_of: Sample) -> Array:
    """The target with its own mean colour in place of what is judged: no single colour does better."""
    inside = made_of.judged > 0.5
    rgb = made_of.target.rgb.copy()
    if inside.any():
        rgb[inside] = np.round(rgb[inside].mean(axis=0)).astype(np.uint8)
    return rgb


def pictured(made: Sequence[Array], samples: Sequence[Sample]) -> Array:
    """A row a sample, uint8: source, inpainting reference, what is made of them, and target."""
    columns = (
        [each.source.rgb for each in samples], [each.reference.rgb for each in samples],
        made, [each.target.rgb for each in samples],
    )  # fmt: skip
    return np.hstack([np.vstack([_cell(picture) for picture in pictures]) for pictures in columns])


def _psnr_db(one: Array, other: Array, mask: Array) -> float:
    inside = mask > 0.5
    if not inside.any():
        inside = np.ones_like(inside)
    error = np.mean((one[inside].astype(np.float64) - other[inside]) ** 2)
    return psnr_db(max(float(error), 0.1))


def _bytes(picture: Tensor) -> Array:
    """float (3, S, S) in -1..1 -> uint8 (S, S, 3); what is no number is black."""
    values = np.nan_to_num(picture.permute(1, 2, 0).numpy())
    return np.asarray(np.clip(np.round((values + 1) * 127.5), 0, 255), np.uint8)


def _cell(rgb: Array) -> Array:
    return np.asarray(cv2.resize(rgb, (_CELL_PX, _CELL_PX), interpolation=cv2.INTER_LINEAR))

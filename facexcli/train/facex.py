"""FaceX behind `Trainable`: the loss of sec. 3.5, validation by reconstruction of held-out people, and its pictures."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import torch

from facexcli.diffusion.fuse import MaskedFusion, latent_mask
from facexcli.diffusion.noise import track_noise
from facexcli.diffusion.sample import sample
from facexcli.diffusion.schedule import TRAIN_TIMESTEPS, SamplingPlan, noise_schedule
from facexcli.engines.facex.assemble import TOKEN_ATTRIBUTES
from facexcli.engines.facex.backbone import CHECKPOINT
from facexcli.engines.facex.checkpoint import save_checkpoint
from facexcli.engines.facex.compiled import in_words, keep_what_is_compiled
from facexcli.engines.facex.model import BACKBONE, FaceXNetwork, joined
from facexcli.train.batches import faces_in, packed, tensors_of, unpacked
from facexcli.train.pairs import TASKS, draw, fixed, split
from facexcli.train.trainable import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Generator, Tensor

    from facexcli.settings import SwapReference
    from facexcli.train.augment import Augmentation
    from facexcli.train.pairs import Sample
    from facexcli.train.shards import PreparedFaces, PreparedFile
    from facexcli.train.trainable import Batch
    from facexcli.types import Array

_JUDGED_FILES, _SHOWN_FILES, _CELL_PX = 32, 8, 128
_AT_ONCE = 16
_LEVELS = 4
"""Validation's loss looks at each sample at so many noise levels, the same ones every time."""


PUBLIC: Mapping[str, str] = MappingProxyType({"unet": "unet", "clip": "encoder"})
"""Parts of the paper's backbone that may be trained too, and what they are in the network. The VAE is none: a loss
between latents would teach it to make them all the same."""


def freeze(network: FaceXNetwork, trained: Collection[str] = ()) -> None:
    """Leave only what is trained with gradients: all of an embedded configuration, of the paper's all but the public
    backbone. trained: names of `PUBLIC` that are trained nevertheless."""
    from_scratch, unfrozen = network.config.perception == "embedded", {PUBLIC[name] for name in trained}
    for name, module in network.named_children():
        module.requires_grad_(from_scratch or name not in BACKBONE or name in unfrozen)


class TrainableFaceX:
    """See `Trainable`.

    outside: the weight of the loss where the canvas is kept, in proportion to that where something is made: what lies
    there is given to the network, and held on the canvas when it is used. public: names of `PUBLIC` that are trained,
    and so have to be saved too. swap_reference: see `assemble_reference`. drop: of the samples, whose conditions are
    taken away, for classifier-free guidance (sec. 4). half: see `save_checkpoint`. also_judged: other faces, of
    which none is learned. judged_by_learned: nobody could be held out.
    """

    def __init__(
        self,
        network: FaceXNetwork,
        faces: PreparedFaces,
        task: str,
        outside: float = 1.0,
        public: Collection[str] = (),
        swap_reference: SwapReference = "cut",
        augment: Augmentation = "light",
        drop: float = 0.1,
        half: bool = False,
        also_judged: PreparedFaces | None = None,
    ) -> None:
        self.network, self.config = network, network.config
        self._faces, self._task, self._outside = faces, task, outside
        self._public, self._swap_reference, self._augment = tuple(public), swap_reference, augment
        self._drop, self._half = drop, half
        self._files, away = split(faces)
        self.judged_by_learned = not away
        self._judged = _Judged(faces, _chosen(away or self._files))
        self._also_judged = None if also_judged is None else _Judged(also_judged, _chosen(also_judged.index.files))
        self._levels = noise_schedule(SamplingPlan(prediction=self.config.prediction))
        self._conditioned: Callable[[Batch, Tensor, Tensor], Tensor] = self._denoised
        self._tell: Callable[[str], None] | None = None

    def batch(self, key: int, size: int) -> Batch:
        """See `Trainable`."""
        random = np.random.default_rng(key)
        drawn = draw(self._faces, self._files, self._task, size, random, self._swap_reference, self._augment)
        return packed(tensors_of(drawn))

    def loss(self, batch: Batch, random: Generator) -> Tensor:
        """Mean squared error of the predicted noise (DDPM, eq. 14), velocity or clean latent (Salimans and Ho 2022)."""
        batch = unpacked(batch)
        count, device = len(batch["hole"]), batch["hole"].device
        times = torch.randint(TRAIN_TIMESTEPS, (count,), generator=random, device=device)
        dropped = torch.rand(count, generator=random, device=device) < self._drop
        return self._loss_at(batch, times, self._noise(count, random, device), dropped)

    @torch.no_grad()
    def validate(self) -> Verdict:
        """`loss` at fixed levels and noise; `psnr` of reconstructions by sampling, where something was made, and of
        the best single colour there (`psnr_fill`) and of the reference as it is (`psnr_plain`); names that begin with
        `eval_` are of the other faces."""
        verdict = self._verdict(self._judged)
        if self._also_judged is None:
            return verdict
        others = self._verdict(self._also_judged)
        return Verdict(
            {**verdict.values, **{f"eval_{name}": value for name, value in others.values.items()}}, verdict.score
        )

    def _verdict(self, judged: _Judged) -> Verdict:
        device = self.network.null_context.device
        values: dict[str, float] = {}
        losses: list[float] = []
        score = 0.0
        for recipe, share in TASKS[self._task].items():
            samples = judged.samples(recipe, self._swap_reference)
            losses += [share * loss for loss in self._losses(samples, device)]
            made = self._reconstructed(samples)
            name = recipe.replace("-", "_")
            values[f"{name}_psnr"] = _mean_psnr(made, samples)
            values[f"{name}_psnr_fill"] = _mean_psnr([_filled(each) for each in samples], samples)
            values[f"{name}_psnr_plain"] = _mean_psnr([each.reference.rgb for each in samples], samples)
            score += share * values[f"{name}_psnr"]
        return Verdict({"loss": len(TASKS[self._task]) * float(np.mean(losses)), "psnr": score, **values}, score)

    @torch.no_grad()
    def psnr(self, steps: int) -> dict[str, float]:
        """Of reconstructions of held-out faces in so many steps, in dB, by assembly."""
        judged = {recipe: self._judged.samples(recipe, self._swap_reference) for recipe in TASKS[self._task]}
        return {recipe: _mean_psnr(self._reconstructed(found, steps), found) for recipe, found in judged.items()}

    def psnr_plain(self) -> dict[str, float]:
        """Of the reference as it is, by assembly."""
        judged = {recipe: self._judged.samples(recipe, self._swap_reference) for recipe in TASKS[self._task]}
        return {recipe: _mean_psnr([each.reference.rgb for each in found], found) for recipe, found in judged.items()}

    @torch.no_grad()
    def grid(self) -> Array:
        """A row a held-out file; for each assembly: source, inpainting reference, result and target."""
        columns: list[Array] = []
        for recipe in TASKS[self._task]:
            samples = self._judged.samples(recipe, self._swap_reference)[:_SHOWN_FILES]
            made = self._reconstructed(samples)
            for pictures in (
                [each.source.rgb for each in samples], [each.reference.rgb for each in samples],
                made, [each.target.rgb for each in samples],
            ):  # fmt: skip
                columns.append(np.vstack([_cell(picture) for picture in pictures]))
        return np.hstack(columns)

    def save(self, path: Path) -> None:
        """See `Trainable`. A checkpoint does not carry the public parts: where they were trained, a folder of the same
        name has it together with them, as `--weights` takes it."""
        save_checkpoint(self.network, self.config, path, half=self._half)
        if not self._public:
            return
        folder = path.with_suffix("")
        folder.mkdir(exist_ok=True)
        save_checkpoint(self.network, self.config, folder / CHECKPOINT, half=self._half)
        if "unet" in self._public:
            self.network.unet.save_pretrained(folder / "unet")
        if "clip" in self._public:
            cast("Any", self.network.encoder).clip.save_pretrained(folder / "image_encoder")

    def _losses(self, samples: Sequence[Sample], device: torch.device) -> list[float]:
        found: list[float] = []
        for part in _parts(samples):
            batch = {name: tensor.to(device) for name, tensor in tensors_of(part).items()}
            kept = torch.full((len(part),), self._drop == 1, device=device)
            for level in range(_LEVELS):
                times = torch.full((len(part),), (2 * level + 1) * TRAIN_TIMESTEPS // (2 * _LEVELS), device=device)
                noise = track_noise([(level, n) for n in range(len(part))], self._latent_shape, "validation").to(device)
                found.append(float(self._loss_at(batch, times, noise, kept)))
        return found

    def _loss_at(self, batch: Batch, times: Tensor, noise: Tensor, dropped: Tensor) -> Tensor:
        config, network = self.config, self.network
        with torch.no_grad() if config.latent == "vae" else nullcontext():
            clean = network.codec.encode(batch["target/rgb"])
        level = self._levels.to(times.device)[times].view(-1, 1, 1, 1)
        noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
        wanted: Tensor = {
            "epsilon": noise,
            "v_prediction": level.sqrt() * noise - (1 - level).sqrt() * clean,
            "sample": clean,
        }[config.prediction]
        found = self._predicted(batch, noisy, times, dropped)
        weight = latent_mask(batch["edited"], (config.latent_px,) * 2)
        weight = self._outside + (1 - self._outside) * weight
        error = ((found.float() - wanted) ** 2).mean(dim=1, keepdim=True)
        mean: Tensor = (weight * error).sum() / weight.sum()
        return mean

    def _predicted(self, batch: Batch, noisy: Tensor, times: Tensor, dropped: Tensor) -> Tensor:
        """What the network predicts; samples whose conditions are dropped take the null branch, which has tokens of
        another number: they are passed on by themselves."""
        if self._drop == 0:
            if self._tell is not None and torch.is_grad_enabled():
                self._try_compiled(batch, noisy, times)
            return (self._conditioned if torch.is_grad_enabled() else self._denoised)(batch, noisy, times)
        network = self.network
        channels = network.reference_channels(batch["reference"], batch["hole"])
        context = self._context(batch)
        found = torch.empty_like(noisy)
        for chosen, is_null in ((~dropped, False), (dropped, True)):
            rows = chosen.nonzero()[:, 0]
            if not len(rows):
                continue
            steering = network.null_steering(len(rows)) if is_null else network.steering(context[rows])
            beside = None if channels is None else channels[rows]
            predicted = network.denoise(noisy[rows], times[rows], steering, beside, None)
            found = found.index_copy(0, rows, predicted.to(found.dtype))
        return found

    def _denoised(self, batch: Batch, noisy: Tensor, times: Tensor) -> Tensor:
        """What the network predicts under all conditions."""
        network = self.network
        channels = network.reference_channels(batch["reference"], batch["hole"])
        return network.denoise(noisy, times, network.steering(self._context(batch)), channels, None)

    def compile(self, tell: Callable[[str], None]) -> None:
        """Let the network be compiled at the first step; `tell` is told why where that does not work.

        With samples that are dropped it does not: each batch has another number of them.
        """
        if self._drop:
            tell("the network is not compiled, for samples are dropped: --drop 0 leaves them")
        else:
            self._tell = tell

    def _try_compiled(self, batch: Batch, noisy: Tensor, times: Tensor) -> None:
        """Both ways, since the way back is compiled by itself."""
        tell, self._tell = self._tell, None
        assert tell is not None
        keep_what_is_compiled()
        fast = torch.compile(self._denoised, dynamic=False)
        try:
            fast(batch, noisy, times).float().sum().backward()  # type: ignore[no-untyped-call]
        except Exception as error:  # a compiler may raise anything; the network works without it
            tell(f"the network is not compiled, and so is trained slower: {in_words(error)}")
        else:
            self._conditioned = fast
        self.network.zero_grad(set_to_none=True)

    def _context(self, batch: Batch) -> Tensor:
        """f_SD: each token the source's or the target's, as the recipe says."""
        source, target = (self.network.tokens(faces_in(batch, who)) for who in ("source", "target"))
        picks = batch["from_source"].unbind(dim=1)
        picked = [
            torch.where(pick[:, None, None], source[token], target[token])
            for token, pick in zip(TOKEN_ATTRIBUTES, picks, strict=True)
        ]
        return joined([*picked, self.network.inpainting_tokens(batch["reference"])])

    def _reconstructed(self, samples: Sequence[Sample], steps: int | None = None) -> list[Array]:
        """What is sampled for each, uint8 (S, S, 3), as the engine would: from fixed noise, held on the canvas.

        steps: of the sampler; as configured by default.
        """
        device = self.network.null_context.device
        plan = SamplingPlan("dpm++", steps or self.config.steps, karras=True, prediction=self.config.prediction)
        made: list[Array] = []
        for first, part in zip(range(0, len(samples), _AT_ONCE), _parts(samples), strict=True):
            batch = {name: tensor.to(device) for name, tensor in tensors_of(part).items()}
            noise = track_noise([(0, first + n) for n in range(len(part))], self._latent_shape, "latent").to(device)
            network = self.network
            channels = network.reference_channels(batch["reference"], batch["hole"])
            blind = self._drop == 1
            steering = network.null_steering(len(part)) if blind else network.steering(self._context(batch))
            predict = network.predictor(steering, channels)
            fusion = None
            if not bool(batch["edited"].all()):
                mask = latent_mask(batch["edited"], (self.config.latent_px,) * 2)
                fusion = MaskedFusion(mask, network.codec.encode(batch["target/rgb"]), noise)
            pictures = network.codec.decode(sample(predict, plan, noise, fusion)).float().cpu()
            made += [_bytes(picture) for picture in pictures]
        return made

    @property
    def _latent_shape(self) -> tuple[int, int, int]:
        return self.config.latent_channels, self.config.latent_px, self.config.latent_px

    def _noise(self, count: int, random: Generator, device: torch.device) -> Tensor:
        return torch.randn((count, *self._latent_shape), generator=random, device=device)


@dataclass(frozen=True, slots=True)
class _Judged:
    """Files that a network is judged by."""

    faces: PreparedFaces
    files: Sequence[PreparedFile]

    def samples(self, recipe: str, swap_reference: SwapReference) -> list[Sample]:
        """Always the same ones."""
        return [fixed(self.faces, file, recipe, swap_reference) for file in self.files]


def _chosen(files: Sequence[PreparedFile]) -> tuple[PreparedFile, ...]:
    """At most `_JUDGED_FILES`, spread evenly; a file with one view only shows nothing."""
    able = [file for file in files if file.count > 1]
    if len(able) <= _JUDGED_FILES:
        return tuple(able)
    return tuple(able[index * len(able) // _JUDGED_FILES] for index in range(_JUDGED_FILES))


def _parts(samples: Sequence[Sample]) -> Iterable[Sequence[Sample]]:
    return [samples[first : first + _AT_ONCE] for first in range(0, len(samples), _AT_ONCE)]


def _mean_psnr(made: Iterable[Array], samples: Iterable[Sample]) -> float:
    """The mean of the peak signal-to-noise ratios, in dB, inside of what is judged."""
    return float(np.mean([_psnr(rgb, each.target.rgb, each.judged) for rgb, each in zip(made, samples, strict=True)]))


def _psnr(one: Array, other: Array, mask: Array) -> float:
    inside = mask > 0.5
    if not inside.any():
        inside = np.ones_like(inside)
    error = np.mean((one[inside].astype(np.float64) - other[inside]) ** 2)
    return float(10 * np.log10(255**2 / max(float(error), 0.1)))


def _filled(made_of: Sample) -> Array:
    """The target with its own mean colour in place of what is judged: no single colour does better."""
    inside = made_of.judged > 0.5
    rgb = made_of.target.rgb.copy()
    if inside.any():
        rgb[inside] = np.round(rgb[inside].mean(axis=0)).astype(np.uint8)
    return rgb


def _bytes(picture: Tensor) -> Array:
    """float (3, S, S) in -1..1 -> uint8 (S, S, 3); what is no number is black."""
    values = np.nan_to_num(picture.permute(1, 2, 0).numpy())
    return np.asarray(np.clip(np.round((values + 1) * 127.5), 0, 255), np.uint8)


def _cell(rgb: Array) -> Array:
    return np.asarray(cv2.resize(rgb, (_CELL_PX, _CELL_PX), interpolation=cv2.INTER_LINEAR))

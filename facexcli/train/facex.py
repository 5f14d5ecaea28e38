"""FaceX behind `Trainable`: the loss of sec. 3.5, validation by reconstruction of held-out people, and its pictures."""

from __future__ import annotations

from contextlib import nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from facexcli.diffusion.fuse import latent_mask
from facexcli.diffusion.noise import track_noise
from facexcli.diffusion.schedule import TRAIN_TIMESTEPS, SamplingPlan, noise_schedule
from facexcli.engines.facex.backbone import CHECKPOINT
from facexcli.engines.facex.checkpoint import save_checkpoint
from facexcli.engines.facex.compiled import in_words, keep_what_is_compiled
from facexcli.engines.facex.model import BACKBONE, FaceXNetwork
from facexcli.train.batches import packed, tensors_of, unpacked
from facexcli.train.conditions import predicted, predicted_in_part
from facexcli.train.judged import Judged, filled, in_parts, mean_psnr_db, pictured, reconstructed
from facexcli.train.pairs import TASKS, draw, split
from facexcli.train.trainable import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from torch import Generator, Tensor

    from facexcli.settings import SwapReference
    from facexcli.train.augment import Augmentation
    from facexcli.train.pairs import Sample
    from facexcli.train.shards import PreparedFaces
    from facexcli.train.trainable import Batch
    from facexcli.types import Array

_SHOWN_FILES = 8
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
        self._judged = Judged.among(faces, away or self._files, task, swap_reference)
        self._also_judged = None
        if also_judged is not None:
            self._also_judged = Judged.among(also_judged, also_judged.index.files, task, swap_reference)
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

    def _verdict(self, judged: Judged) -> Verdict:
        device = self.network.null_context.device
        values: dict[str, float] = {}
        losses: list[float] = []
        score = 0.0
        for recipe, samples in judged.samples():
            share = TASKS[self._task][recipe]
            losses += [share * loss for loss in self._losses(samples, device)]
            made = self._reconstructed(samples)
            name = recipe.replace("-", "_")
            values[f"{name}_psnr"] = mean_psnr_db(made, samples)
            values[f"{name}_psnr_fill"] = mean_psnr_db([filled(each) for each in samples], samples)
            values[f"{name}_psnr_plain"] = mean_psnr_db([each.reference.rgb for each in samples], samples)
            score += share * values[f"{name}_psnr"]
        return Verdict({"loss": len(TASKS[self._task]) * float(np.mean(losses)), "psnr": score, **values}, score)

    @torch.no_grad()
    def psnr(self, steps: int) -> dict[str, float]:
        """Of reconstructions of held-out faces in so many steps, in dB, by assembly."""
        return {
            recipe: mean_psnr_db(self._reconstructed(samples, steps), samples)
            for recipe, samples in self._judged.samples()
        }

    def psnr_plain(self) -> dict[str, float]:
        """Of the reference as it is, by assembly."""
        return {
            recipe: mean_psnr_db([each.reference.rgb for each in samples], samples)
            for recipe, samples in self._judged.samples()
        }

    @torch.no_grad()
    def grid(self) -> Array:
        """A row a held-out file; for each assembly: source, inpainting reference, result and target."""
        shown = [samples[:_SHOWN_FILES] for _, samples in self._judged.samples()]
        return np.hstack([pictured(self._reconstructed(samples), samples) for samples in shown])

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
        for part in in_parts(samples):
            batch = {name: tensor.to(device) for name, tensor in tensors_of(part).items()}
            kept = torch.full((len(part),), self._drop == 1, device=device)
            for level in range(_LEVELS):
                times = torch.full((len(part),), (2 * level + 1) * TRAIN_TIMESTEPS // (2 * _LEVELS), device=device)
                noise = track_noise([(level, n) for n in range(len(part))], self.config.latent_shape, "validation").to(
                    device
                )
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
        weight = latent_mask(batch["edited"], config.latent_shape[1:])
        weight = self._outside + (1 - self._outside) * weight
        error = ((found.float() - wanted) ** 2).mean(dim=1, keepdim=True)
        mean: Tensor = (weight * error).sum() / weight.sum()
        return mean

    def _predicted(self, batch: Batch, noisy: Tensor, times: Tensor, dropped: Tensor) -> Tensor:
        if self._drop:
            return predicted_in_part(self.network, batch, noisy, times, dropped)
        if not torch.is_grad_enabled():
            return self._denoised(batch, noisy, times)
        if self._tell is not None:
            self._try_compiled(batch, noisy, times)
        return self._conditioned(batch, noisy, times)

    def _denoised(self, batch: Batch, noisy: Tensor, times: Tensor) -> Tensor:
        return predicted(self.network, batch, noisy, times)

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

    def _reconstructed(self, samples: Sequence[Sample], steps: int | None = None) -> list[Array]:
        return reconstructed(self.network, samples, steps, blind=self._drop == 1)

    def _noise(self, count: int, random: Generator, device: torch.device) -> Tensor:
        return torch.randn((count, *self.config.latent_shape), generator=random, device=device)

"""DiffFAE's two trainings (sec. 4.3): RSC by itself, to put portraits together again; then all of it, to denoise."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch.nn import functional

from facexcli.diffusion.sample import sample
from facexcli.diffusion.schedule import TRAIN_TIMESTEPS, SamplingPlan, noise_schedule
from facexcli.engines.difffae.checkpoint import save_network, save_regions
from facexcli.engines.difffae.denoiser import attention_loss
from facexcli.engines.difffae.model import DiffFAENetwork, make_codec
from facexcli.engines.difffae.roles import ROLES, expected_regions, painted_slots
from facexcli.engines.difffae.slots import SlotAutoencoder
from facexcli.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from facexcli.engines.difffae.config import DiffFAEConfig
    from facexcli.train.portraits import Portraits
    from facexcli.types import Array

_VALIDATED = 48
_SHOWN = 8
_LEVELS = 4


class RegionTrainee:
    """RSC with its decoder: mean squared error of the picture that the slots are put together to."""

    score = "loss"

    def __init__(self, config: DiffFAEConfig, portraits: Portraits, batch: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.network: nn.Module = SlotAutoencoder(config)
        self._portraits, self._batch = portraits, batch
        self._train, self._held = _split(portraits)
        self._held = self._held[:: max(1, len(self._held) // _VALIDATED)][:_VALIDATED]
        self._prior = _RegionPrior(config, portraits)

    def loss(self, random: torch.Generator) -> Mapping[str, Tensor]:
        picked = self._train[torch.randint(len(self._train), (self._batch,), generator=random).numpy()]
        coins = _coins(self._batch, random)
        rgb = _flipped(_pictures(self._portraits.rgb[picked]), coins)
        network = cast("SlotAutoencoder", self.network)
        slots = network.regions(rgb)
        again, masks = network.put_together(slots.tokens)
        error = functional.mse_loss(again, rgb)
        return {"loss": error + self._prior(picked, coins, slots.masks, masks), "error": error}

    @torch.inference_mode()
    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """loss; psnr_db of the picture again; face_iou: the slot that covers faces best, by the landmarks' masks;
        other_iou: what is left, by another slot or two."""
        rgb = _pictures(self._portraits.rgb[self._held])
        again, masks = network(rgb)
        error = float(functional.mse_loss(again, rgb))
        faces = torch.from_numpy(self._portraits.mask[self._held])
        return {"loss": error, "psnr_db": _psnr_db(error), **_coverage(masks, faces)}

    @torch.inference_mode()
    def grid(self, network: nn.Module) -> Array:
        """Rows: pictures, put together again, and which slot is where."""
        rgb = self._portraits.rgb[_shown(self._held)]
        again, masks = network(_pictures(rgb))
        return _rows([rgb, _bytes(again), painted_slots(masks.numpy())])

    def save(self, network: nn.Module, path: Path) -> None:
        save_regions(cast("SlotAutoencoder", network), path)


class DiffFAETrainee:
    """All of it: eq. 8 on pairs of views of one person. What the query looks like is I_R, all of it the query's own."""

    score = "loss"

    def __init__(
        self,
        config: DiffFAEConfig,
        portraits: Portraits,
        batch: int,
        seed: int,
        regions: SlotAutoencoder | None = None,
        codec: nn.Module | None = None,
    ) -> None:
        """regions: RSC as it was pretrained; without, it is trained from the beginning. codec: a trained one."""
        torch.manual_seed(seed)
        network = DiffFAENetwork(config)
        if regions is not None:
            network.regions.load_state_dict(regions.regions.state_dict())
        if codec is not None:
            network.codec.load_state_dict(codec.state_dict())
        network.codec.requires_grad_(False)
        self.network: nn.Module = network
        self._config, self._portraits, self._batch = config, portraits, batch
        self._train, self._held = _split(portraits)
        self._mates = _mates(portraits)
        self._held = self._held[:: max(1, len(self._held) // _VALIDATED)][:_VALIDATED]
        self._prior = _RegionPrior(config, portraits)
        self._signal = noise_schedule(SamplingPlan(prediction=config.prediction))

    def loss(self, random: torch.Generator) -> Mapping[str, Tensor]:
        queries = self._train[torch.randint(len(self._train), (self._batch,), generator=random).numpy()]
        sources = self._sources(queries, random)
        timesteps = torch.randint(TRAIN_TIMESTEPS, (self._batch,), generator=random)
        coins = _coins(self._batch, random)
        network = cast("DiffFAENetwork", self.network)
        return self._losses(network, sources, queries, timesteps, random, coins)

    @torch.inference_mode()
    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """denoising: the mean squared error alone; attention: eq. 7; loss: eq. 8; psnr_db of sampled queries."""
        own = cast("DiffFAENetwork", network)
        random = torch.Generator().manual_seed(0)
        sources = self._sources(self._held, random)
        steps = torch.linspace(0, TRAIN_TIMESTEPS - 1, 2 * _LEVELS + 1)[1::2].long()
        found = [
            self._losses(own, sources, self._held, step.expand(len(self._held)), random, torch.zeros(len(self._held)))
            for step in steps
        ]
        sources, queries = self._pairs_shown()
        sampled = self._sampled(own, sources, queries)
        error = float(functional.mse_loss(sampled.clamp(-1, 1), _pictures(self._portraits.rgb[queries])))
        means = {name: float(torch.stack([each[name] for each in found]).mean()) for name in found[0]}
        return {**means, "psnr_db": _psnr_db(error)}

    @torch.inference_mode()
    def grid(self, network: nn.Module) -> Array:
        """Rows: sources, queries, I_R, what is made of them, and who is where in the source."""
        own = cast("DiffFAENetwork", network)
        sources, queries = self._pairs_shown()
        made = self._sampled(own, sources, queries)
        masks = functional.interpolate(
            own.regions(_pictures(self._portraits.rgb[sources])).masks, (self._config.size_px,) * 2, mode="bilinear"
        )
        rows = [self._portraits.rgb[sources], self._portraits.rgb[queries], self._portraits.rendered[queries]]
        return _rows([*rows, _bytes(made), painted_slots(masks.numpy())])

    def save(self, network: nn.Module, path: Path) -> None:
        save_network(cast("DiffFAENetwork", network), path)

    def _pairs_shown(self) -> tuple[Array, Array]:
        queries = _shown(self._held)
        return self._sources(queries, torch.Generator().manual_seed(0)), queries

    def _sources(self, queries: Array, random: torch.Generator) -> Array:
        """Another view of each person, or the same one where there is no other."""
        shares = torch.rand(len(queries), generator=random).numpy()
        first, count = self._mates[queries].T
        step = 1 + np.floor(shares * np.maximum(count - 1, 1)).astype(int)
        return np.asarray(first + (queries - first + np.where(count > 1, step, 0)) % count)

    def _losses(
        self, network: DiffFAENetwork, sources: Array, queries: Array, timesteps: Tensor, random: torch.Generator,
        coins: Tensor,
    ) -> dict[str, Tensor]:  # fmt: skip
        given = self._portraits
        source, query, rendered = (
            _flipped(_pictures(each), coins)
            for each in (given.rgb[sources], given.rgb[queries], given.rendered[queries])
        )
        clean = network.latents.encode(query)
        noise = torch.randn(clean.shape, generator=random)
        signal = self._signal[timesteps][:, None, None, None]
        noisy = signal.sqrt() * clean + (1 - signal).sqrt() * noise
        wanted = noise
        if self._config.prediction == "v_prediction":  # Salimans and Ho 2022, sec. 4
            wanted = signal.sqrt() * noise - (1 - signal).sqrt() * clean
        slots = network.regions(source)
        maps: list[Tensor] | None = [] if self._config.attention_weight else None
        predicted = network.denoiser(
            noisy, timesteps, network.latents.encode(rendered), slots.tokens, self._identity(sources), maps
        )
        denoising = functional.mse_loss(predicted, wanted)
        prior = self._prior(sources, coins, slots.masks)
        if maps is None:
            return {"loss": denoising + prior, "denoising": denoising}
        with torch.no_grad():
            masks = network.regions(query).masks
        attention = attention_loss(network.denoiser.attention_map(maps), masks)
        return {
            "loss": denoising + self._config.attention_weight * attention + prior,
            "denoising": denoising,
            "attention": attention,
        }

    def _identity(self, views: Array) -> Tensor | None:
        return torch.from_numpy(self._portraits.identity[views]) if self._config.identity_width else None

    def _sampled(self, network: DiffFAENetwork, sources: Array, queries: Array) -> Tensor:
        """Pictures (B, 3, S, S), always from the same noise."""
        rendered = network.latents.encode(_pictures(self._portraits.rendered[queries]))
        slots = network.regions(_pictures(self._portraits.rgb[sources])).tokens
        noise = torch.randn(rendered.shape, generator=torch.Generator().manual_seed(1))
        plan = SamplingPlan(steps=self._config.steps, prediction=self._config.prediction)
        predict = network.predictor(rendered, slots, self._identity(sources))
        return network.latents.decode(sample(predict, plan, noise))


class _RegionPrior:
    """How far slots are from where faces, hair, clothes and backgrounds mostly are: a cross entropy, under the
    configuration's weight."""

    def __init__(self, config: DiffFAEConfig, portraits: Portraits) -> None:
        self._weight = config.region_prior
        if self._weight:
            regions = [expected_regions(mask, config.grid_px) for mask in portraits.mask]
            self._regions = torch.from_numpy(np.stack(regions))

    def __call__(self, views: Array, coins: Tensor, *masks: Tensor) -> Tensor:
        """Masks are (B, K, n, n) each, adding up to 1 over at least four slots; of fewer nothing is expected."""
        if not self._weight or masks[0].shape[1] < len(ROLES):
            return torch.zeros(())
        wanted = _flipped(self._regions[torch.from_numpy(views)], coins)
        total = torch.zeros(())
        for each in masks:
            shares = functional.adaptive_avg_pool2d(each[:, : len(ROLES)], wanted.shape[-2:]).clamp(min=1e-4)
            total = total - (wanted * shares.log()).sum(dim=1).mean()
        return self._weight * total


def open_codec(config: DiffFAEConfig, folder: Path | None) -> nn.Module | None:
    """The trained autoencoder of a configuration that has one, out of a folder in diffusers' layout; else None.

    Raises WeightsError for one that is not there or of another kind: a random one cannot be trained on.
    """
    if config.latent == "unshuffle":
        return None
    codec = make_codec(config)
    kind, place = ("VQModel", "vq") if config.latent == "vq" else ("AutoencoderKL", "vae")
    if folder is None:
        raise WeightsError(f"configuration {config.name!r} needs a trained {kind}", "name its folder with --codec DIR")
    inner = codec.get_submodule(place)
    try:
        found = type(inner).from_pretrained(folder, use_safetensors=True, local_files_only=True)  # type: ignore[attr-defined]
        inner.load_state_dict(found.float().state_dict())
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise WeightsError(f"{folder}: not such a {kind}: {str(error).splitlines()[0]}", "name another") from error
    return codec


def _split(portraits: Portraits) -> tuple[Array, Array]:
    """The views to learn from, and those to judge by; all for both where nothing is held out."""
    held, train = np.flatnonzero(portraits.held_out), np.flatnonzero(~portraits.held_out)
    everything = np.arange(len(portraits))
    return (train if len(train) else everything), (held if len(held) else everything)


def _shown(views: Array) -> Array:
    """A few of them, far apart: neighbours show the same person."""
    return views[np.linspace(0, len(views) - 1, min(len(views), _SHOWN)).astype(int)]


def _mates(portraits: Portraits) -> Array:
    """First view and number of views of each view's owner: int64 (N, 2)."""
    _, first, which, counts = np.unique(portraits.owner, return_index=True, return_inverse=True, return_counts=True)
    return np.stack([first[which], counts[which]], axis=1)


def _pictures(rgb: Array) -> Tensor:
    """uint8 (B, S, S, 3) -> float32 (B, 3, S, S) in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _bytes(pictures: Tensor) -> Array:
    found: Array = ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return found


def _coins(count: int, random: torch.Generator) -> Tensor:
    return torch.randint(2, (count,), generator=random)


def _flipped(pictures: Tensor, coins: Tensor) -> Tensor:
    """Those mirrored for which the coin says 1."""
    return torch.where(coins[:, None, None, None] > 0, pictures.flip(3), pictures)


def _psnr_db(squared_error: float) -> float:
    """Of pictures in -1..1."""
    return float(10 * np.log10(4 / max(squared_error, 1e-10)))


def _coverage(masks: Tensor, faces: Tensor) -> dict[str, float]:
    """masks (B, K, S, S); faces bool (B, S, S). A slot has what it says most of."""
    owner = masks.argmax(dim=1)
    slots = range(masks.shape[1])
    face = [_iou(owner == slot, faces) for slot in slots]
    best = int(np.argmax(face))
    others = [_iou(owner == slot, ~faces) for slot in slots if slot != best]
    return {
        "face_iou": face[best],
        "rest_iou": _iou(owner != best, ~faces),
        "largest_other_iou": max(others, default=0.0),
    }


def _iou(one: Tensor, other: Tensor) -> float:
    """The mean over the pictures."""
    both, either = (one & other).sum(dim=(1, 2)), (one | other).sum(dim=(1, 2))
    return float((both / either.clamp(min=1)).mean())


def _rows(rows: Sequence[Array]) -> Array:
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])

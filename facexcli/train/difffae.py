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
from facexcli.engines.difffae.roles import painted_slots
from facexcli.engines.difffae.slots import SlotAutoencoder
from facexcli.errors import WeightsError
from facexcli.evaluate.measures import psnr_db
from facexcli.train.portrait_views import PortraitViews
from facexcli.train.trainable import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from facexcli.engines.difffae.config import DiffFAEConfig
    from facexcli.train.portraits import Portraits
    from facexcli.train.trainable import Batch
    from facexcli.types import Array

_SHOWN = 8
_LEVELS = 4


class RegionTraining:
    """RSC with its decoder: mean squared error of the picture that the slots are put together to. See `Trainable`."""

    def __init__(self, config: DiffFAEConfig, portraits: Portraits, seed: int) -> None:
        torch.manual_seed(seed)
        self.network: nn.Module = SlotAutoencoder(config)
        self._views = PortraitViews(config, portraits)

    def batch(self, key: int, size: int) -> Batch:
        rng = np.random.default_rng(key)
        picked, coins = rng.choice(self._views.train, size), torch.from_numpy(rng.integers(2, size=size))
        given = {"rgb": self._views.rgb(picked), **self._views.regions(picked)}
        return {name: _flipped(values, coins) for name, values in given.items()}

    def loss(self, batch: Batch, random: torch.Generator) -> Tensor:
        network = cast("SlotAutoencoder", self.network)
        slots = network.regions(batch["rgb"])
        again, masks = network.put_together(slots.tokens)
        return functional.mse_loss(again, batch["rgb"]) + self._views.prior(batch, slots.masks, masks)

    @torch.inference_mode()
    def validate(self) -> Verdict:
        """loss: the mean squared error; psnr_db of the picture again; face_iou: of the slot that covers faces best, by
        the landmarks' masks; rest_iou: of all other slots with what is no face; largest_other_iou: of one of them."""
        rgb, faces = self._views.rgb(self._views.held).to(_device(self.network)), self._views.faces(self._views.held)
        again, masks = self.network(rgb)
        error = float(functional.mse_loss(again, rgb))
        values = {"loss": error, "psnr_db": _psnr_db(error), **_coverage(masks.cpu(), faces)}
        return Verdict(values, -error)

    @torch.inference_mode()
    def grid(self) -> Array:
        """Rows: pictures, put together again, and which slot is where."""
        rgb = self._views.rgb(_shown(self._views.held))
        again, masks = self.network(rgb.to(_device(self.network)))
        return _rows([_bytes(rgb), _bytes(again), painted_slots(masks.float().cpu().numpy())])

    def save(self, path: Path) -> None:
        save_regions(cast("SlotAutoencoder", self.network), path)


class DiffFAETraining:
    """All of it: eq. 8 on pairs of views of one person, whose I_R is all the query's own. See `Trainable`."""

    def __init__(
        self,
        config: DiffFAEConfig,
        portraits: Portraits,
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
        self._config, self._views = config, PortraitViews(config, portraits)
        self._signal = noise_schedule(SamplingPlan(prediction=config.prediction))

    def batch(self, key: int, size: int) -> Batch:
        rng = np.random.default_rng(key)
        queries = rng.choice(self._views.train, size)
        coins = torch.from_numpy(rng.integers(2, size=size))
        pair = self._views.pair(self._views.mates(queries, rng.random(size)), queries)
        pictures = ("source", "query", "rendered", "regions")
        return {name: _flipped(values, coins) if name in pictures else values for name, values in pair.items()}

    def loss(self, batch: Batch, random: torch.Generator) -> Tensor:
        device = batch["query"].device
        timesteps = torch.randint(TRAIN_TIMESTEPS, (len(batch["query"]),), generator=random, device=device)
        return self._losses(batch, timesteps, random)["loss"]

    @torch.inference_mode()
    def validate(self) -> Verdict:
        """denoising: the mean squared error alone; attention: eq. 7; loss: eq. 8; psnr_db of sampled queries."""
        device = _device(self.network)
        random = torch.Generator(device).manual_seed(0)
        pair = self._held_pair(self._views.held, device)
        steps = torch.linspace(0, TRAIN_TIMESTEPS - 1, 2 * _LEVELS + 1)[1::2].long().to(device)
        found = [self._losses(pair, step.expand(len(pair["query"])), random) for step in steps]
        means = {name: float(torch.stack([each[name] for each in found]).mean()) for name in found[0]}
        shown = self._held_pair(_shown(self._views.held), device)
        error = float(functional.mse_loss(self._sampled(shown).clamp(-1, 1), shown["query"]))
        return Verdict({**means, "psnr_db": _psnr_db(error)}, -means["loss"])

    @torch.inference_mode()
    def grid(self) -> Array:
        """Rows: sources, queries, I_R, what is made of them, and who is where in the source."""
        shown = self._held_pair(_shown(self._views.held), _device(self.network))
        slots = cast("DiffFAENetwork", self.network).regions(shown["source"])
        masks = functional.interpolate(slots.masks.float(), (self._config.size_px,) * 2, mode="bilinear")
        pictures = (shown["source"], shown["query"], shown["rendered"], self._sampled(shown))
        return _rows([*(_bytes(each) for each in pictures), painted_slots(masks.cpu().numpy())])

    def save(self, path: Path) -> None:
        save_network(cast("DiffFAENetwork", self.network), path)

    def _held_pair(self, queries: Array, device: torch.device) -> Batch:
        """Held-out queries, each with the same mate every time."""
        shares = np.random.default_rng(0).random(len(queries))
        pair = self._views.pair(self._views.mates(queries, shares), queries)
        return {name: values.to(device) for name, values in pair.items()}

    def _losses(self, batch: Batch, timesteps: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        """eq. 8 and its parts."""
        network, config = cast("DiffFAENetwork", self.network), self._config
        clean = network.latents.encode(batch["query"])
        noise = torch.randn(clean.shape, generator=random, device=clean.device)
        signal = self._signal.to(clean.device)[timesteps][:, None, None, None]
        noisy = signal.sqrt() * clean + (1 - signal).sqrt() * noise
        wanted = noise
        if config.prediction == "v_prediction":  # Salimans and Ho 2022, sec. 4
            wanted = signal.sqrt() * noise - (1 - signal).sqrt() * clean
        slots = network.regions(batch["source"])
        maps: list[Tensor] | None = [] if config.attention_weight else None
        predicted = network.denoiser(
            noisy, timesteps, network.latents.encode(batch["rendered"]), slots.tokens, batch.get("identity"), maps
        )
        denoising = functional.mse_loss(predicted, wanted)
        total = denoising + self._views.prior(batch, slots.masks)
        if maps is None:
            return {"loss": total, "denoising": denoising}
        with torch.no_grad():
            masks = network.regions(batch["query"]).masks
        attention = attention_loss(network.denoiser.attention_map(maps), masks)
        return {"loss": total + config.attention_weight * attention, "denoising": denoising, "attention": attention}

    def _sampled(self, pair: Batch) -> Tensor:
        """Pictures (B, 3, S, S), always from the same noise."""
        network = cast("DiffFAENetwork", self.network)
        rendered = network.latents.encode(pair["rendered"])
        slots = network.regions(pair["source"]).tokens
        noise = torch.randn(rendered.shape, generator=torch.Generator().manual_seed(1)).to(rendered.device)
        plan = SamplingPlan(steps=self._config.steps, prediction=self._config.prediction)
        predict = network.predictor(rendered, slots, pair.get("identity"))
        return network.latents.decode(sample(predict, plan, noise))


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


def _shown(views: Array) -> Array:
    """A few of them, far apart: neighbours show the same person."""
    return np.asarray(views[np.linspace(0, len(views) - 1, min(len(views), _SHOWN)).astype(int)])


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _bytes(pictures: Tensor) -> Array:
    found: Array = ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return found


def _flipped(pictures: Tensor, coins: Tensor) -> Tensor:
    """Those mirrored for which the coin says 1."""
    return torch.where(coins[:, None, None, None] > 0, pictures.flip(3), pictures)


def _psnr_db(squared_error: float) -> float:
    """Of pictures in -1..1."""
    return psnr_db(max(squared_error, 1e-10), peak=2)


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

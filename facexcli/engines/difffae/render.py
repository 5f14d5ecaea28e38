"""From requests to patches: coefficients, I_R, slots, sampling, pictures."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from facexcli.device import choose_device
from facexcli.diffusion.noise import track_noise
from facexcli.diffusion.sample import Start, sample
from facexcli.diffusion.schedule import SamplingPlan
from facexcli.engines.difffae.physical import QUERIED
from facexcli.engines.difffae.roles import slot_roles
from facexcli.engines.facex.execution import choose_dtype
from facexcli.engines.facex.ford import picture_tensor, stacked
from facexcli.errors import DeviceError, NoFaceError
from facexcli.fusion.mask import head_mask, rim_alpha
from facexcli.geometry.model3d import neutral_of
from facexcli.types import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from facexcli.engines.base import EngineOptions
    from facexcli.engines.difffae.model import DiffFAENetwork
    from facexcli.engines.difffae.physical import Coefficients, PhysicalModel
    from facexcli.recipes import Attribute
    from facexcli.types import Array, Crop, EditRequest, Motion

REPLACED: tuple[Attribute, ...] = ("hair", "clothes", "background")
"""What is edited by putting a query's slot in the place of the source's (app. G)."""
_BATCH = 4
_KEPT = 16
_LEFT = "the network answered with no number; the face was left as it was"


@dataclass(frozen=True, slots=True)
class DiffFAEState:
    """One person, digested once a video. coefficients: with texture. slots: float32 (K, width); masks: (K, g, g).

    identity: float32 (D,), or None. neutral: float64 (68, 3), the resting shape of whoever moves, or None.
    """

    crop: Crop
    coefficients: Coefficients
    slots: Array
    masks: Array
    identity: Array | None
    neutral: Array | None


@dataclass(frozen=True, slots=True)
class _Given:
    """What a face is sampled from: I_R uint8 (S, S, 3), slots (K, width), identity (D,) or None."""

    rendered: Array
    slots: Array
    identity: Array | None


class DiffFAERenderer:
    """A loaded network and all that works with it. Several threads may render at once."""

    def __init__(
        self,
        network: DiffFAENetwork,
        options: EngineOptions,
        physical: PhysicalModel,
        identity: Callable[[Crop], Array] | None,
    ) -> None:
        self.config = network.config
        self._device = torch.device(choose_device(options.device).name)
        self._dtype = choose_dtype(self._device, options.dtype)
        # A matrix product on a CPU is summed up in another order for another number of rows: one face at a time is
        # the same face in any company; and so it is where only some have a frame before them to set out from.
        single = self._device.type == "cpu" or options.temporal > 0
        self.batch = options.batch_size or (1 if single else _BATCH)
        self._options, self._physical, self._who = options, physical, identity
        self._plan = SamplingPlan(
            options.sampler,
            options.steps or self.config.steps,
            prediction=self.config.prediction,
        )
        self._lock = threading.Lock()
        self._queries: dict[tuple[int, bool], tuple[Crop, Coefficients]] = {}
        try:
            self._network = network.eval().requires_grad_(False).to(self._device, self._dtype)
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(self._device) from error

    def prepare(self, sources: Sequence[Crop], motion: Motion | None = None) -> DiffFAEState:
        """See `Engine.prepare`."""
        if not sources:
            raise NoFaceError("no still of the source has a face")
        crop = sources[0]
        slots, masks = self._slots(crop)
        neutral = None if motion is None or len(motion.landmarks_px) < 2 else neutral_of(motion).points
        identity = self._who(crop) if self._who is not None else None
        return DiffFAEState(crop, self._physical.coefficients(crop), slots, masks, identity, neutral)

    @torch.inference_mode()
    def render(self, requests: Sequence[EditRequest]) -> list[Patch]:
        """See `Engine.render`."""
        patches: list[Patch] = []
        for start in range(0, len(requests), self.batch):
            batch = requests[start : start + self.batch]
            given = [self._given(request) for request in batch]
            for request, picture in zip(batch, self._sampled(batch, given), strict=True):
                patches.append(_patch(request, picture))
        return patches

    def slots_of(self, crop: Crop) -> Array:
        """Where each slot looks, float32 (K, g, g); at each place they add up to 1."""
        return self._slots(crop)[1]

    @torch.inference_mode()
    def _slots(self, crop: Crop) -> tuple[Array, Array]:
        rgb = picture_tensor([crop.rgb]).to(self._device, self._dtype)
        tokens, masks = self._network.regions(rgb)
        return tokens[0].float().cpu().numpy(), masks[0].float().cpu().numpy()

    def _given(self, request: EditRequest) -> _Given:
        """What SPC and RSC make of a request. Shape, texture and light are the state's: the same in every frame."""
        state: DiffFAEState = request.identity
        own = state.coefficients
        if request.canvas is not state.crop:
            seen = self._physical.coefficients(request.canvas, texture=False)
            own = replace(own, expression=seen.expression, pose=seen.pose, camera=seen.camera)
        driven = request.recipe.is_driven
        queries = {
            attribute: self._query(request.providers[attribute], request.canvas, state.neutral if driven else None)
            for attribute in QUERIED
            if attribute in request.providers
        }
        amounts = {attribute: self._options.amount(attribute) for attribute in QUERIED}
        rendered = self._physical.render([own.edited(queries, amounts)], self.config.size_px).rgb[0]
        return _Given(rendered, self._composed(state, request), state.identity)

    def _query(self, crop: Crop, canvas: Crop, neutral: Array | None) -> Coefficients:
        """Read once off a still. The roll is that of the frame, which two crops have been turned by differently."""
        key = id(crop), neutral is not None
        with self._lock:
            known = self._queries.get(key)
        if known is None:
            known = crop, self._physical.coefficients(crop, neutral, texture=False)
            with self._lock:
                if len(self._queries) >= _KEPT:  # frames of a video go by
                    self._queries.clear()
                self._queries[key] = known
        found = known[1]
        roll = np.float32(_turn_deg(canvas) - _turn_deg(crop))
        return replace(found, pose=found.pose + np.array([0, 0, roll, *[0] * (len(found.pose) - 3)], np.float32))

    def _composed(self, state: DiffFAEState, request: EditRequest) -> Array:
        """The source's slots, with those of hair, clothes and background that come from elsewhere."""
        taken = [attribute for attribute in REPLACED if attribute in request.providers]
        if not taken:
            return state.slots
        slots = state.slots.copy()
        own = slot_roles(state.masks, state.crop.landmarks_px, state.crop.size_px)
        for attribute in taken:
            crop = request.providers[attribute]
            others, masks = self._slots(crop)
            theirs = slot_roles(masks, crop.landmarks_px, crop.size_px)
            slots[own[attribute]] = others[theirs[attribute]]  # type: ignore[index]
        return slots

    def _sampled(self, requests: Sequence[EditRequest], given: Sequence[_Given]) -> Array:
        """Pictures float32 (B, S, S, 3), in 0..1, of any number where the network answered with none."""
        network, config = self._network, self.config

        def moved(values: torch.Tensor) -> torch.Tensor:
            return values.to(self._device, self._dtype)

        try:
            rendered = network.latents.encode(moved(picture_tensor([each.rendered for each in given])))
            slots = moved(stacked([each.slots for each in given]))
            identities = [each.identity for each in given if each.identity is not None]
            identity = moved(stacked(identities)) if identities else None
            keys = [(request.seed, request.canvas.track_id) for request in requests]
            shape = (config.latent_channels, config.latent_px, config.latent_px)
            noise = track_noise(keys, shape, "latent").to(self._device)
            predict = network.predictor(rendered, slots, identity)
            latent = sample(predict, self._plan, noise, start=self._start(requests))
            pictures = network.latents.decode(latent.to(self._dtype)).float().cpu()
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(self._device) from error
        return np.asarray(pictures.permute(0, 2, 3, 1).numpy() / 2 + 0.5, np.float32)

    def _start(self, requests: Sequence[EditRequest]) -> Start | None:
        """The faces of the frame before, where all have one and the user asked to set out from there."""
        previous = [
            np.rint(request.previous * 255).astype(np.uint8) for request in requests if request.previous is not None
        ]
        if not self._options.temporal or len(previous) < len(requests):
            return None
        latent = self._network.latents.encode(picture_tensor(previous).to(self._device, self._dtype)).float()
        return Start(latent, 1 - self._options.temporal)


def _patch(request: EditRequest, picture: Array) -> Patch:
    """The picture as far as the recipe changes something: the whole crop, or for light alone the head."""
    canvas = request.canvas
    if not np.isfinite(picture).all():
        rgb = np.multiply(canvas.rgb, np.float32(1 / 255), dtype=np.float32)
        return Patch(rgb, np.zeros(rgb.shape[:2], np.float32), (_LEFT,), outlined=True)
    alpha = rim_alpha(canvas.size_px)
    beyond = request.recipe.moves or any(attribute in request.providers for attribute in REPLACED)
    if not beyond:
        alpha = alpha * head_mask(canvas.landmarks_px, canvas.size_px)
    return Patch(np.clip(picture, 0, 1), alpha, outlined=True)


def _turn_deg(crop: Crop) -> float:
    """By how much a crop was turned out of its frame, clockwise."""
    along_x = crop.crop_from_frame[:2, 0]
    return float(np.degrees(np.arctan2(along_x[1], along_x[0])))


def _out_of_memory(device: torch.device) -> DeviceError:
    return DeviceError(
        f"{device}: not enough memory for one face", "free some, or take a smaller network or --device cpu"
    )

"""From requests to patches: perception, assembly, sampling, pictures."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facexcli.diffusion.noise import drawn_noise
from facexcli.engines.facex.assemble import TOKEN_ATTRIBUTES, assemble_reference, token_providers
from facexcli.engines.facex.extractors import open_decomposer
from facexcli.engines.facex.running import Given, no_room
from facexcli.errors import NoFaceError
from facexcli.geometry.model3d import fit_pose, neutral_of
from facexcli.types import Patch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from facexcli.engines.base import EngineOptions
    from facexcli.engines.facex.assemble import Reference
    from facexcli.engines.facex.ford import Decomposer, FaceFacts
    from facexcli.engines.facex.running import Running
    from facexcli.recipes import Attribute
    from facexcli.types import Array, Crop, EditRequest, Motion

_RIM = 0.06
"""Of the crop's side: how far a patch that moves fades into the picture around it."""
_EDGE = 0.01
"""Of the crop's side: how soft the edge of what was made anew is."""
_REPEATED = "the network answered with no number; the face was computed again in full precision"
_LEFT = "the network answered with no number; the face was left as it was"


@dataclass(frozen=True, slots=True)
class FaceXState:
    """One person: the facts and the adapted tokens of the stills, made once, and the resting shape of whoever moves.

    neutral: float64 (68, 3) in face space, or None where no motion is known.
    """

    facts: FaceFacts
    tokens: Mapping[str, Any]
    neutral: Array | None


@dataclass(frozen=True, slots=True)
class _Job:
    """A request with what perception says of it. faces: whose tokens are picked, by attribute."""

    request: EditRequest
    reference: Reference
    faces: dict[Attribute, FaceFacts]


class FaceXRenderer:
    """A network that is run, and all that works with it. Several threads may render at once."""

    def __init__(self, running: Running, options: EngineOptions, decomposer: Decomposer | None = None) -> None:
        self.config = running.config
        self._decompose = decomposer or open_decomposer(self.config)
        self._running = running
        self._precise: Running | None = None
        self._lock = threading.Lock()
        asked = options.swap_reference
        self._swap_reference = self.config.reference if asked == "auto" else asked
        self._temporal = options.temporal
        self._sources: tuple[tuple[Crop, ...], FaceFacts, Mapping[str, Any]] | None = None

    def prepare(self, sources: Sequence[Crop], motion: Motion | None = None) -> FaceXState:
        """See `Engine.prepare`."""
        if not sources:
            raise NoFaceError("no still of the source has a face")
        neutral = None if motion is None or not len(motion.landmarks_px) else neutral_of(motion).points
        _, facts, tokens = self._digested(tuple(sources))
        return FaceXState(facts, tokens, neutral)

    def render(self, requests: Sequence[EditRequest]) -> list[Patch]:
        """See `Engine.render`."""
        jobs = [self._assembled(request) for request in requests]
        fresh = [job for job in jobs if not self._goes_on(job)]
        following = [job for job in jobs if self._goes_on(job)]  # fewer steps are walked with them
        made = {id(job): patch for group in (fresh, following) for job, patch in self._rendered(group)}
        return [made[id(job)] for job in jobs]

    def _goes_on(self, job: _Job) -> bool:
        return self._temporal > 0 and job.request.previous is not None

    def _rendered(self, jobs: list[_Job]) -> Iterator[tuple[_Job, Patch]]:
        done = 0
        while done < len(jobs):
            batch = jobs[done : done + self._running.batch]
            yield from zip(batch, self._render_batch(batch), strict=True)
            done += len(batch)

    def close(self) -> None:
        """End what runs beside the caller."""
        for running in (self._running, self._precise):
            if running is not None:
                running.close()

    def _digested(self, sources: tuple[Crop, ...]) -> tuple[tuple[Crop, ...], FaceFacts, Mapping[str, Any]]:
        """The most frontal still, with the mean identity of all: digested once for all tracks of a video."""
        with self._lock:
            known = self._sources
            if known is None or not _same_crops(known[0], sources):
                frontal = min(sources, key=lambda crop: float(np.abs(fit_pose(crop.landmarks_px).angles_deg[:2]).sum()))
                identity = np.mean([self._decompose.identity(crop) for crop in sources], axis=0)
                facts = replace(self._decompose(frontal), identity=identity)
                (tokens,) = self._running.tokens([facts])
                known = self._sources = (sources, facts, tokens)
            return known

    def _assembled(self, request: EditRequest) -> _Job:
        """Perception, once a crop, and the region assembler."""
        state: FaceXState = request.identity
        providers = token_providers(request.recipe)
        seen: dict[int, FaceFacts] = {}

        def facts(crop: Crop, *, who: bool = False) -> FaceFacts:
            if id(crop) not in seen:
                seen[id(crop)] = self._decompose(crop, state.neutral, who=who)
            return seen[id(crop)]

        canvas = facts(request.canvas, who=providers["identity"] == "canvas")
        faces: dict[Attribute, FaceFacts] = {}
        for token, attribute in TOKEN_ATTRIBUTES.items():
            if providers[token] == "source":
                faces[attribute] = state.facts
            elif providers[token] == "canvas":
                faces[attribute] = canvas
            else:
                faces[attribute] = facts(request.providers[attribute], who=attribute == "identity")
        reference = assemble_reference(request.recipe, canvas, faces, request.hole_mask, self._swap_reference)
        return _Job(request, reference, faces)

    def _render_batch(self, jobs: list[_Job]) -> list[Patch]:
        """All faces of a batch at once, or by halves where the memory ends, from then on.

        Raises DeviceError where there is no room for a single one.
        """
        batch = self._running.batch
        if len(jobs) > batch:  # it has become smaller meanwhile
            parts = [jobs[start : start + batch] for start in range(0, len(jobs), batch)]
            return [patch for part in parts for patch in self._render_batch(part)]
        try:
            return self._render_at_once(jobs)
        except self._running.out_of_memory as error:
            if batch == 1:
                raise no_room(self._running.place) from error
        self._running.shrink((batch + 1) // 2)  # few faces are filled up to a batch: it is what has to shrink
        return self._render_batch(jobs)

    def _render_at_once(self, jobs: list[_Job]) -> list[Patch]:
        """Those that came out as no number are made once more, by themselves."""
        pictures = self._sampled(self._running, jobs)
        good = [bool(np.isfinite(picture).all()) for picture in pictures]
        return [
            self._patch(job, picture) if fine else self._repeated(job)
            for job, picture, fine in zip(jobs, pictures, good, strict=True)
        ]

    def _repeated(self, job: _Job) -> Patch:
        """A frame that came out as no number, in full precision; the canvas with a warning if that is none either."""
        with self._lock:
            if self._precise is None:
                self._precise = self._running.precise()
        (picture,) = self._sampled(self._precise, [job])
        if np.isfinite(picture).all():
            return self._patch(job, picture, _REPEATED)
        rgb = np.multiply(job.request.canvas.rgb, np.float32(1 / 255), dtype=np.float32)
        return Patch(rgb, np.zeros(rgb.shape[:2], np.float32), (_LEFT,))

    def _sampled(self, running: Running, jobs: list[_Job]) -> Array:
        """The pictures of a batch, (B, 3, S, S) in -1..1, float32."""
        keys = [(job.request.seed, job.request.canvas.track_id) for job in jobs]
        given = Given(
            self._context(running, jobs),
            np.stack([job.reference.rgb for job in jobs]),
            _masks([job.reference.hole for job in jobs]),
            drawn_noise(keys, self.config.latent_shape, "latent"),
        )
        if not all(job.reference.edited.all() for job in jobs):
            # The background is held on the canvas, where the recipe lets it be the canvas's.
            given = replace(
                given,
                canvas=np.stack([job.request.canvas.rgb for job in jobs]),
                edited=_masks([job.reference.edited for job in jobs]),
            )
        if self._goes_on(jobs[0]):
            start = np.stack([_bytes(job.request.previous) for job in jobs if job.request.previous is not None])
            given = replace(given, start=start, strength=1 - self._temporal)
        return running.sampled(given)

    def _context(self, running: Running, jobs: list[_Job]) -> Any:
        """f_Rep, adapted: the tokens that the recipe picks, those of the source from its own state."""
        distinct: dict[int, FaceFacts] = {}
        for job in jobs:
            source: FaceXState = job.request.identity
            for face in job.faces.values():
                if face is not source.facts or running is not self._running:
                    distinct.setdefault(id(face), face)
        made = running.tokens(list(distinct.values())) if distinct else []
        rows = dict(zip(distinct, made, strict=True))

        def picked(job: _Job) -> list[Any]:
            state: FaceXState = job.request.identity
            faces = {token: job.faces[attribute] for token, attribute in TOKEN_ATTRIBUTES.items()}
            return [rows.get(id(face), state.tokens)[token] for token, face in faces.items()]

        return running.context([picked(job) for job in jobs])

    def _patch(self, job: _Job, picture: Array, *warnings: str) -> Patch:
        rgb = np.clip(picture.transpose(1, 2, 0) / 2 + np.float32(0.5), 0, 1)
        size = job.request.canvas.size_px
        outlined = _is_outlined(job.request)
        alpha = _faded(size) * _softened(job.reference.edited) if outlined else np.ones((size, size), np.float32)
        told = (*self._running.doubts, *warnings)
        return Patch(np.ascontiguousarray(rgb, np.float32), alpha, told, outlined)


def _bytes(rgb: Array) -> Array:
    """float32 (S, S, 3) in 0..1 -> uint8."""
    return np.asarray(np.round(255 * rgb), np.uint8)


def _masks(masks: Sequence[Array]) -> Array:
    """float32 (S, S) each -> (B, 1, S, S)."""
    return np.stack(masks)[:, None]


def _is_outlined(request: EditRequest) -> bool:
    """Whether something changes that lies outside of a face's outline."""
    beyond = any(request.recipe[region] != "canvas" for region in ("ears", "hair"))
    return request.recipe.moves or beyond or request.hole_mask is not None


def _softened(mask: Array) -> Array:
    """A mask float32 (S, S) with a soft edge, which lies inside."""
    reach_px = max(1.0, _EDGE * mask.shape[0])
    blurred = cv2.GaussianBlur(mask, (0, 0), reach_px, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip(2 * blurred - 1, 0, 1), np.float32)


def _faded(size_px: int) -> Array:
    """1 inside, 0 along the rim: float32 (S, S)."""
    inwards = np.minimum(np.arange(size_px), np.arange(size_px)[::-1]) / (_RIM * size_px)
    ramp = np.clip(inwards, 0, 1).astype(np.float32)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return np.asarray(np.minimum(ramp[:, None], ramp[None]))


def _same_crops(one: Sequence[Crop], other: Sequence[Crop]) -> bool:
    """The very same stills: their crops are compared as objects, which `_sources` keeps alive."""
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))

"""One engine for all swappers of the catalog: HyperSwap, InSwapper, Ghost, SimSwap, HiFiFace.

They share a signature: a picture of the canvas's face and an embedding of the source in, a picture out. What differs
(alignment, size, value range, whose embedding) stands in the catalog, and what the graph itself says is believed first.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from facexcli.engines.base import EngineOptions, EngineSpec
from facexcli.engines.onnx.identity import source_embedding
from facexcli.engines.onnx.providers import CPU, Providers, providers_for
from facexcli.engines.onnx.swapper import Swapper, needed, open_swapper
from facexcli.errors import DeviceError, FacexError, NoFaceError, WeightsError
from facexcli.fusion.mask import region_masks
from facexcli.recipes import FACE_REGIONS
from facexcli.types import Array, Patch
from facexcli.weights.sessions import Sessions, shared_sessions
from facexcli.weights.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facexcli.engines.onnx.swapper import Part
    from facexcli.types import Crop, EditRequest, Motion
    from facexcli.weights.catalog import Entry

_BATCH = 8
"""Faces at once on an accelerator; on a CPU one is as fast as many, and each frame's result is its own to the bit."""
_RIM_SHARE = 0.05
"""Part of the side over which a crop fades out towards its border, where networks know least."""


@dataclass(slots=True)
class SourceState:
    """One person: the embedding, float32 (1, 512), and those of third persons' stills that were asked for."""

    source: Array
    queried: dict[int, tuple[Crop, Array]] = field(default_factory=dict)


class OnnxSwapEngine:
    """A swapper of the catalog.

    Args:
        entry: its facts.
        store: where its files are; the user's own by default.
        sessions: who holds the loaded graphs; those of this process by default.
    """

    def __init__(self, entry: Entry, store: Store | None = None, sessions: Sessions | None = None) -> None:
        self.spec = _spec(entry)
        self._entry = entry
        self._store = store or Store()
        self._sessions = sessions or shared_sessions()
        self._options = EngineOptions()
        self._swapper: Swapper | None = None
        self._providers: Providers | None = None
        self._doubts: tuple[str, ...] = ()
        self._lock = threading.Lock()

    @property
    def runs_on(self) -> str:
        """Where, and why there; empty before `configure`."""
        return self._providers.reason if self._providers else ""

    def configure(self, options: EngineOptions) -> None:
        """See `Configurable.configure`. Files are verified and their signatures read; no graph is loaded yet.

        Raises WeightsError for files that are absent or not this swapper's, DeviceError for a device that is not there.
        """
        self._options = options
        self._providers = providers_for(options.device)
        self._swapper = open_swapper(self._entry, self._store, options.weights)
        self.spec = replace(self.spec, batch=self._batch())

    def prepare(self, sources: Sequence[Crop], motion: Motion | None = None) -> SourceState:
        """See `Engine.prepare`. Loads the graphs, so that one which cannot be run is told before any frame is."""
        del motion
        if not sources:
            raise NoFaceError("no still of the source has a face")
        swapper = self._started()
        return SourceState(source_embedding(swapper, sources, self._borrow))

    def render(self, requests: Sequence[EditRequest]) -> list[Patch]:
        """See `Engine.render`. Raises WeightsError for a graph that fails, or answers with no picture."""
        if not requests:
            return []
        jobs = [job for request in requests for job in self._jobs(request)]
        answers = iter(self._run_all([(request.canvas, source) for request, source, _ in jobs]))
        patches: list[Patch] = []
        for _, _, share in jobs:
            patch = next(answers)
            if share is None:
                patches.append(patch)
            else:
                patches[-1] = _mixed(patches[-1], patch, share)
        return patches

    def close(self) -> None:
        """Nothing is held: the sessions are shared, and freed when others need their room."""

    def _jobs(self, request: EditRequest) -> Iterator[tuple[EditRequest, Array, Array | None]]:
        """The source's face, then each region that is a third person's with where it belongs, float32 (S, S)."""
        state: SourceState = request.identity
        yield request, state.source, None
        for region, crop in request.providers.items():
            if id(crop) not in state.queried:  # the crop is kept with it, so that its identity stays its own
                state.queried[id(crop)] = crop, source_embedding(self._started(), [crop], self._borrow)
            share = region_masks(request.canvas.landmarks_px, request.canvas.size_px)[region]
            yield request, state.queried[id(crop)][1], share

    def _batch(self) -> int:
        """Faces at once, where the graph takes several."""
        assert self._swapper is not None and self._providers is not None
        wanted = self._options.batch_size or (1 if self._providers.is_cpu else _BATCH)
        return wanted if self._swapper.takes_batches else 1

    def _started(self) -> Swapper:
        """The swapper, with its graph loaded once."""
        with self._lock:
            if self._swapper is None or self._providers is None:
                self.configure(self._options)
            assert self._swapper is not None and self._providers is not None
            try:
                with self._borrow(self._swapper.body):
                    pass
            except DeviceError as error:
                if self._options.device != "auto" or self._providers.is_cpu:
                    raise
                self._doubts = (f"{self.spec.name} runs on the CPU: {error.message}",)
                self._providers = Providers((CPU,), "the CPU")
            return self._swapper

    @contextmanager
    def _borrow(self, part: Part) -> Iterator[Any]:
        assert self._providers is not None
        with self._sessions.borrow(part.path, part.sha256, self._providers.names) as session:
            yield session

    def _run_all(self, faces: Sequence[tuple[Crop, Array]]) -> list[Patch]:
        assert self._swapper is not None and self._providers is not None
        size = self._batch()
        with self._borrow(self._swapper.body) as session:
            return [
                patch
                for start in range(0, len(faces), size)
                for patch in self._run(session, self._swapper, self._providers, faces[start : start + size])
            ]

    def _run(
        self, session: Any, swapper: Swapper, providers: Providers, faces: Sequence[tuple[Crop, Array]]
    ) -> list[Patch]:
        facts = swapper.entry.facts
        target = np.stack([_planes(crop.rgb, facts["mean"], facts["std"]) for crop, _ in faces])
        source = np.concatenate([source for _, source in faces])
        values = {
            swapper.target.name: target.astype(swapper.target.dtype, copy=False),
            swapper.source.name: source.astype(swapper.source.dtype, copy=False),
        }
        names = [swapper.picture.name, *([swapper.mask.name] if swapper.mask else [])]
        answers = self._answers(session, providers, values, names)
        pictures, masks = answers[0], answers[1] if swapper.mask else [None] * len(faces)
        if not _is_picture(pictures, target.shape) or (swapper.mask and not _is_picture(masks, target[:, :1].shape)):
            raise WeightsError(f"{swapper.body.path}: answered with no picture", "try another variant of the engine")
        return [
            Patch(_picture(picture, facts), _alpha(mask, picture.shape[-1]), self._doubts)
            for picture, mask in zip(pictures, masks, strict=True)
        ]

    def _answers(self, session: Any, providers: Providers, values: dict[str, Array], names: list[str]) -> list[Array]:
        """Run the graph with its tensors bound to the device's memory."""
        from onnxruntime import OrtValue

        binding = session.io_binding()
        try:
            for name, value in values.items():
                binding.bind_ortvalue_input(
                    name, OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value), providers.memory, providers.index)
                )
            for name in names:
                binding.bind_output(name, "cpu")
            session.run_with_iobinding(binding)
            return [np.asarray(answer, np.float32) for answer in binding.copy_outputs_to_cpu()]
        # onnxruntime raises classes of its own, which share only Exception.
        except Exception as error:
            raise _failure(self._swapper, error) from error


def _is_picture(values: Any, shape: tuple[int, ...]) -> bool:
    return np.shape(values) == shape and bool(np.isfinite(values).all())


def _failure(swapper: Swapper | None, error: Exception) -> FacexError:
    name = swapper.body.path if swapper else "the graph"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if "alloc" in lines[0].lower() and "memory" in lines[0].lower():
        return DeviceError(f"{name}: out of memory: {lines[0]}")
    return WeightsError(f"{name}: the network failed: {lines[0]}", "pull it again, or use another engine")


def _planes(rgb: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """float32 (3, S, S): ((rgb / 255) - mean) / std of uint8 (S, S, 3)."""
    gain = 1 / (255 * np.asarray(std, np.float64))
    offset = -np.asarray(mean, np.float64) / np.asarray(std, np.float64)
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1)) * gain.astype(np.float32)[:, None, None]
    return np.asarray(planes + offset.astype(np.float32)[:, None, None], np.float32)


def _picture(planes: Array, facts: Any) -> Array:
    """float32 (S, S, 3) in 0..1 of the graph's answer (3, S, S)."""
    rgb = np.ascontiguousarray(planes.transpose(1, 2, 0))
    if facts.get("output_is_normalised"):
        rgb = rgb * np.asarray(facts["std"], np.float32) + np.asarray(facts["mean"], np.float32)
    return np.asarray(rgb.clip(0, 1), np.float32)


def _alpha(mask: Array | None, size_px: int) -> Array:
    """The graph's own mask (1, S, S), if it gives one, inside the crop's soft border; float32 (S, S)."""
    rim = _rim(size_px)
    if mask is None:
        return rim.copy()
    return np.asarray(rim * mask[0].clip(0, 1), np.float32)


@lru_cache(maxsize=8)
def _rim(size_px: int) -> Array:
    """1 inside, 0 at the border, float32 (S, S)."""
    edge = np.minimum(np.arange(size_px), np.arange(size_px)[::-1]) / (_RIM_SHARE * size_px)
    fade = np.clip(edge, 0, 1)
    rim = np.outer(fade, fade).astype(np.float32)
    rim.setflags(write=False)
    return rim


def _mixed(patch: Patch, other: Patch, share: Array) -> Patch:
    """`other` where `share` is 1."""
    rgb = patch.rgb + (other.rgb - patch.rgb) * share[..., None]
    return Patch(rgb, patch.alpha + (other.alpha - patch.alpha) * share, patch.warnings)


def _spec(entry: Entry) -> EngineSpec:
    return EngineSpec(
        name=entry.name,
        recipes=frozenset({"swap"}),
        crop_sizes_px=(int(entry.facts["size_px"]),),
        templates={"swap": entry.facts["template"]},
        summary=f"ONNX swapper, {entry.facts['size_px']} px; needs {', '.join(needed(entry))}",
        licence=entry.licence,
        takes={"swap": FACE_REGIONS},
        weights=needed(entry),
        extras=("onnx",),
        relights=True,
        checks_device=True,
    )

"""An exported network, run by onnxruntime alone. Sampling is arithmetic on small arrays, and done beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from facexcli.diffusion.fuse import MaskedFusion
from facexcli.diffusion.sample import Start, sample
from facexcli.diffusion.solver import ArraySolver
from facexcli.engines.facex.assemble import TOKEN_ATTRIBUTES
from facexcli.engines.facex.config import MOTION_SIZES
from facexcli.engines.facex.graph_file import KEYS, SAMPLED, STEP, TOKENS, read_graph_file
from facexcli.engines.facex.running import nobody, planned
from facexcli.engines.onnx.providers import CPU, Providers, providers_for
from facexcli.errors import DeviceError, UsageError, WeightsError
from facexcli.weights.sessions import load_session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from facexcli.diffusion.schedule import SamplingPlan
    from facexcli.engines.base import EngineOptions
    from facexcli.engines.facex.config import FaceXConfig
    from facexcli.engines.facex.ford import FaceFacts
    from facexcli.engines.facex.graph_file import GraphFile
    from facexcli.engines.facex.running import Given
    from facexcli.types import Array


def check_options(options: EngineOptions) -> None:
    """Raises UsageError for what an exported network cannot do, DeviceError for a device that is not there."""
    original = "leave it out, or take the checkpoint that was exported"
    if options.guidance != 1:
        raise UsageError("--guidance: an exported network has no null branch", original)
    if options.sampler == "pndm":
        raise UsageError("--sampler pndm needs torch", "take dpm++ or ddim, or the checkpoint that was exported")
    if options.unet is not None:
        raise UsageError("--unet: the UNet of an exported network is a part of its file", original)
    if options.dtype not in ("auto", "fp32"):
        raise UsageError(f"--dtype {options.dtype}: an exported network is in fp32", original)
    if options.compiled == "on":
        raise UsageError("--compile is for networks that torch runs", original)
    if options.batch_size not in (None, 1):
        raise UsageError("--batch-size: an exported network takes one face at a time", original)
    providers_for(options.device)


class GraphExecution:
    """See `Running`. One face at a time; several threads may call."""

    out_of_memory: tuple[type[Exception], ...] = (MemoryError,)
    batch = 1

    def __init__(self, file: GraphFile, plan: SamplingPlan, providers: Providers, doubts: tuple[str, ...] = ()) -> None:
        """Raises WeightsError for graphs that onnxruntime does not take, DeviceError for a device that fails."""
        self.config: FaceXConfig = file.config
        self.doubts = doubts
        self.observe: Callable[[str], None] = nobody
        self._path, self._looked_up, self._plan, self._providers = file.path, file.looked_up, plan, providers
        # Frames are painted side by side, between decoding and encoding: no thread may hold a core for nothing.
        self._sessions = {
            name: load_session(file.path, providers.names, part, spins=False) for name, part in file.parts.items()
        }

    @property
    def place(self) -> str:
        providers = self._providers
        return "cpu" if providers.memory == "cpu" else f"{providers.memory}:{providers.index}"

    def tokens(self, faces: Sequence[FaceFacts]) -> list[Mapping[str, Array]]:
        """The adapted tokens of faces, one by one, each (1, N, width)."""
        return [self._tokens_of(face) for face in faces]

    def context(self, rows: Sequence[Sequence[Array]]) -> Array:
        """See `Running.context`: (B, N, width)."""
        return np.concatenate([np.concatenate(row, axis=1) for row in rows])

    def sampled(self, given: Given) -> Array:
        """The pictures (B, 3, S, S) in -1..1, float32."""
        faces = range(len(given.reference))
        return np.concatenate(
            [self._sampled(given.context[row : row + 1], given, slice(row, row + 1)) for row in faces]
        )

    def shrink(self, batch: int) -> None:
        """Nothing is smaller than one face."""

    def precise(self) -> GraphExecution:
        """It is in full precision."""
        return self

    def close(self) -> None:
        """Free the sessions with the execution."""

    def _tokens_of(self, face: FaceFacts) -> dict[str, Array]:
        values = {
            "rgb": _planes(face.rgb[None]),
            "masks": face.masks[None],
            "identity": face.identity[None],
            **{name: face.motion[name][None] for name in MOTION_SIZES},
        }
        binding = self._bound(TOKENS, values)
        binding.bind_output(f"{TOKENS}tokens", "cpu")
        self.observe("copies")
        tokens = self._run(TOKENS, binding)
        self.observe("tokens")
        counts = [self.config.identity_tokens, *[1] * (len(TOKEN_ATTRIBUTES) - 1)]
        parts = np.split(tokens, np.cumsum(counts)[:-1], axis=1)
        return dict(zip(TOKEN_ATTRIBUTES, parts, strict=True))

    def _sampled(self, context: Array, given: Given, row: slice) -> Array:
        factor, noise = self.config.latent_factor, given.noise[row]
        reference = _unshuffled(_planes(given.reference[row]), factor)
        hole = _latent_mask(given.hole[row], factor)
        binding = self._bound(STEP, {"channels": np.concatenate([reference, hole], axis=1)})
        binding.bind_output(f"{STEP}{SAMPLED}", "cpu")
        self.observe("reference")
        for name, value in zip(self._looked_up, self._keys(context), strict=True):
            binding.bind_ortvalue_input(f"{STEP}{name}", value)
        self.observe("keys")
        fusion = start = None
        if given.canvas is not None and given.edited is not None:
            canvas = _unshuffled(_planes(given.canvas[row]), factor)
            fusion = MaskedFusion(_latent_mask(given.edited[row], factor), canvas, noise)
        if given.start is not None:
            start = Start(_unshuffled(_planes(given.start[row]), factor), given.strength)
        self.observe("encode")

        def predict(latent: Array, timestep: int) -> Array:
            self._bind(STEP, binding, {"latent": latent, "timestep": np.array([timestep])})
            return self._run(STEP, binding)

        latent: Array = sample(predict, self._plan, noise, fusion, start, ArraySolver(self._plan))
        self.observe("steps")
        picture = _shuffled(latent, factor)
        self.observe("decode")
        return picture

    def _keys(self, context: Array) -> Sequence[Any]:
        """What the blocks look up, where the network is run."""
        binding = self._bound(KEYS, {"context": context})
        for name in self._looked_up:
            binding.bind_output(f"{KEYS}{name}", self._providers.memory, self._providers.index)
        self._start(KEYS, binding)
        return list(binding.get_outputs())

    def _bound(self, part: str, values: Mapping[str, Array]) -> Any:
        binding = self._sessions[part].io_binding()
        self._bind(part, binding, values)
        return binding

    def _bind(self, part: str, binding: Any, values: Mapping[str, Array]) -> None:
        from onnxruntime import OrtValue

        memory, index = self._providers.memory, self._providers.index
        for name, value in values.items():
            held = np.ascontiguousarray(value, np.float32)
            binding.bind_ortvalue_input(f"{part}{name}", OrtValue.ortvalue_from_numpy(held, memory, index))

    def _run(self, part: str, binding: Any) -> Array:
        """The one output of a part."""
        self._start(part, binding)
        return np.asarray(binding.copy_outputs_to_cpu()[0], np.float32)

    def _start(self, part: str, binding: Any) -> None:
        try:
            self._sessions[part].run_with_iobinding(binding)
        # onnxruntime raises classes of its own, which share only Exception.
        except Exception as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if "alloc" in line.lower() and "memory" in line.lower():
                raise MemoryError(line) from error
            raise WeightsError(f"{self._path}: the network failed: {line}", "export it again") from error


def open_graph_execution(path: Path, options: EngineOptions) -> GraphExecution:
    """An exported network as a run's options want it.

    Raises WeightsError for a file that is damaged or something else, and what `check_options` does.
    """
    check_options(options)
    file, providers = read_graph_file(path), providers_for(options.device)
    plan = planned(file.config, options)
    try:
        return GraphExecution(file, plan, providers)
    except DeviceError as error:
        if options.device != "auto" or providers.is_cpu:
            raise
        return GraphExecution(file, plan, Providers((CPU,), "the CPU"), (f"facex runs on the CPU: {error.message}",))


def _planes(rgb: Array) -> Array:
    """uint8 (B, S, S, 3) -> float32 (B, 3, S, S) in -1..1."""
    planes = np.ascontiguousarray(rgb.transpose(0, 3, 1, 2), np.float32)
    return np.asarray(planes / np.float32(127.5) - np.float32(1))


def _unshuffled(planes: Array, factor: int) -> Array:
    """See `latents.UnshuffleCodec.encode`."""
    batch, channels, height, width = planes.shape
    cells = planes.reshape(batch, channels, height // factor, factor, width // factor, factor)
    return cells.transpose(0, 1, 3, 5, 2, 4).reshape(batch, -1, height // factor, width // factor)


def _shuffled(latent: Array, factor: int) -> Array:
    """See `latents.UnshuffleCodec.decode`."""
    batch, _, height, width = latent.shape
    cells = latent.reshape(batch, -1, factor, factor, height, width)
    return cells.transpose(0, 1, 4, 2, 5, 3).reshape(batch, -1, height * factor, width * factor)


def _latent_mask(mask: Array, factor: int) -> Array:
    """See `fuse.latent_mask`: (B, 1, S, S) -> (B, 1, s, s), 0 or 1."""
    batch, _, height, width = mask.shape
    cells = (mask > 0).reshape(batch, 1, height // factor, factor, width // factor, factor)
    return np.asarray(cells.any(axis=(3, 5)), np.float32)

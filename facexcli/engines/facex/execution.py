"""A network where it is run: on which device, in which precision and layout, compiled or as it is, and what of it is
constant and so made once.

What a face costs is its passes through the UNet and the VAE: a device must never wait for the machine around it. Shapes
are always those of a whole batch, so that a compiled network is compiled once and a face is the same in any company.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from facexcli.device import choose_device
from facexcli.diffusion.fuse import MaskedFusion, latent_mask
from facexcli.diffusion.sample import Start, sample
from facexcli.engines.facex.compiled import compiled, in_words
from facexcli.engines.facex.ford import face_tensors
from facexcli.engines.facex.model import joined
from facexcli.engines.facex.running import Given, default_batch, made_inputs, no_room, nobody, planned
from facexcli.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from facexcli.diffusion.schedule import SamplingPlan
    from facexcli.engines.base import EngineOptions
    from facexcli.engines.facex.controller import Steering
    from facexcli.engines.facex.ford import FaceFacts
    from facexcli.engines.facex.model import FaceTensors, FaceXNetwork, Tokens
    from facexcli.settings import DtypeName
    from facexcli.types import Array

Result = TypeVar("Result")

DTYPES: dict[DtypeName, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def choose_dtype(device: torch.device, wanted: DtypeName) -> torch.dtype:
    """The precision of `--dtype`; auto is fp32 on a CPU, elsewhere bf16, or fp16 where the device has no bf16.

    Raises UsageError for fp16 on a CPU.
    """
    if wanted == "fp16" and device.type == "cpu":
        raise UsageError("--dtype fp16 is for graphics cards", "on a CPU take fp32 or bf16")
    if wanted != "auto":
        return DTYPES[wanted]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


@dataclass(frozen=True, slots=True)
class Layout:
    """How a network is run. batch: faces at once; a smaller number of them is filled up. guidance: see `guided`."""

    device: torch.device
    dtype: torch.dtype
    batch: int
    guidance: float = 1.0
    compiled: bool = False


class Execution:
    """A network in its layout, run by torch. Several threads may call.

    What is not a plain network on a CPU is run in one thread of its own, which CUDA graphs belong to, and which begins
    a batch while its callers wait for the one before.

    For its attributes see `Running`.
    """

    out_of_memory: tuple[type[Exception], ...] = (torch.OutOfMemoryError,)

    def __init__(self, network: FaceXNetwork, plan: SamplingPlan, layout: Layout) -> None:
        """Raises torch.OutOfMemoryError where the network itself does not fit."""
        network.controller.fold()
        self.config, self.plan, self.layout = network.config, plan, layout
        self.doubts: tuple[str, ...] = ()
        self.observe: Callable[[str], None] = nobody
        # A convolution's channels lie side by side in memory, as tensor cores want them.
        self.network = network.eval().requires_grad_(False).to(layout.device, layout.dtype)
        if layout.device.type == "cuda":
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        plain = layout.device.type == "cpu" and not layout.compiled
        self._thread = None if plain else ThreadPoolExecutor(1, thread_name_prefix="device")
        self._null: dict[int, Steering] = {}
        self._times: dict[tuple[int, int], Tensor] = {}
        self._unused_time = torch.zeros((), dtype=torch.int64, device=layout.device)
        on_cuda = layout.device.type == "cuda"
        self._take(partial(compiled, on_cuda=on_cuda) if layout.compiled else _as_it_is)

    @property
    def batch(self) -> int:
        return self.layout.batch

    @property
    def place(self) -> str:
        return str(self.layout.device)

    def precise(self) -> Execution:
        """The same network in full precision, a face at a time, as it is."""
        same = self.layout.dtype == torch.float32
        network = self.network if same else deepcopy(self.network).float()
        return Execution(network, self.plan, Layout(self.layout.device, torch.float32, 1, self.layout.guidance))

    def warm_up(self) -> None:
        """Run everything once on nothing, so that compiling is over before the first frame.

        Where it fails, the network is run as it is, and `doubts` say why.
        """
        if not self.layout.compiled:
            return
        try:
            self.sampled(made_inputs(self))
        # Compilers, their generated code and the linker each fail in classes of their own.
        except Exception as error:
            self._take(_as_it_is)
            self.doubts = (f"the network is not compiled, and so runs slower: {in_words(error)}",)

    def shrink(self, batch: int) -> None:
        """From now on take `batch` faces at once, as the network is: what is compiled is for one number of them."""
        self.layout = replace(self.layout, batch=batch, compiled=False)
        self._take(_as_it_is)
        if self.layout.device.type == "cuda":
            torch.cuda.empty_cache()

    def close(self) -> None:
        """End the thread. Calling it twice is allowed."""
        if self._thread is not None:
            self._thread.shutdown()

    def tokens(self, faces: Sequence[FaceFacts]) -> list[Mapping[str, Tensor]]:
        """The adapted tokens of faces one by one, on the device, made in batches of the layout's size."""
        found: list[Mapping[str, Tensor]] = []
        for start in range(0, len(faces), self.batch):
            chosen = face_tensors(faces[start : start + self.batch])
            made = self._alone(self._tokens_of, chosen.mapped(self._ready))
            found += [made.row(row).parts for row in range(len(chosen.rgb))]
        return found

    def context(self, rows: Sequence[Sequence[Tensor]]) -> Tensor:
        """See `Running.context`: (B, N, width) on the device."""
        return torch.cat([joined(row) for row in rows])

    def sampled(self, given: Given) -> Array:
        """The pictures (B, 3, S, S) in -1..1, float32."""
        tensors = given.mapped(lambda values: self._ready(torch.from_numpy(values)))
        finished = self._alone(self._begun, tensors)
        return finished()[: len(given.reference)].numpy()

    def denoise(
        self, latent: Tensor, timestep: Tensor, steering: Steering, channels: Tensor | None, embedding: Tensor | None
    ) -> Tensor:
        """See `FaceXNetwork.denoise`; the timestep is known by its embedding."""
        del timestep
        found: Tensor = self._denoise(latent, self._unused_time, steering, channels, embedding)
        return found

    def time_embedding(self, timestep: Tensor, batch: int) -> Tensor:
        """See `FaceXNetwork.time_embedding`: made once for each timestep."""
        key = (int(timestep), batch)
        if key not in self._times:
            self._times[key] = self.network.time_embedding(timestep, batch)
        return self._times[key]

    def _take(self, wrapped: Callable[[Any], Any]) -> None:
        network = self.network
        self._tokens = wrapped(network.tokens)
        self._reference_tokens = wrapped(network.inpainting_tokens)
        self._steering = wrapped(network.steering)
        self._denoise = wrapped(network.denoise)
        self._encode = wrapped(network.codec.encode)
        self._decode = wrapped(network.codec.decode)

    def _alone(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """In the thread of the device, where there is one."""
        return function(*arguments) if self._thread is None else self._thread.submit(function, *arguments).result()

    @torch.inference_mode()
    def _tokens_of(self, faces: FaceTensors) -> Tokens:
        moved = faces.mapped(lambda values: self._moved(values).to(self.layout.dtype))
        self.observe("copies")
        made: Tokens = self._tokens(moved)
        self.observe("tokens")
        return made

    @torch.inference_mode()
    def _begun(self, given: Given) -> Callable[[], Tensor]:
        """Everything is asked of the device; what is returned waits for its answer."""
        here = given.mapped(self._moved)
        self.observe("copies")
        latent = self._latent(here)
        self.observe("steps")
        decoded = self._decode(latent.to(self.layout.dtype)).float()
        self.observe("decode")
        fetched = self._fetched(decoded)
        self.observe("copies")
        return fetched

    def _latent(self, given: Given) -> Tensor:
        """All of `given` is on the device, with pictures as the network takes them."""
        network, noise = self.network, given.noise
        context = joined([_filled(given.context, self.batch), self._reference_tokens(given.reference)])
        channels = network.reference_channels(given.reference, given.hole.to(self.layout.dtype))
        self.observe("reference")
        steering = self._steering(context)
        null = None if self.layout.guidance == 1 else self._null_steering(len(noise))
        self.observe("keys")
        fusion = start = None
        if given.canvas is not None and given.edited is not None:
            mask = latent_mask(given.edited, (self.config.latent_px,) * 2)
            fusion = MaskedFusion(mask, self._encode(given.canvas).float(), noise)
        if given.start is not None:
            start = Start(self._encode(given.start).float(), given.strength)
        self.observe("encode")
        predict = network.predictor(steering, channels, self.layout.guidance, null, self)
        found: Tensor = sample(predict, self.plan, noise, fusion, start)
        return found

    def _null_steering(self, count: int) -> Steering:
        """Made once: it is the same for every face."""
        if count not in self._null:
            self._null[count] = self.network.null_steering(1).expanded(count).mapped(torch.Tensor.contiguous)
        return self._null[count]

    def _moved(self, values: Tensor) -> Tensor:
        """From the host on the device; nothing waits for memory that is pinned.

        Pictures, uint8 (B, S, S, 3), become (B, 3, S, S) in -1..1 there, in the layout's precision: a quarter of the
        bytes is moved.
        """
        there = values.to(self.layout.device, non_blocking=True)
        if values.dtype != torch.uint8:
            return there
        layout = torch.channels_last if self.layout.device.type == "cuda" else torch.contiguous_format
        planes = there.permute(0, 3, 1, 2).float() / 127.5 - 1
        return planes.to(self.layout.dtype).contiguous(memory_format=layout)

    def _ready(self, values: Tensor) -> Tensor:
        """A whole batch of `values` (B, ...), where the device can fetch it from by itself."""
        whole = _filled(values, self.batch)
        return whole.pin_memory() if self.layout.device.type == "cuda" else whole

    def _fetched(self, values: Tensor) -> Callable[[], Tensor]:
        """Begins a copy to the host, and gives what waits for it: the next batch is begun meanwhile."""
        if self.layout.device.type != "cuda":
            copied = values.cpu()
            return lambda: copied
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()

        def waited() -> Tensor:
            done.synchronize()
            return host

        return waited


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _filled(values: Tensor, count: int) -> Tensor:
    """(B, ...) -> (count, ...), with the last row again and again; as it is where there are as many or more."""
    missing = count - len(values)
    return values if missing <= 0 else torch.cat([values, values[-1:].expand(missing, *values.shape[1:])])


def open_execution(network: FaceXNetwork, options: EngineOptions) -> Execution:
    """A network as a run's options want it.

    Raises UsageError and DeviceError for a precision or a device that cannot be, or that has too little memory,
    WeightsError for guidance by a checkpoint that does not carry what it needs.
    """
    config = network.config
    if options.guidance != 1 and config.perception == "paper" and not network.null_context.any():
        raise WeightsError(
            "--guidance needs the answer of Stable Diffusion's text encoder, and the checkpoint does not carry it",
            "put text_encoder/ beside the checkpoint, or leave out --guidance",
        )
    device = torch.device(choose_device(options.device).name)
    dtype, compiled = choose_dtype(device, options.dtype), options.compiled == "on"
    layout = Layout(device, dtype, default_batch(options), options.guidance, compiled)
    try:
        execution = Execution(network, planned(config, options), layout)
        execution.warm_up()
    except torch.OutOfMemoryError as error:
        raise no_room(str(device)) from error
    return execution

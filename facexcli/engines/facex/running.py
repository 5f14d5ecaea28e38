"""What the engine asks of a network, whoever runs it: torch (`execution`) or onnxruntime (`graph_execution`).

Values that come from the host are numpy arrays. What an execution has made of a face stays where it lies: the engine
picks parts of it, and hands them back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from facexcli.device import choose_device
from facexcli.diffusion.schedule import SamplingPlan
from facexcli.engines.facex.config import MOTION_SIZES, REGIONS
from facexcli.engines.facex.ford import FaceFacts
from facexcli.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from facexcli.engines.base import EngineOptions
    from facexcli.engines.facex.config import FaceXConfig
    from facexcli.types import Array

_BATCH = 4

Values: TypeAlias = Any
"""Arrays of numpy on the host; within an execution its own tensors."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a batch is sampled from.

    On the host: pictures uint8 (B, S, S, 3), masks float32 (B, 1, S, S) in 0..1, noise float32 (B, C, h, w). Of the
    execution: context, see `Running.context`. `reference` is I_R and `hole` where it was cut out; `canvas` and `edited`
    are for masked fusion, None where all of the picture is made anew; `start` is the picture to set out from, and
    `strength` how much of the way there is then to go.
    """

    context: Any
    reference: Values
    hole: Values
    noise: Values
    canvas: Values = None
    edited: Values = None
    start: Values = None
    strength: float = 1.0

    def mapped(self, change: Callable[[Values], Values]) -> Given:
        """With everything changed that is on the host."""

        def changed(values: Values) -> Values:
            return None if values is None else change(values)

        return replace(
            self,
            reference=change(self.reference),
            hole=change(self.hole),
            noise=change(self.noise),
            canvas=changed(self.canvas),
            edited=changed(self.edited),
            start=changed(self.start),
        )


class Running(Protocol):
    """A network where it is run. Several threads may call.

    doubts: why it is not run as it was asked to be. out_of_memory: what is raised where a batch does not fit. observe:
    is told when a part of the work has been asked for, by its name in `cost.flop_of_stages`, and `copies` for what goes
    from and to the host.
    """

    doubts: tuple[str, ...]
    observe: Callable[[str], None]
    out_of_memory: tuple[type[Exception], ...]

    @property
    def config(self) -> FaceXConfig: ...

    @property
    def place(self) -> str:
        """Where it runs, as `--device` spells it."""
        ...

    @property
    def batch(self) -> int:
        """Faces at once; a smaller number of them is filled up."""
        ...

    def tokens(self, faces: Sequence[FaceFacts]) -> Sequence[Mapping[str, Any]]:
        """The adapted tokens of faces, one by one, by representation."""
        ...

    def context(self, rows: Sequence[Sequence[Any]]) -> Any:
        """f_SD of a batch: for each face the tokens that its recipe picks, in their order."""
        ...

    def sampled(self, given: Given) -> Array:
        """The pictures (B, 3, S, S) in -1..1, float32."""
        ...

    def shrink(self, batch: int) -> None:
        """From now on take `batch` faces at once."""
        ...

    def precise(self) -> Running:
        """The same network in full precision, a face at a time."""
        ...

    def close(self) -> None:
        """Give back what it holds. Calling it twice is allowed."""
        ...


def planned(config: FaceXConfig, options: EngineOptions) -> SamplingPlan:
    """Solver and steps of a run."""
    return SamplingPlan(
        options.sampler,
        options.steps or config.steps,
        karras=options.sampler == "dpm++",
        prediction=config.prediction,
    )


def default_batch(options: EngineOptions) -> int:
    """Faces at once. Raises what `choose_device` does.

    A matrix product on a CPU is summed up in another order for another number of rows: one face at a time is the same
    face whatever the batch, and costs nothing there.
    """
    return options.batch_size or (1 if choose_device(options.device).kind == "cpu" else _BATCH)


def no_room(place: str) -> DeviceError:
    """What is raised where a single face does not fit."""
    return DeviceError(
        f"{place}: not enough memory for one face", "free some, or take a smaller network or --device cpu"
    )


def nobody(stage: str) -> None:
    """Where nobody observes."""


def made_faces(config: FaceXConfig, count: int) -> list[FaceFacts]:
    """Faces of noise, for a network to be run on where the answer does not matter."""
    random, size = np.random.default_rng(1), config.size_px
    return [
        FaceFacts(
            random.integers(0, 256, (size, size, 3), np.uint8),
            random.random((len(REGIONS), size, size), np.float32),
            random.standard_normal(config.identity_shape, np.float32),
            {name: random.standard_normal(numbers, np.float32) for name, numbers in MOTION_SIZES.items()},
        )
        for _ in range(count)
    ]


def made_inputs(running: Running) -> Given:
    """A batch of noise to sample from, with a canvas to be held on."""
    config, count, random = running.config, running.batch, np.random.default_rng(2)
    context = running.context([list(row.values()) for row in running.tokens(made_faces(config, count))])
    picture = random.integers(0, 256, (count, config.size_px, config.size_px, 3), np.uint8)
    mask = random.random((count, 1, config.size_px, config.size_px), np.float32).round()
    shape = (count, *config.latent_shape)
    return Given(context, picture, mask, random.standard_normal(shape, np.float32), picture, mask)

"""What the training loop knows of an engine's network: this interface, and nothing else.

Everything random is a function of a key that the loop hands in. So nothing of a random generator has to be saved, and a
run that is taken up again draws what an uninterrupted one would have drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Generator, Tensor, nn

    from facexcli.types import Array

    Batch = Mapping[str, Tensor]
    """Tensors of one length; made on the host, moved to the device by the loop."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a network does on the people that it was not shown.

    values: columns of metrics.csv, which get the prefix `val_`. score: the higher the better; it decides what the best
    checkpoint is.
    """

    values: Mapping[str, float]
    score: float


class Trainable(Protocol):
    """A network, what it learns from and how it is judged.

    network: its parameters with `requires_grad` are trained, all others and all buffers stay as they are, bit by bit.
    Between two calls the loop may put other values into the trained parameters (their moving average).
    """

    @property
    def network(self) -> nn.Module:
        """The one that is trained."""
        ...

    def batch(self, key: int, size: int) -> Batch:
        """`size` samples, on the host, which depend on `key` (64 bits) alone. Called by several threads."""
        ...

    def loss(self, batch: Batch, random: Generator) -> Tensor:
        """The mean loss () of a batch that lies on the network's device; `random` draws there."""
        ...

    def validate(self) -> Verdict:
        """On samples and noise that are always the same; without gradients."""
        ...

    def grid(self) -> Array:
        """A picture that shows what the network makes of held-out samples: uint8 (H, W, 3)."""
        ...

    def save(self, path: Path) -> None:
        """Write the weights as the engine reads them. Raises OutputError."""
        ...

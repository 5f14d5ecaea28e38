"""What perception is to the rest of facex: one small interface, implemented once for each family of models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from facexcli.types import Array, Box


@dataclass(frozen=True, slots=True)
class Detection:
    """A face that was found without knowing where to look.

    box_px: edges in pixels of the image that was searched. score: the detector's own confidence; its scale differs
    between analyzers, and larger is surer.
    """

    box_px: Box
    score: float


@dataclass(frozen=True, slots=True)
class Fit:
    """Where the 68 points are, and how far they can be trusted.

    landmarks_px: float32 (68, 2), iBUG order, in pixels of the image. spread: mean disagreement of the estimates that
    were averaged, as a fraction of the distance of the outer eye corners (0 where there was only one estimate).
    """

    landmarks_px: Array
    spread: float


class Analyzer(Protocol):
    """Finds faces, follows their landmarks and tells people apart. Images are RGB uint8 (H, W, 3) in square pixels.

    Implementations load their models on first use and hold no state between calls, so that the same image always gives
    the same answer.

    Attributes:
        name: what a report calls it.
        same_person_distance: two unit embeddings closer than this (Euclidean) are one person.
    """

    name: str
    same_person_distance: float

    def detect(self, rgb: Array, *, thorough: bool = False) -> list[Detection]:
        """All faces, surest first. `thorough` spends time on small, turned and unusual faces."""
        ...

    def landmarks(self, rgb: Array, box_px: Box) -> Fit:
        """The landmarks of the face in a detector's box."""
        ...

    def follow(self, rgb: Array, landmarks_px: Array) -> Fit:
        """The landmarks of a face that was at `landmarks_px`, float (68, 2), a frame ago."""
        ...

    def confidence(self, rgb: Array, landmarks_px: Array) -> float:
        """How much the picture under `landmarks_px` looks like a face: above 0 it does, below it may not."""
        ...

    def embed(self, rgb: Array, landmarks_px: Array) -> Array:
        """Who it is: float32 (D,), unit norm."""
        ...

    def close(self) -> None:
        """Give back the models. Calling it twice is allowed."""
        ...

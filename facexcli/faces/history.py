"""What was seen of one face, packed as it comes: films are long, and Python's objects are large."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facexcli.types import LANDMARK_COUNT, Array

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NUMBERS = 2 * LANDMARK_COUNT


@dataclass(frozen=True, slots=True)
class Observation:
    """One face in one frame; landmarks_px float32 (68, 2) in frame pixels; score 0 where it was not detected anew."""

    index: int
    landmarks_px: Array
    spread: float
    score: float = 0.0


class History:
    """Observations at ascending indices: 565 bytes each, where a list of `Observation` takes 800."""

    def __init__(self, observations: Iterable[Observation] = ()) -> None:
        self._indices, self._landmarks = array("i"), array("f")
        self._spreads, self._scores, self._measured = array("d"), array("d"), array("b")
        self.extend(observations)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, place: int) -> Observation:
        place = range(len(self))[place]
        numbers = self._landmarks[place * _NUMBERS : (place + 1) * _NUMBERS]
        landmarks = np.frombuffer(numbers, np.float32).reshape(LANDMARK_COUNT, 2)
        return Observation(self._indices[place], landmarks, self._spreads[place], self._scores[place])

    def __iter__(self) -> Iterator[Observation]:
        return (self[place] for place in range(len(self)))

    def extend(self, observations: Iterable[Observation]) -> None:
        """Add what was seen after all that is there."""
        for item in observations:
            self.insert(len(self), item)

    def insert(self, place: int, item: Observation, measured: bool = True) -> None:
        """`measured`: false where nothing was seen, and something was made up instead."""
        start = place * _NUMBERS
        self._indices.insert(place, item.index)
        self._landmarks[start:start] = array("f", np.asarray(item.landmarks_px, np.float32).tobytes())
        self._spreads.insert(place, item.spread)
        self._scores.insert(place, item.score)
        self._measured.insert(place, measured)

    def credit(self, score: float) -> None:
        """The last one was detected too, with this confidence."""
        self._scores[-1] = score

    def since(self, index: int) -> Iterator[Observation]:
        """Those of frame `index` and later."""
        return (self[place] for place in range(bisect_left(self._indices, index), len(self)))

    def cut(self, index: int) -> list[Observation]:
        """Take away and return what was seen from frame `index` on; the first observation always stays."""
        keep = max(1, bisect_left(self._indices, index))
        tail = [self[place] for place in range(keep, len(self))]
        del self._indices[keep:], self._landmarks[keep * _NUMBERS :]
        del self._spreads[keep:], self._scores[keep:], self._measured[keep:]
        return tail

    def bridge(self, max_gap: int) -> None:
        """Fill gaps of at most `max_gap` frames with what lies between, landmark by landmark."""
        steps = np.diff(np.array(self._indices))
        for place in np.flatnonzero((steps > 1) & (steps <= max_gap + 1))[::-1].tolist():
            before, after = self[place], self[place + 1]
            for index in range(after.index - 1, before.index, -1):
                part = (index - before.index) / (after.index - before.index)
                between = (1 - part) * before.landmarks_px + part * after.landmarks_px
                self.insert(place + 1, Observation(index, between, 0.0), measured=False)

    def columns(self) -> tuple[Array, Array, Array, Array]:
        """Indices int32 (T,), landmarks float32 (T, 68, 2), scores float64 (T,), measured bool (T,).

        They are the memory of the history, not copies: afterwards nothing can be added or taken away.
        """
        landmarks = np.frombuffer(self._landmarks, np.float32).reshape(-1, LANDMARK_COUNT, 2)
        measured = np.frombuffer(self._measured, np.int8).view(bool)
        return np.frombuffer(self._indices, np.int32), landmarks, np.frombuffer(self._scores), measured

"""The search for a face's watermark: what aligned frames say for one, and whose run it is. Pure functions.

The dithers are drawn by the key alone. So for a picture that knows nothing of the key the phases that are added up are
uniform and independent, whatever is in the picture; E exp(t cos) = I0(t) makes the likelihood ratio below have a mean
of 1, and it exceeds 10**n with a chance of at most 10**-n (Markov's inequality).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import log

import cv2
import numpy as np

from facexcli.fusion.watermark_waves import (
    HEIGHT,
    LEFT,
    SPACING,
    SYMBOL_BITS,
    TOP,
    WIDTH,
    by_symbol,
    coefficients,
    symbol_dither,
    sync,
    sync_dither,
)
from facexcli.types import Array

FOUND_LOG10 = 4.0
"""At least so unlikely (a chance of 10**-4) that an unmarked file looks marked."""
READ_CERTAINTY = 0.95
"""A run id that is less certain is not told."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for a mark.

    log10_chance: minus the decimal logarithm of a bound for the chance that an unmarked face gives as much; at least 0.
    run_id: the likeliest. certainty: 0..1, how likely it is the right one, given that there is a mark; 0 where too
    little speaks for one.
    """

    log10_chance: float = 0.0
    run_id: int = 0
    certainty: float = 0.0

    @property
    def is_found(self) -> bool:
        return self.log10_chance >= FOUND_LOG10

    @property
    def is_read(self) -> bool:
        """Whether the mark is there and says which run it is of."""
        return self.is_found and self.certainty >= READ_CERTAINTY


def weigh(lumas: Array, key: bytes) -> Evidence:
    """What a person's aligned frames say, searched over small misalignments that all of them have in common.

    Args:
        lumas: (F, GRID_PX, GRID_PX) in 0..255.
        key: as for `make_dither`.
    """
    search = _Search(lumas.astype(np.float32), key)
    tried = search.everywhere()
    log_means = [_log_mean_ratio(tried)]
    for stage in _STAGES:
        starts = sorted(tried, key=lambda place: tried[place] + _log_prior(place))[-stage.starts :]
        places = dict.fromkeys(near for start in starts for near in _around(start, stage.step))
        tried = {place: search.log_ratio(place, stage.frames) for place in places}
        # Whatever is not tried would only add to the mean over all places with this step, so that it can be left out.
        log_means.append(_log_mean_ratio(tried) + 4 * log(stage.step))
    log10_chance = max(0.0, (_log_sum(np.array(log_means)) - log(len(log_means))) / log(10))
    if log10_chance < FOUND_LOG10:
        return Evidence(log10_chance)
    best = max(tried, key=lambda place: tried[place] + _log_prior(place))
    return Evidence(log10_chance, *search.read(best))


@dataclass(frozen=True, slots=True)
class _Place:
    """A misalignment: shifts in grid pixels, scale and turn about the middle of the face."""

    x_px: float
    y_px: float
    scale: float
    turn_deg: float

    @property
    def matrix(self) -> Array:
        """box_from_grid, float64 (2, 3)."""
        turned = cv2.getRotationMatrix2D((LEFT + WIDTH / 2, TOP + HEIGHT / 2), self.turn_deg, self.scale)
        return np.asarray(turned + np.array([[0, 0, self.x_px - LEFT], [0, 0, self.y_px - TOP]]))


@dataclass(frozen=True, slots=True)
class _Stage:
    """A finer pass of the search: step in parts of `_STEP`, around how many places, and how many frames at most."""

    step: float
    starts: int
    frames: int


_STEP = _Place(0.5, 0.5, 0.01, 0.75)
_REACH_PX = 2
_SHIFTS_PX = tuple(float(x) for x in np.arange(-_REACH_PX, _REACH_PX + 0.1, 0.5))
_SCALES, _TURNS_DEG = (0.98, 0.99, 1.0, 1.01, 1.02), (-1.5, -0.75, 0.0, 0.75, 1.5)
_COARSE_FRAMES = 8
_STAGES = (_Stage(0.5, 4, 8), _Stage(0.25, 1, 75))
_LIKELY_PX = 0.5
"""Two detections of a face seldom differ by more."""
_STRENGTHS = np.array([4.0, 6.0, 9.0])
"""Standard deviations of chance that a mark may amount to."""


def _around(start: _Place, part: float) -> list[_Place]:
    """A place and its neighbours at so many parts of `_STEP`."""
    return [
        _Place(
            start.x_px + x * _STEP.x_px,
            start.y_px + y * _STEP.y_px,
            round(start.scale + s * _STEP.scale, 6),
            start.turn_deg + t * _STEP.turn_deg,
        )
        for x, y, s, t in product((-part, 0.0, part), repeat=4)
    ]


def _log_prior(place: _Place) -> float:
    """How likely a misalignment is beforehand, not normalised: heavy tails, because a codec may do anything."""
    far = (place.x_px**2 + place.y_px**2) / _LIKELY_PX**2
    far += ((place.scale - 1) / _STEP.scale) ** 2 + (place.turn_deg / _STEP.turn_deg) ** 2
    return -2.0 * log(1 + far)


@lru_cache(maxsize=1)
def _log_prior_sum() -> float:
    everywhere = product(_SHIFTS_PX, _SHIFTS_PX, _SCALES, _TURNS_DEG)
    return _log_sum(np.array([_log_prior(_Place(*each)) for each in everywhere]))


def _log_mean_ratio(tried: dict[_Place, float]) -> float:
    """The likelihood ratios, weighted by how likely their places are, over the coarse places' weight."""
    return _log_sum(np.array([ratio + _log_prior(place) for place, ratio in tried.items()])) - _log_prior_sum()


class _Search:
    """The frames of one person, and what a key says about them at any place."""

    def __init__(self, lumas: Array, key: bytes) -> None:
        self._lumas, self._key = lumas, key
        self._sync = np.exp(-2j * np.pi * sync_dither(key)).astype(np.complex64)

    def everywhere(self) -> dict[_Place, float]:
        """The log ratio of every coarse place.

        Whole pixels need no warp of their own: they are another part of a box that is larger all around.
        """
        found: dict[_Place, float] = {}
        for scale, turn_deg, x, y in product(_SCALES, _TURNS_DEG, (0.0, 0.5), (0.0, 0.5)):
            large = self._boxes(_Place(x, y, scale, turn_deg), _COARSE_FRAMES, _REACH_PX)
            shifts = [
                (column, row)
                for column, row in product(range(-_REACH_PX, _REACH_PX + 1), repeat=2)
                if max(column + x, row + y) <= _REACH_PX
            ]
            boxes = [
                large[:, _REACH_PX - row : _REACH_PX - row + HEIGHT, _REACH_PX - column : _REACH_PX - column + WIDTH]
                for column, row in shifts
            ]
            ratios = self._log_ratios(np.stack([_mean_phases(each)[sync()] for each in boxes]))
            places = [_Place(column + x, row + y, scale, turn_deg) for column, row in shifts]
            found |= zip(places, ratios.tolist(), strict=True)
        return found

    def log_ratio(self, place: _Place, most_frames: int) -> float:
        """The logarithm of how much likelier a marked face gives these phases than any other."""
        phases = _mean_phases(self._boxes(place, most_frames))
        return float(self._log_ratios(phases[None, sync()])[0])

    def _log_ratios(self, phases: Array) -> Array:
        """float64 (P,) of complex64 (P, waves): of each place."""
        lengths = np.abs(phases)
        gain = _STRENGTHS * np.sqrt(2 / np.maximum(np.sum(lengths**2, axis=1, keepdims=True), 1e-12))
        synced = np.real(phases @ self._sync)[:, None].astype(np.float64)
        chance = np.sum(_log_i0(gain[:, :, None] * lengths[:, None]), axis=2)
        ratios = gain * synced - chance
        return np.asarray([_log_sum(each) for each in ratios]) - log(len(_STRENGTHS))

    def read(self, place: _Place) -> tuple[int, float]:
        """The likeliest run id, and how likely it is the right one."""
        phases = _mean_phases(self._boxes(place, _STAGES[-1].frames))
        synced = phases[sync()]
        gain = max(0.0, float(np.real(np.sum(synced * self._sync)))) / max(
            1e-12, float(np.sum(np.abs(synced) ** 2)) / 2
        )
        run_id, certainty = 0, 1.0
        for symbol, waves in enumerate(by_symbol()):
            scores = _symbol_scores(self._key, symbol, phases[waves])
            value = int(scores.argmax())
            run_id |= value << (SYMBOL_BITS * symbol)
            certainty /= float(np.sum(np.exp(gain * (scores - scores[value]))))
        return run_id, certainty

    def _boxes(self, place: _Place, most_frames: int, margin_px: int = 0) -> Array:
        """float32 (F, HEIGHT, WIDTH), and `margin_px` more on each side."""
        count = len(self._lumas)
        chosen = np.linspace(0, count - 1, min(most_frames, count)).round().astype(int)
        matrix = place.matrix + np.array([[0, 0, margin_px], [0, 0, margin_px]])
        size = (WIDTH + 2 * margin_px, HEIGHT + 2 * margin_px)
        return np.stack([cv2.warpAffine(self._lumas[index], matrix, size) for index in chosen])


def _mean_phases(boxes: Array) -> Array:
    """complex64 (N,): the mean over the frames of where between two places of the lattice each coefficient is.

    Its length is the root of the mean's: a wave that trembles says little, but not as little as that.
    """
    turns = coefficients(boxes) * np.float32(2 * np.pi / SPACING)
    mean = np.mean(np.cos(turns), axis=0) + np.complex64(1j) * np.mean(np.sin(turns), axis=0)
    return np.asarray(mean / np.sqrt(np.maximum(np.abs(mean), 1e-6)))


def _log_i0(values: Array) -> Array:
    """The logarithm of the modified Bessel function of the first kind and order 0, of values 0..10."""
    places, table = _log_i0_table()
    return np.interp(values, places, table)


@lru_cache(maxsize=1)
def _log_i0_table() -> tuple[Array, Array]:
    places = np.linspace(0, 10, 4001)
    return places, np.log(np.i0(places))


def _symbol_scores(key: bytes, symbol: int, phases: Array) -> Array:
    """How well each value of a symbol fits, float64 (65536,)."""
    scores = np.empty(1 << SYMBOL_BITS)
    step = 1 << 12  # all at once would need a lot of memory
    for first in range(0, len(scores), step):
        dithers = np.stack([symbol_dither(key, symbol, value) for value in range(first, first + step)])
        turns = np.float32(2 * np.pi) * dithers
        scores[first : first + step] = np.cos(turns) @ phases.real + np.sin(turns) @ phases.imag
    return scores


def _log_sum(values: Array) -> float:
    top = float(values.max())
    return float(np.log(np.sum(np.exp(values - top)))) + top

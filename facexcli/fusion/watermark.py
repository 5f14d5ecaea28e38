"""An invisible mark in the luma of a face that says which run made it, and the search for it. Pure functions.

The face is looked at in a small grid that is aligned to its landmarks, so the mark moves with the face, whatever
happens to the frame. There a lapped cosine transform (Princen and Bradley 1986) gives some hundred local waves. The key
draws a number 0..1 for each of them, the dither; the mark moves the wave's coefficient towards the nearest of the
places SPACING * (n + dither), with n any integer: dither modulation (Chen and Wornell, "Quantization index modulation",
IEEE Trans. Information Theory 47, 2001). What the face itself is does so not drown the mark, as it does in a spread
spectrum. In the middle between two places the push falls to nothing: it has no leaps, so that a mark does not flicker
where a face moves a little.

Two of three waves have the same dither in every run and say that there is a mark. The others say the 32 bits of the
run's id, as two symbols of 16 bits, each with a dither of its own for every value: at little signal that is worth far
more than a wave for each bit.

The dithers are drawn by the key alone. So for a picture that knows nothing of the key the phases that are added up are
uniform and independent, whatever is in the picture; E exp(t cos) = I0(t) makes the likelihood ratio below have a mean
of 1, and it exceeds 10**n with a chance of at most 10**-n (Markov's inequality).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import log

import cv2
import numpy as np

from facexcli.affine import crop_box, resample, shift
from facexcli.types import Array

GRID_PX = 128
"""Side of the grid that the face is looked at in: the FFHQ template at this size."""
PUBLIC_KEY = b"facex public watermark"
"""Everybody's key: anybody can find the mark, and whoever sets out to remove it can."""
FOUND_LOG10 = 4.0
"""At least so unlikely (a chance of 10**-4) that an unmarked file looks marked."""
READ_CERTAINTY = 0.95
"""A run id that is less certain is not told."""
_VERSION = b"facex watermark 2"
_SYMBOLS, _SYMBOL_BITS = 2, 16
_SYNC_SHARE = 0.62
_LEFT, _TOP, _WIDTH, _HEIGHT = 24, 24, 80, 96
"""The face in the grid."""
_BOX_PX = (_WIDTH, _HEIGHT)
_HOP = 12
"""Half the side of a wave's window."""
_BAND = (0.06, 0.19)
"""Cycles a grid pixel: below is the light on the face, above is what a coarse encoding takes away."""
_COVERED = 0.8
"""So much of a wave's window lies in the face."""
_SPACING = 50.0
"""Codes of 255, for a wave of unit length."""
_PUSH, _TURN = 0.62, 0.4
"""The part of its way that a coefficient is pushed; less and less, beyond this part of the spacing."""
_RMS = 1.95
"""Codes of 255: the mark's root mean square over the painted face, at most."""
_PLAIN, _MOST = 8.0, 20.0
"""Codes of 255: the local contrast of plain skin, for the mark's strength, and from where on more hides no more."""
_PAINTED = 0.5
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


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


def make_dither(key: bytes, run_id: int) -> Array:
    """The mark of a run (32 bits): where each wave's coefficient belongs, float32 (N,) in 0..1."""
    dither = np.empty(len(_waves().rows), np.float32)
    dither[_sync()] = _sync_dither(key)
    for symbol, waves in enumerate(_by_symbol()):
        value = run_id >> (_SYMBOL_BITS * symbol) & (1 << _SYMBOL_BITS) - 1
        dither[waves] = _symbol_dither(key, symbol, value)
    return dither


def add_mark(rgb: Array, alpha: Array, under: Array, grid_from_crop: Array, dither: Array) -> None:
    """Put the mark into the luma of `rgb`, in place. Nothing changes where `alpha` is 0.

    Args:
        rgb: float32 (S, S, 3) in 0..1.
        alpha: float32 (S, S), where it will be painted.
        under: uint8 (S, S, 3), what it will be painted over.
        grid_from_crop: float64 (3, 3), to the grid that is aligned to the face.
        dither: of `make_dither`.
    """
    box_from_crop = shift(-_LEFT, -_TOP) @ grid_from_crop
    share = resample(alpha, box_from_crop, _BOX_PX, smooth=False)
    painted = share > _PAINTED
    if not painted.any():
        return
    above, below = (resample(each, box_from_crop, _BOX_PX, smooth=False) for each in (rgb, under))
    seen: Array = share * cv2.transform(above, 255 * _LUMA[None])
    seen += (1 - share) * cv2.transform(below.astype(np.float32), _LUMA[None])
    wanted = _push(dither - _coefficients(seen) / _SPACING)
    hidden = _hidden(seen)
    delta = hidden * _picture(wanted)
    # Where the face is plain, or painted in part, its neighbours make up for what is missing.
    delta += hidden * _picture(wanted - _coefficients(delta * share))
    rms = float(np.sqrt(np.mean((delta * share)[painted] ** 2)))
    delta *= np.float32(min(1.0, _RMS / max(rms, 1e-6)) / 255)
    x0, y0, x1, y1 = crop_box(box_from_crop, _BOX_PX, (rgb.shape[1], rgb.shape[0]))
    framed = cv2.copyMakeBorder(delta, 1, 1, 1, 1, cv2.BORDER_CONSTANT)  # what is replicated beyond it is nothing
    added = resample(framed, np.linalg.inv(shift(1, 1) @ box_from_crop @ shift(x0, y0)), (x1 - x0, y1 - y0))
    added *= alpha[y0:y1, x0:x1] > 0
    part = rgb[y0:y1, x0:x1]
    np.clip(cv2.add(part, cv2.merge([added, added, added])), 0, 1, out=part)


def _push(turns: Array) -> Array:
    """By how much coefficients are pushed that are so many spacings from places of their lattice."""
    way = turns - np.round(turns)
    slowed = np.minimum(np.abs(way), _TURN * (0.5 - np.abs(way)) / (0.5 - _TURN))
    return np.asarray(_PUSH * _SPACING * np.sign(way) * slowed)


def _hidden(luma: Array) -> Array:
    """How well a place hides a mark, float32 of mean 1: what is restless hides more than plain skin."""
    rough = luma - cv2.GaussianBlur(luma, (0, 0), 2.0)
    contrast = np.sqrt(cv2.GaussianBlur(rough * rough, (0, 0), 3.0))
    strength = np.minimum(_PLAIN + contrast, _MOST)
    return np.asarray(strength / strength.mean())


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
        turned = cv2.getRotationMatrix2D((_LEFT + _WIDTH / 2, _TOP + _HEIGHT / 2), self.turn_deg, self.scale)
        return np.asarray(turned + np.array([[0, 0, self.x_px - _LEFT], [0, 0, self.y_px - _TOP]]))


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
        self._sync = np.exp(-2j * np.pi * _sync_dither(key)).astype(np.complex64)

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
                large[:, _REACH_PX - row : _REACH_PX - row + _HEIGHT, _REACH_PX - column : _REACH_PX - column + _WIDTH]
                for column, row in shifts
            ]
            ratios = self._log_ratios(np.stack([_mean_phases(each)[_sync()] for each in boxes]))
            places = [_Place(column + x, row + y, scale, turn_deg) for column, row in shifts]
            found |= zip(places, ratios.tolist(), strict=True)
        return found

    def log_ratio(self, place: _Place, most_frames: int) -> float:
        """The logarithm of how much likelier a marked face gives these phases than any other."""
        phases = _mean_phases(self._boxes(place, most_frames))
        return float(self._log_ratios(phases[None, _sync()])[0])

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
        synced = phases[_sync()]
        gain = max(0.0, float(np.real(np.sum(synced * self._sync)))) / max(
            1e-12, float(np.sum(np.abs(synced) ** 2)) / 2
        )
        run_id, certainty = 0, 1.0
        for symbol, waves in enumerate(_by_symbol()):
            scores = _symbol_scores(self._key, symbol, phases[waves])
            value = int(scores.argmax())
            run_id |= value << (_SYMBOL_BITS * symbol)
            certainty /= float(np.sum(np.exp(gain * (scores - scores[value]))))
        return run_id, certainty

    def _boxes(self, place: _Place, most_frames: int, margin_px: int = 0) -> Array:
        """float32 (F, _HEIGHT, _WIDTH), and `margin_px` more on each side."""
        count = len(self._lumas)
        chosen = np.linspace(0, count - 1, min(most_frames, count)).round().astype(int)
        matrix = place.matrix + np.array([[0, 0, margin_px], [0, 0, margin_px]])
        size = (_WIDTH + 2 * margin_px, _HEIGHT + 2 * margin_px)
        return np.stack([cv2.warpAffine(self._lumas[index], matrix, size) for index in chosen])


def _mean_phases(boxes: Array) -> Array:
    """complex64 (N,): the mean over the frames of where between two places of the lattice each coefficient is.

    Its length is the root of the mean's: a wave that trembles says little, but not as little as that.
    """
    turns = _coefficients(boxes) * np.float32(2 * np.pi / _SPACING)
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
    scores = np.empty(1 << _SYMBOL_BITS)
    step = 1 << 12  # all at once would need a lot of memory
    for first in range(0, len(scores), step):
        dithers = np.stack([_symbol_dither(key, symbol, value) for value in range(first, first + step)])
        turns = np.float32(2 * np.pi) * dithers
        scores[first : first + step] = np.cos(turns) @ phases.real + np.sin(turns) @ phases.imag
    return scores


def _log_sum(values: Array) -> float:
    top = float(values.max())
    return float(np.log(np.sum(np.exp(values - top)))) + top


def _coefficients(boxes: Array) -> Array:
    """How much of each wave there is in (..., _HEIGHT, _WIDTH): float32 (..., N)."""
    waves = _waves()
    return np.asarray((waves.down @ boxes @ waves.across.T)[..., waves.rows, waves.columns])


def _picture(coefficients: Array) -> Array:
    """The waves added up: float32 (_HEIGHT, _WIDTH)."""
    waves = _waves()
    table = np.zeros((len(waves.down), len(waves.across)), np.float32)
    table[waves.rows, waves.columns] = coefficients
    return np.asarray(waves.down.T @ table @ waves.across)


@dataclass(frozen=True, slots=True, eq=False)
class _Waves:
    """Orthogonal waves of unit length: wave i is the outer product of down[rows[i]] and across[columns[i]]."""

    down: Array
    across: Array
    rows: Array
    columns: Array


@lru_cache(maxsize=1)
def _waves() -> _Waves:
    """Those in the band whose windows lie in the face."""
    face = np.zeros((_HEIGHT, _WIDTH), np.float32)
    cv2.ellipse(face, (_WIDTH // 2, _HEIGHT // 2 + 2), (_WIDTH // 2 - 6, _HEIGHT // 2 - 6), 0, 0, 360, 1.0, -1)
    down, down_hz, down_window = _lapped(_HEIGHT)
    across, across_hz, across_window = _lapped(_WIDTH)
    covered = down_window @ face @ across_window.T / _HOP**2
    frequency = np.hypot(down_hz[:, None], across_hz)
    rows, columns = np.nonzero((covered >= _COVERED) & (frequency >= _BAND[0]) & (frequency < _BAND[1]))
    used_rows, rows = np.unique(rows, return_inverse=True)
    used_columns, columns = np.unique(columns, return_inverse=True)
    return _Waves(down[used_rows].astype(np.float32), across[used_columns].astype(np.float32), rows, columns)


def _lapped(length: int) -> tuple[Array, Array, Array]:
    """The modified discrete cosine transform of a line: waves (K, length), cycles a pixel (K,), windows (K, length)."""
    orders = np.arange(int(2 * _HOP * _BAND[1]) + 1)
    starts = np.arange(-_HOP, length, _HOP)
    place = np.arange(length) - starts[:, None, None] + 0.5
    within = (place > 0) & (place < 2 * _HOP)
    window = np.where(within, np.sin(np.pi * place / (2 * _HOP)), 0.0)
    waves = np.sqrt(2 / _HOP) * window * np.cos(np.pi / _HOP * (place + _HOP / 2) * (orders[:, None] + 0.5))
    frequency = np.tile((orders + 0.5) / (2 * _HOP), len(starts))
    power = np.repeat((window**2)[:, 0], len(orders), axis=0)
    return waves.reshape(-1, length), frequency, power


@lru_cache(maxsize=1)
def _by_symbol() -> tuple[Array, ...]:
    """The waves that carry each symbol, as many for each; by chance, so that each is everywhere in the face."""
    count = len(_waves().rows)
    drawn = np.frombuffer(hashlib.shake_256(_VERSION + b" roles").digest(4 * count), "<u4")
    each = int(count * (1 - _SYNC_SHARE)) // _SYMBOLS
    return tuple(np.sort(np.argsort(drawn, kind="stable")[: each * _SYMBOLS].reshape(_SYMBOLS, each)))


@lru_cache(maxsize=1)
def _sync() -> Array:
    """The waves that are the same in every run."""
    return np.setdiff1d(np.arange(len(_waves().rows)), np.concatenate(_by_symbol()))


@lru_cache(maxsize=4)
def _sync_dither(key: bytes) -> Array:
    """float32 (waves,) in 0..1."""
    return _drawn(b" sync\0" + key, len(_sync()))


def _symbol_dither(key: bytes, symbol: int, value: int) -> Array:
    """float32 (waves,) in 0..1."""
    return _drawn(b" %d %d\0" % (symbol, value) + key, len(_by_symbol()[symbol]))


def _drawn(seed: bytes, count: int) -> Array:
    drawn = np.frombuffer(hashlib.shake_256(_VERSION + seed).digest(2 * count), "<u2")
    return (drawn.astype(np.float32) + np.float32(0.5)) / np.float32(65536)

"""Timelines as SVG that stretches with the page: curves, limits, cuts, and what is doubtful."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from typing import TYPE_CHECKING, Any

import numpy as np

from facexcli.evaluate.report.markup import Markup, element

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.types import Array

MOST_POINTS = 480
_WIDTH = 1000
_HEIGHT_PX = 112
_AXIS_PX = 26
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
_MOST_LINES = 5
_GAP = 2.5
"""A curve is broken where values are farther apart than so many times their usual distance."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a plot. style: the class that gives colour and dashes. values: (N,), NaN for nothing."""

    label: str
    style: str
    values: Array


@dataclass(frozen=True, slots=True)
class Mark:
    """A part of the time axis that leads to an element of the page. start and stop: 0..1."""

    start: float
    stop: float
    href: str
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """What all plots of one timeline share.

    places: (N,) of all values, 0..1 and ascending. cuts: 0..1. ticks: (place, words). spans, samples: what is marked.
    """

    places: Array
    ticks: Sequence[tuple[float, str]]
    cuts: Sequence[float] = ()
    spans: Sequence[Mark] = ()
    samples: Sequence[Mark] = ()


@dataclass(frozen=True, slots=True)
class Plot:
    """Curves over one axis.

    low, high: what the value axis shows at least. limit: a line that should not be crossed, and its words.
    digits: of the values that are told. is_log: values above 0 on a logarithmic scale.
    """

    title: str
    unit: str
    curves: Sequence[Curve]
    low: float
    high: float
    digits: int = 2
    limit: tuple[float, str] | None = None
    is_log: bool = False


def reduced(places: Array, most: int = MOST_POINTS) -> tuple[Array, Array]:
    """Neighbours among `places` (N,) joined to at most `most` groups, all of the same width, so that gaps stay gaps.

    Returns where each group begins, int64 (M,), and its mean place, float64 (M,).
    """
    if len(places) <= most:
        return np.arange(len(places)), np.asarray(places, np.float64)
    group = np.floor(np.clip(places, 0, 1 - 1e-9) * most).astype(np.int64)
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    return starts, np.add.reduceat(places, starts) / np.diff(starts, append=len(places))


def draw(plot: Plot, axis: Axis, number: int) -> tuple[Markup, dict[str, Any]]:
    """A figure, and what a script needs to tell the values under the pointer: {"series": values, "digits"}."""
    starts, places = reduced(axis.places)
    ranges = [_ranges(curve.values, starts) for curve in plot.curves]
    scale = _Scale.of(plot)
    title = f"plot-{number}"
    figure = element(
        "figure",
        element(
            "figcaption",
            element("span", plot.title, class_="title", id=title),
            element("span", plot.unit, class_="unit"),
            element("ul", (_legend(curve) for curve in plot.curves), class_="legend"),
        ),
        element(
            "svg",
            [_shade(mark) for mark in axis.spans],
            [_grid_line(scale, value) for value in scale.ticks],
            [_line(place, "cut") for place in axis.cuts],
            _limit(plot, scale),
            element(
                "svg",
                [
                    element("path", class_=curve.style, d=_path(places, low, high, scale, axis.cuts))
                    for curve, (low, _, high) in zip(plot.curves, ranges, strict=True)
                ],
                viewBox=f"0 0 {_WIDTH} {_HEIGHT_PX}", preserveAspectRatio="none", width="100%", height=_HEIGHT_PX,
            ),
            [_grid_label(scale, value) for value in scale.ticks],
            [_tick(place, words, order % 2 > 0) for order, (place, words) in enumerate(axis.ticks)],
            [_sample(mark) for mark in axis.samples],
            element("line", class_="cursor", y1=0, y2=_HEIGHT_PX, x1=0, x2=0),
            height=_HEIGHT_PX + _AXIS_PX,
            role="img",
            aria_label=_in_words(plot),
        ),
        class_="plot", data_plot=number, tabindex=0, role="group", aria_labelledby=title,
    )  # fmt: skip
    series = [[_rounded(value) for value in means.tolist()] for _, means, _ in ranges]
    return figure, {"series": series, "digits": plot.digits}


def frames_and_times(frames: Array, times_s: Array, places: Array) -> dict[str, Any]:
    """What a script needs to tell where the pointer is: the places of `draw`, their frames and times."""
    starts, joined_places = reduced(places)
    return {
        "x": [round(place, 5) for place in joined_places.tolist()],
        "f": frames[starts].tolist(),
        "t": [round(time, 3) for time in times_s[starts].tolist()],
    }


def time_ticks(duration_s: float) -> list[tuple[float, str]]:
    """(place, time) at round times, about six of them."""
    if duration_s <= 0:
        return []
    step = next((step for step in _STEPS_S if duration_s / step <= 6), float(ceil(duration_s / 6)))
    times_s = [index * step for index in range(int(duration_s / step + 1e-6) + 1)]
    return [(time_s / duration_s, clock(time_s, decimals=1 if step < 1 else 0)) for time_s in times_s]


def clock(time_s: float, decimals: int = 2) -> str:
    """0:03.48, or 1:02:03 where hours are needed."""
    units = round(max(time_s, 0.0) * 10**decimals)
    minutes, rest = divmod(units, 60 * 10**decimals)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest / 10**decimals:0{3 + decimals if decimals else 2}.{decimals}f}"
    return f"{hours}:{minutes:02}:{seconds}" if hours else f"{minutes}:{seconds}"


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    ticks: tuple[float, ...]
    is_log: bool

    @classmethod
    def of(cls, plot: Plot) -> _Scale:
        known = np.concatenate([[plot.low, plot.high], *(curve.values for curve in plot.curves)])
        known = known[np.isfinite(known) & ((known > 0) | (not plot.is_log))]
        low, high = float(known.min()), float(known.max())
        if plot.is_log:
            decades = range(floor(log10(low)), ceil(log10(high)) + 1)
            return cls(10.0 ** decades[0], 10.0 ** decades[-1], tuple(10.0**decade for decade in decades), True)
        step = _round_step((high - low) / _MOST_LINES)
        first, last = floor(low / step + 1e-6), ceil(high / step - 1e-6)
        return cls(first * step, last * step, tuple(index * step for index in range(first, last + 1)), False)

    def y(self, value: float) -> float:
        """Pixels from the top; beyond the scale for values beyond it."""
        if self.is_log:
            value = log10(max(value, self.low))
        low, high = (log10(edge) if self.is_log else edge for edge in (self.low, self.high))
        return _HEIGHT_PX * (high - value) / (high - low)


def _round_step(wanted: float) -> float:
    """The least of 1, 2, 5 times a power of ten that is not below `wanted`."""
    power = 10.0 ** floor(log10(wanted))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= wanted * (1 - 1e-9)))


def _ranges(values: Array, starts: Array) -> tuple[Array, Array, Array]:
    """The least, the mean and the greatest value of each group, (M,) each; NaN where it has none."""
    if not len(starts):
        return np.array([]), np.array([]), np.array([])
    known = np.isfinite(values)
    clean = np.where(known, values, np.nan).astype(np.float64)
    counts = np.add.reduceat(known.astype(np.int64), starts)
    sums = np.add.reduceat(np.where(known, clean, 0.0), starts)
    means = np.divide(sums, counts, out=np.full(len(starts), np.nan), where=counts > 0)
    return np.fmin.reduceat(clean, starts), means, np.fmax.reduceat(clean, starts)


def _path(places: Array, low: Array, high: Array, scale: _Scale, cuts: Sequence[float]) -> str:
    """SVG path data: a line through what is known, from the least to the greatest value where values were joined."""
    known = np.flatnonzero(np.isfinite(low))
    x = places[known]
    steps = np.diff(x)
    usual = float(np.median(steps)) if len(steps) else 0.0
    shots = np.searchsorted(np.asarray(cuts, np.float64), x, side="right")
    begins = [True, *((steps > _GAP * usual) | (np.diff(shots) > 0)).tolist()]
    parts = []
    for row, place, is_first in zip(known, x, begins, strict=False):
        at = f"{_WIDTH * place:.1f} {scale.y(float(low[row])):.1f}"
        parts.append(f"M{at}h.01" if is_first else f"L{at}")
        if high[row] > low[row]:
            parts.append(f"V{scale.y(float(high[row])):.1f}")
    return "".join(parts)


def _legend(curve: Curve) -> Markup:
    return element("li", element("span", curve.label), " ", element("output"), class_=curve.style)


def _shade(mark: Mark) -> Markup:
    shape = element("rect", element("title", mark.label), x=_percent(mark.start),
                    width=_percent(mark.stop - mark.start), y=0, height=_HEIGHT_PX, class_="doubt")  # fmt: skip
    return element("a", shape, href=mark.href, tabindex=-1)


def _sample(mark: Mark) -> Markup:
    shape = element("path", element("title", mark.label), d="M0 1l5 7h-10z", class_="sample")
    moved = element("svg", shape, x=_percent(mark.start), y=_HEIGHT_PX, overflow="visible")
    return element("a", moved, href=mark.href, tabindex=-1)


def _limit(plot: Plot, scale: _Scale) -> Markup | None:
    if plot.limit is None or not scale.low <= plot.limit[0] <= scale.high:
        return None
    value, words = plot.limit
    y = scale.y(value)
    line = element("line", x1=0, x2="100%", y1=f"{y:.1f}", y2=f"{y:.1f}")
    below = 12 if y < 14 else -4
    text = element("text", words, x="100%", y=f"{y:.1f}", dx=-4, dy=below, text_anchor="end")
    return element("g", line, text, class_="limit")


def _grid_line(scale: _Scale, value: float) -> Markup:
    y = f"{scale.y(value):.1f}"
    return element("line", x1=0, x2="100%", y1=y, y2=y, class_="grid")


def _grid_label(scale: _Scale, value: float) -> Markup:
    """In the margin, left of its line."""
    y = f"{scale.y(value):.1f}"
    return element("text", f"{value + 0.0:g}", x=-6, y=y, dy="0.35em", text_anchor="end")


def _line(place: float, style: str) -> Markup:
    return element("line", x1=_percent(place), x2=_percent(place), y1=0, y2=_HEIGHT_PX, class_=style)


def _tick(place: float, words: str, may_be_left_out: bool) -> Markup:
    style = "spare" if may_be_left_out else None
    anchor = "start" if place < 0.03 else "end" if place > 0.97 else "middle"
    return element("text", words, x=_percent(place), y=_HEIGHT_PX + 21, text_anchor=anchor, class_=style)


def _in_words(plot: Plot) -> str:
    """What somebody hears who does not see the curves."""
    told = []
    for curve in plot.curves:
        known = curve.values[np.isfinite(curve.values)]
        if len(known):
            values = (f"{value:.{plot.digits}f}" for value in (known.mean(), known.min(), known.max()))
            told.append("{}: mean {}, from {} to {}".format(curve.label, *values))
    return f"{plot.title}, {plot.unit}. {'; '.join(told)}"


def _rounded(value: float) -> float | None:
    return float(f"{value:.4g}") if isfinite(value) else None


def _percent(share: float) -> str:
    return f"{100 * share:.3f}%"

"""The figures at the head of a report, and what they should be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isinf
from typing import TYPE_CHECKING, Literal

from facexcli.evaluate.metrics.identity import SAME_PERSON_DISTANCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facexcli.evaluate.values import Metric

State = Literal["met", "missed", "open"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a metric should be. digits: shown after the point; a share is shown in per cent. limit: None for no target.

    The limits are the project's own: on at least 99 of 100 frames with a visible face the swap and the right identity,
    flicker at most 1.1 times the input's, a standard deviation of the distance of at most 0.04.
    """

    metric: str
    label: str
    meaning: str
    limit: float | None = None
    digits: int = 2


TARGETS = (
    Target("swap_rate", "Frames swapped", "of those that show the face", 0.99, 1),
    Target("nearer_to_source", "Right identity", "of the judged frames", 0.99, 1),
    Target("identity_distance", "Distance to the source", "below 0.6: the same person", SAME_PERSON_DISTANCE, 3),
    Target("distance_steadiness", "Identity drift", "standard deviation of the distance", 0.04, 3),
    Target("flicker_ratio", "Flicker", "times the input's own", 1.1),
    Target("pose_motion_error", "Head pose off by", "mean, from the clip's own median"),
    Target("expression_error", "Expression off by", "mean, of the eyes' distance", None, 1),
    Target("mouth_correlation", "Mouth in step", "correlation with the input's"),
    Target("untouched_psnr", "Outside the face", "what was not to be touched, after encoding", None, 1),
)
_PERCENT = frozenset(("swap_rate", "nearer_to_source", "expression_error"))
_UNITS = {"pose_motion_error": "\N{DEGREE SIGN}", "untouched_psnr": "\N{NO-BREAK SPACE}dB"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A figure in words. state: whether its target is met, or open where it has none."""

    label: str
    value: str
    meaning: str
    target: str
    state: State


def verdicts(metrics: Mapping[str, Metric]) -> list[Verdict]:
    """One for each target whose metric was measured, in the order of `TARGETS`."""
    return [_verdict(target, metrics[target.metric]) for target in TARGETS if target.metric in metrics]


def _verdict(target: Target, metric: Metric) -> Verdict:
    if target.limit is None:
        return Verdict(target.label, _shown(target, metric.value), target.meaning, "", "open")
    is_met = metric.value >= target.limit if metric.better == "higher" else metric.value <= target.limit
    shown = _shown(target, metric.value)
    if not is_met and shown == _shown(target, target.limit):  # rounded, it would look as if it were met
        shown = _shown(replace(target, digits=target.digits + 2), metric.value)
    sign = "\N{GREATER-THAN OR EQUAL TO}" if metric.better == "higher" else "\N{LESS-THAN OR EQUAL TO}"
    wanted = f"{100 * target.limit:g}\N{NO-BREAK SPACE}%" if target.metric in _PERCENT else f"{target.limit:g}"
    return Verdict(
        target.label, shown, target.meaning, f"{sign}\N{NO-BREAK SPACE}{wanted}", "met" if is_met else "missed"
    )


def _shown(target: Target, value: float) -> str:
    if isinf(value):
        return "identical"
    if target.metric in _PERCENT:
        return f"{100 * value:.{target.digits}f}\N{NO-BREAK SPACE}%"
    return f"{value:.{target.digits}f}{_UNITS.get(target.metric, '')}"

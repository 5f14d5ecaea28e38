"""Frames that somebody should look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facexcli.evaluate.values import DoubtfulFrame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facexcli.evaluate.accounts import Account
    from facexcli.evaluate.sightings import Subject
    from facexcli.evaluate.values import PersonSeries
    from facexcli.types import Array, Box

LIMITS = {"pose_motion_error_deg": 8.0, "expression_error": 0.06}
_SAID = {
    "pose_motion_error_deg": "the head is turned {:.0f} degrees from where it should be",
    "expression_error": "the expression is off by {:.0%} of the eyes' distance",
}
_FLICKERS = (("flicker", 1.6, 2.0), ("broad_flicker", 2.0, 1.5))
"""(series, how many times the input's own, and how many code values more): beyond that a viewer would see it."""
_OUTLIER = 6.0
"""Deviations from the median, in median absolute deviations scaled to a normal distribution's sigma."""


def doubtful_frames(account: Account, series: PersonSeries, is_swap: bool) -> Iterator[DoubtfulFrame]:
    """One for each frame with something that is far from what is usual for this person, with all its reasons."""
    reference = account.subject.reference
    may_be_unchanged = is_swap and not account.is_own_face
    outliers = {key: _outliers(series.values[key], limit) for key, limit in LIMITS.items() if key in series.values}
    for row, (frame, time_s) in enumerate(zip(series.frame_indices, series.time_s, strict=True)):
        reasons = []
        if reference.seen[row] and not account.subject.seen[row]:
            reasons.append("no face found in the result")
        if may_be_unchanged and reference.seen[row] and not account.changed[row]:
            reasons.append("the face is not changed")
        for key, rows in outliers.items():
            if rows[row]:
                reasons.append(_SAID[key].format(series.values[key][row]))
        reasons += [] if account.is_own_face else _identity_reasons(series, row)
        reasons += _flicker_reasons(series, row)
        if reasons:
            yield DoubtfulFrame(
                int(frame), float(time_s), series.person, "; ".join(reasons), _box_of(account.subject, row, is_swap)
            )


def _box_of(subject: Subject, row: int, is_swap: bool) -> Box | None:
    """Where to look: the face as found, or in a swap where the canvas has it."""
    points = subject.found_px[row]
    if not np.isfinite(points).all():
        if not is_swap:
            return None
        points = subject.reference.landmarks_px[row]
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x0, y0, x1, y1


def _identity_reasons(series: PersonSeries, row: int) -> list[str]:
    if not {"identity_distance", "canvas_distance"} <= series.values.keys():
        return []
    source, canvas = (float(series.values[key][row]) for key in ("identity_distance", "canvas_distance"))
    return [f"nearer to the canvas's own face ({canvas:.2f}) than to the source ({source:.2f})"] * (canvas < source)


def _flicker_reasons(series: PersonSeries, row: int) -> list[str]:
    for key, factor, codes in _FLICKERS:
        if {key, f"{key}_reference"} <= series.values.keys():
            result, reference = (float(series.values[name][row]) for name in (key, f"{key}_reference"))
            if result > factor * reference + codes:
                return ["the face flickers"]
    return []


def _outliers(values: Array, limit: float) -> Array:
    """bool (N,): beyond `limit`, and far from what is usual in the series. NaN is no outlier."""
    known = values[np.isfinite(values)]
    if not len(known):
        return np.zeros(len(values), bool)
    middle = float(np.median(known))
    sigma = 1.4826 * float(np.median(np.abs(known - middle)))
    return np.asarray(values > max(limit, middle + _OUTLIER * sigma))

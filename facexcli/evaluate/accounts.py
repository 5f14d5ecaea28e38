"""The people of an evaluation, each with everything that was measured on them, and how their figures are pooled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facexcli.evaluate.measures import pearson
from facexcli.evaluate.metrics.change import NOISE_FACTOR
from facexcli.evaluate.metrics.motion import ANGLES, motion_series
from facexcli.evaluate.values import PersonSeries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facexcli.evaluate.metrics.identity import Gallery, Portrayal
    from facexcli.evaluate.sightings import Subject
    from facexcli.evaluate.walk import Walked
    from facexcli.types import Array, MediaInfo

_LEAST_CHANGE_CODES = 0.75
_EDITED_SHARE = 0.05
_SELF_DISTANCE = 0.5
_SERIES_KEYS = (
    "identity_similarity", "identity_distance", "canvas_distance", "pose_error_deg", "pose_motion_error_deg",
    "expression_error", "flicker", "flicker_reference", "broad_flicker", "broad_flicker_reference", "strength",
    "changed", *ANGLES, *(f"{angle}_reference" for angle in ANGLES),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Claim:
    """Who a face of the result should be, and what the gallery calls that person (None without a gallery)."""

    source: Portrayal
    label: str | None


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that the two passes found. `is_chosen`: the user said who was edited."""

    info: MediaInfo
    reference: MediaInfo
    subjects: Sequence[Subject]
    claims: Sequence[Claim]
    walked: Walked
    gallery: Gallery | None
    is_swap: bool
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Account:
    """One person. values: float64 (N,) each, over the rows of the subject's reference, NaN where not measured.

    changed: bool (N,), whether the face in the result is another than in the canvas; all True in a reenactment.
    """

    number: int
    subject: Subject
    claim: Claim
    values: Mapping[str, Array]
    changed: Array

    @property
    def is_own_face(self) -> bool:
        """Whether the source seems to be the person whom the canvas shows."""
        distances = finite(self.values.get("source_canvas_distance", np.array([])))
        return len(distances) > 0 and float(np.median(distances)) < _SELF_DISTANCE

    def series(self, times_s: Array) -> PersonSeries:
        """What is shown of a person. times_s: float64 (T,), of the frames of the result."""
        reference = self.subject.reference
        shown = reference.frames < len(times_s)  # a reenactment ends with the shorter of two videos
        frames = reference.frames[shown]
        values = {key: self.values[key][shown].astype(np.float32) for key in _SERIES_KEYS if key in self.values}
        return PersonSeries(reference.name, reference.track_ids, frames, times_s[frames], values)


def account_of(measured: Measured, number: int) -> Account:
    """What is known of the subject with this number."""
    subject, trace = measured.subjects[number], measured.walked.traces[number]
    values = dict(trace.values)
    found = subject.is_found
    if found.any():
        result, reference = (
            landmarks[found] * (float(info.display_aspect_ratio), 1.0)
            for landmarks, info in (
                (subject.found_px, measured.info),
                (subject.reference.landmarks_px, measured.reference),
            )
        )
        for name, part in motion_series(result, reference).items():
            values[name] = np.full(len(found), np.nan)
            values[name][found] = part
    changed = np.ones(len(found), bool)
    if measured.is_swap:
        changed = values["change"] > _change_threshold(values["noise"])
        values["changed"] = np.where(subject.reference.seen, changed, np.nan)
        usual = float(np.median(values["change"][changed])) if changed.any() else float("nan")
        values["strength"] = values["change"] / usual
        values["seam"] = np.where(changed, values["seam"], np.nan)
    return Account(number, subject, measured.claims[number], values, changed)


def _change_threshold(noise: Array) -> float:
    """What a face must differ by to be another: more than the encoder does beside it."""
    known = finite(noise)
    return max(_LEAST_CHANGE_CODES, NOISE_FACTOR * float(np.median(known)) if len(known) else 0.0)


def edited(accounts: Sequence[Account], measured: Measured, warnings: list[str]) -> list[Account]:
    """Those whose face was changed; of the others a warning tells. The main person where nobody was."""
    if not measured.is_swap or measured.is_chosen:
        return list(accounts)
    changed = [account for account in accounts if account.changed.mean() > _EDITED_SHARE]
    if not changed:
        warnings.append(f"{measured.info.path}: no face differs from {measured.reference.path}; judged as it is")
        return [accounts[0]]
    kept = [account.subject.reference.name for account in accounts if account not in changed]
    if kept:
        warnings.append(f"not changed, and not judged: {', '.join(kept)}")
    return changed


def finite(values: Array) -> Array:
    """Without NaN and infinity."""
    return np.asarray(values)[np.isfinite(values)]


def pooled(accounts: Sequence[Account], key: str) -> Array:
    """The measured values of everybody, float64 (M,)."""
    return np.concatenate([np.array([]), *(finite(a.values[key]) for a in accounts if key in a.values)])


def mean(accounts: Sequence[Account], key: str) -> float | None:
    """Over all people and frames; None where nothing was measured."""
    values = pooled(accounts, key)
    return float(values.mean()) if len(values) else None


def median(accounts: Sequence[Account], key: str) -> float | None:
    """As `mean`."""
    values = pooled(accounts, key)
    return float(np.median(values)) if len(values) else None


def deviation(accounts: Sequence[Account], key: str) -> float | None:
    """Standard deviation over the frames; of several people the root mean square of theirs."""
    series = [finite(account.values[key]) for account in accounts if key in account.values]
    variances = [float(np.var(values)) for values in series if len(values) > 1]
    return float(np.sqrt(np.mean(variances))) if variances else None


def correlation(accounts: Sequence[Account], key: str) -> float | None:
    """Of result and reference over time, the mean over people; None where nobody moves."""
    found = [pearson(*paired([account], key, f"{key}_reference")) for account in accounts]
    known = [value for value in found if not np.isnan(value)]
    return float(np.mean(known)) if known else None


def paired(accounts: Sequence[Account], key: str, other: str) -> tuple[Array, Array]:
    """Two series of everybody, where both are measured: float64 (M,) each."""
    pairs = [(a.values[key], a.values[other]) for a in accounts if {key, other} <= a.values.keys()]
    both = [np.isfinite(one) & np.isfinite(two) for one, two in pairs]
    nothing = np.array([])
    return (
        np.concatenate([nothing, *(one[rows] for (one, _), rows in zip(pairs, both, strict=True))]),
        np.concatenate([nothing, *(two[rows] for (_, two), rows in zip(pairs, both, strict=True))]),
    )

"""From what was seen and measured frame by frame to figures that a person can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from facexcli.evaluate.accounts import (
    Account,
    Measured,
    account_of,
    correlation,
    deviation,
    edited,
    mean,
    median,
    paired,
    pooled,
)
from facexcli.evaluate.doubts import doubtful_frames
from facexcli.evaluate.metrics.identity import SAME_PERSON_DISTANCE
from facexcli.evaluate.metrics.motion import ANGLES, LEAST_FRAMES
from facexcli.evaluate.metrics.regions import ELSEWHERE
from facexcli.evaluate.values import DoubtfulFrame, Metric, PersonSeries
from facexcli.evaluate.walk import EVERY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facexcli.evaluate.metrics.identity import IdentityJudge
    from facexcli.evaluate.values import Better
    from facexcli.types import Array

_FOREIGN_PSNR_DB = 25.0
_MOVES_DEG = 5.0
_OWN_FACE = "the source is the canvas's own person: one face cannot be told from the other"
_NEVER = {
    "gaze_error": "needs Deep3DFaceRecon or DECA coefficients, which no measure reads yet; 68 points show no iris",
    "lighting_error": "needs Deep3DFaceRecon or DECA coefficients, which no measure reads yet",
    "lpips": "needs torchmetrics with its weights, and a picture of what the result should be",
    "fid": "needs torchmetrics with its weights, and thousands of faces: it compares sets, not one result",
}


@dataclass(frozen=True, slots=True)
class Summary:
    """The parts of an `Evaluation` that are figures."""

    metrics: Mapping[str, Metric]
    missing: Mapping[str, str]
    people: tuple[PersonSeries, ...]
    doubtful: tuple[DoubtfulFrame, ...]
    judge: str
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Sheet:
    """Collects figures; one that could not be measured becomes a reason."""

    metrics: dict[str, Metric] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: float | None, unit: str, better: Better, how: str, otherwise: str) -> None:
        if value is None:
            self.missing[name] = otherwise
        else:
            self.metrics[name] = Metric(value, unit, better, how)


def summarise(measured: Measured, judge: IdentityJudge) -> Summary:
    """Pool the frames of everybody who was edited."""
    warnings: list[str] = []
    accounts = edited([account_of(measured, number) for number in range(len(measured.subjects))], measured, warnings)
    sheet = _Sheet()
    _add_identity(sheet, accounts, measured)
    _add_motion(sheet, accounts, measured)
    _add_steadiness(sheet, accounts, measured)
    if measured.is_swap:
        _add_change(sheet, accounts)
        _add_fidelity(sheet, accounts, measured, warnings)
    else:
        nothing = "a reenactment may change everything around the head: there is nothing to compare with"
        sheet.missing |= dict.fromkeys(("swap_rate", "seam", "untouched_psnr"), nothing)
    if judge.why_not_arcface:
        sheet.missing["arcface_similarity"] = judge.why_not_arcface
    people = tuple(account.series(measured.walked.times_s) for account in accounts)
    doubts = [
        doubt
        for account, series in zip(accounts, people, strict=True)
        for doubt in doubtful_frames(account, series, measured.is_swap)
    ]
    ordered = tuple(sorted(doubts, key=lambda doubt: (doubt.frame_index, doubt.person)))
    missing = {**sheet.missing, **_NEVER}
    return Summary(sheet.metrics, missing, people, ordered, _judge_text(measured, judge), tuple(warnings))


def _judge_text(measured: Measured, judge: IdentityJudge) -> str:
    told = f"similarity by {judge.name}, distance by dlib (one person below {SAME_PERSON_DISTANCE})"
    return f"{told}; {measured.gallery.describe()}" if measured.gallery is not None else told


def _add_identity(sheet: _Sheet, accounts: Sequence[Account], measured: Measured) -> None:
    nobody = "no face of the result could be judged"
    how = f"result and source, every {EVERY}th frame" if _longest(accounts) >= EVERY else "result and source"
    sheet.add("identity_similarity", mean(accounts, "identity_similarity"), "cosine", "higher", how, nobody)
    sheet.add("identity_distance", mean(accounts, "identity_distance"), "dlib", "lower", how, nobody)
    if measured.is_swap:
        how = "result and the canvas's own face"
        sheet.add("canvas_distance", mean(accounts, "canvas_distance"), "dlib", "higher", how, nobody)
        source, canvas = paired(_others_faces(accounts), "identity_distance", "canvas_distance")
        how = "judged frames nearer to the source than to the canvas"
        sheet.add("nearer_to_source", _share(source < canvas), "share", "higher", how, _OWN_FACE)
    if measured.gallery is None:
        sheet.missing["retrieval_top1"] = "give a folder of candidate people with --among"
        return
    for count in (1, 5):
        hits = [
            account.claim.label in measured.gallery.nearest_people(portrayal, count)
            for account in accounts
            for portrayal in measured.walked.portrayals[account.number]
        ]
        how = f"source among the {count} nearest of {len(set(measured.gallery.labels))} people"
        sheet.add(f"retrieval_top{count}", _share(np.array(hits)), "share", "higher", how, nobody)


def _add_motion(sheet: _Sheet, accounts: Sequence[Account], measured: Measured) -> None:
    beside = "result and canvas" if measured.is_swap else "result and driving"
    nobody = "no frame shows the face in both"
    found = np.concatenate([account.subject.seen[account.subject.reference.seen] for account in accounts])
    how = f"frames of the result with a face of those of the {beside.split()[-1]}"
    sheet.add("found_rate", _share(found), "share", "higher", how, nobody)
    sheet.add("pose_error", mean(accounts, "pose_error_deg"), "deg", "lower", f"turn of the head, {beside}", nobody)
    value = mean(accounts, "pose_motion_error_deg") if _longest(accounts) > 1 else None
    how = f"the same from each clip's own median, {beside}"
    sheet.add("pose_motion_error", value, "deg", "lower", how, "one frame shows no motion")
    few = f"fewer than {LEAST_FRAMES} frames do not tell a face from its expression"
    still = mean(accounts, "expression_size") or 0.0
    how = f"offsets from the clip's mean face, {beside}; a face that does not move would have {still:.3f}"
    sheet.add("expression_error", mean(accounts, "expression_error"), "eye dist.", "lower", how, few)
    if measured.is_swap:
        value = mean(accounts, "landmark_error")
        sheet.add("landmark_error", value, "eye dist.", "lower", f"68 points, {beside}", nobody)
    openings = [
        np.abs(np.subtract(*paired(accounts, key, f"{key}_reference"))) for key in ("mouth_opening", "eye_opening")
    ]
    value = float(np.concatenate(openings).mean()) if openings[0].size else None
    how = f"how far mouth and eyes are open, {beside}"
    sheet.add("opening_error", value, "", "lower", how, nobody)
    for name, key in (("mouth", "mouth_opening"), ("eye", "eye_opening")):
        how = f"opening over time, {beside}"
        sheet.add(f"{name}_correlation", correlation(accounts, key), "", "higher", how, "nothing moves")
    for angle in ANGLES:
        turns = np.ptp(pooled(accounts, f"{angle}_reference")) if pooled(accounts, angle).size else 0.0
        value = correlation(accounts, angle) if turns > _MOVES_DEG else None
        how, calm = f"over time, {beside}", f"the head turns less than {_MOVES_DEG:.0f} degrees"
        sheet.add(f"{angle.removesuffix('_deg')}_correlation", value, "", "higher", how, calm)


def _add_steadiness(sheet: _Sheet, accounts: Sequence[Account], measured: Measured) -> None:
    few, how = "needs at least two judged frames", "standard deviation over the frames"
    value = deviation(accounts, "identity_similarity")
    sheet.add("identity_steadiness", value, "cosine", "lower", how, few)
    sheet.add("distance_steadiness", deviation(accounts, "identity_distance"), "dlib", "lower", how, few)
    result, reference = paired(accounts, "flicker", "flicker_reference")
    how = f"change beyond the motion, {'result and canvas' if measured.is_swap else 'result and driving'}"
    difference = float((result - reference).mean()) if len(result) else None
    sheet.add("flicker_difference", difference, "codes", "lower", how, "needs two frames in a row")
    sheet.add("flicker_ratio", _ratio(result, reference), "", "lower", how, "needs two frames in a row")
    broad = paired(accounts, "broad_flicker", "broad_flicker_reference")
    how = "the same without grain: brightness and place"
    sheet.add("broad_flicker_ratio", _ratio(*broad), "", "lower", how, "needs two frames in a row")


def _add_change(sheet: _Sheet, accounts: Sequence[Account]) -> None:
    visible = [account.changed[account.subject.reference.seen] for account in _others_faces(accounts)]
    how = "frames with a changed face of those that show the face"
    rate = _share(np.concatenate(visible)) if visible else None
    sheet.add("swap_rate", rate, "share", "higher", how, _OWN_FACE)
    how = "edge at the rim of the change over the canvas's own edge there"
    sheet.add("seam", median(accounts, "seam"), "", "lower", how, "there is no change with a rim")


def _add_fidelity(sheet: _Sheet, accounts: Sequence[Account], measured: Measured, warnings: list[str]) -> None:
    changed = {account.number for account in accounts}
    others = [number for number in range(len(measured.subjects)) if number not in changed]
    untouched = [ELSEWHERE, *(region for number in others for region in _regions_of(number))]
    _add_region(sheet, "untouched", measured, untouched, "outside the changed faces, result and canvas")
    psnr = sheet.metrics.get("untouched_psnr")
    if psnr is not None and psnr.value < _FOREIGN_PSNR_DB:
        files = f"{measured.info.path} made from {measured.reference.path}"
        warnings.append(f"what was not to be touched differs much ({psnr.value:.1f} dB): was {files}?")
    own = [_regions_of(account.number)[1] for account in accounts if account.is_own_face]
    if own:
        _add_region(sheet, "face", measured, own, "inside the face: the source is the canvas's own person")
    else:
        sheet.missing["face_psnr"] = "what the face should be is known only where the source is the canvas's own person"


def _regions_of(number: int) -> tuple[int, int]:
    """The regions of a subject: around the face, inside the face."""
    return 1 + 2 * number, 2 + 2 * number


def _add_region(sheet: _Sheet, name: str, measured: Measured, regions: Sequence[int], how: str) -> None:
    found = measured.walked.regions.fidelity(regions)
    nowhere = "there is no such place in the picture"
    sheet.add(f"{name}_psnr", found.psnr_db if found else None, "dB", "higher", how, nowhere)
    sheet.add(f"{name}_ssim", found.ssim if found else None, "", "higher", how, nowhere)
    sheet.add(f"{name}_rmse", found.rmse if found else None, "codes", "lower", how, nowhere)


def _others_faces(accounts: Sequence[Account]) -> list[Account]:
    return [account for account in accounts if not account.is_own_face]


def _longest(accounts: Sequence[Account]) -> int:
    return max((len(account.subject.reference.frames) for account in accounts), default=0)


def _share(hits: Array) -> float | None:
    return float(hits.mean()) if len(hits) else None


def _ratio(result: Array, reference: Array) -> float | None:
    """None where nothing was measured, or where only the reference stands still."""
    if not len(result) or (result.sum() and not reference.sum()):
        return None
    return float(result.sum() / reference.sum()) if reference.sum() else 1.0

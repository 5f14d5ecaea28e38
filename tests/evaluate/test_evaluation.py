"""`evaluate` on real swaps, on spoilt ones, and on files that do not belong together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from facexcli.errors import InputError, NoFaceError, UsageError
from facexcli.evaluate.evaluation import Evaluation, evaluate
from facexcli.evaluate.sightings import UNTRACKED, look, match_by_place, sightings
from facexcli.events import SilentReporter
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.media.image import read_image, write_image
from facexcli.media.probe import probe
from tests.heard import Heard

if TYPE_CHECKING:
    from conftest import Swapped, WriteClip

    from facexcli.types import Array
    from tests.conftest import SmallStill

Judge = Callable[[Path], Evaluation]


@pytest.fixture(scope="module")
def judged(swapped: Swapped, portrait: Path) -> Evaluation:
    """The swap as it is: what spoilt copies are compared with."""
    return evaluate(swapped.result, [portrait], swapped.canvas)


@pytest.fixture
def judge(swapped: Swapped, portrait: Path) -> Judge:
    return lambda path: evaluate(path, [portrait], swapped.canvas)


def _value(found: Evaluation, name: str) -> float:
    return found.metrics[name].value


def _spoilt(swapped: Swapped, change: Callable[[int, Array], Array]) -> list[Array]:
    """The swap with the face of each frame changed; what is outside of it stays."""
    return [
        np.where(inside, np.clip(change(index, rgb.astype(np.float32)), 0, 255).round(), rgb).astype(np.uint8)
        for index, (rgb, inside) in enumerate(zip(swapped.after, swapped.inside, strict=True))
    ]


def test_a_swap_is_nearer_to_the_source_and_holds_what_it_should(judged: Evaluation) -> None:
    assert judged.frame_count == 12
    assert _value(judged, "identity_distance") < 0.6 < _value(judged, "canvas_distance")
    assert _value(judged, "nearer_to_source") == 1
    assert _value(judged, "swap_rate") == 1
    assert _value(judged, "pose_error") < 4
    assert _value(judged, "untouched_psnr") > 38
    assert _value(judged, "flicker_ratio") < 1.1
    assert 0.7 < _value(judged, "seam") < 1.3
    assert "dlib" in judged.judge
    assert {"fid", "lpips", "gaze_error", "lighting_error", "face_psnr"} <= judged.missing.keys()
    assert not judged.missing.keys() & judged.metrics.keys()


def test_the_series_of_a_person_go_along_with_the_frames(judged: Evaluation) -> None:
    (series,) = judged.people
    assert series.frame_indices.tolist() == list(range(12))
    assert series.time_s == pytest.approx(np.arange(12) / 25, abs=1e-3)
    assert np.isnan(series.values["flicker"][0]) and np.isfinite(series.values["flicker"][1:]).all()
    assert np.flatnonzero(np.isfinite(series.values["identity_distance"])).tolist() == [0, 5, 10]
    assert series.values["strength"] == pytest.approx(1, abs=0.2)
    assert series.values["yaw_deg"] == pytest.approx(series.values["yaw_deg_reference"], abs=6)


@pytest.mark.usefixtures("cheap_identity")
def test_equal_files_have_no_error_and_no_swap(swapped: Swapped, portrait: Path) -> None:
    heard = Heard()
    found = evaluate(swapped.canvas, [portrait], swapped.canvas, reporter=heard)
    assert _value(found, "untouched_psnr") == float("inf")
    assert _value(found, "flicker_ratio") == _value(found, "broad_flicker_ratio") == 1
    assert _value(found, "pose_error") == pytest.approx(0, abs=1e-4)
    assert _value(found, "expression_error") == 0
    assert _value(found, "mouth_correlation") == pytest.approx(1)
    assert _value(found, "swap_rate") == 0
    assert "seam" in found.missing
    assert any("no face differs" in message for message in heard.warned)


@pytest.mark.usefixtures("cheap_identity")
def test_frames_that_were_not_swapped_are_counted_and_named(
    swapped: Swapped, judge: Judge, write_clip: WriteClip
) -> None:
    kept = {4, 5, 9}
    frames = [swapped.before[index] if index in kept else rgb for index, rgb in enumerate(swapped.after)]
    found = judge(write_clip("unswapped", frames))
    assert _value(found, "swap_rate") == pytest.approx(9 / 12)
    named = {doubt.frame_index for doubt in found.doubtful if "not changed" in doubt.reason}
    assert named == kept
    assert np.flatnonzero(found.people[0].values["changed"] == 0).tolist() == sorted(kept)


@pytest.mark.usefixtures("cheap_identity")
def test_a_flicker_that_was_added_is_seen(
    swapped: Swapped, judged: Evaluation, judge: Judge, write_clip: WriteClip
) -> None:
    ratios = [_value(judged, "broad_flicker_ratio")]
    for codes in (1, 3):
        path = write_clip(f"flicker{codes}", _spoilt(swapped, lambda index, rgb, c=codes: rgb + c * (-1) ** index))
        found = judge(path)
        ratios.append(_value(found, "broad_flicker_ratio"))
    assert ratios == sorted(ratios)
    assert ratios[-1] > 1.5, "what a viewer sees is beyond the limit"
    # Each frame differs from the one before by 6 code values more, less what hides in the grain.
    assert 2 < _value(found, "flicker_difference") - _value(judged, "flicker_difference") < 6
    assert any("flickers" in doubt.reason for doubt in found.doubtful)


@pytest.mark.usefixtures("cheap_identity")
def test_a_turn_that_was_added_is_measured(
    swapped: Swapped, judged: Evaluation, judge: Judge, write_clip: WriteClip
) -> None:
    def turned(index: int, rgb: Array) -> Array:
        y, x = np.argwhere(swapped.inside[index][..., 0]).mean(axis=0)
        matrix = cv2.getRotationMatrix2D((float(x), float(y)), 8.0, 1.0)  # counter-clockwise
        return cv2.warpAffine(rgb, matrix, rgb.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)

    found = judge(write_clip("turned", _spoilt(swapped, turned)))
    rolls = [series.values["roll_deg"].mean() for series in (found.people[0], judged.people[0])]
    assert rolls[0] - rolls[1] == pytest.approx(-8, abs=1.5)
    assert _value(found, "pose_error") > 5
    assert _value(found, "pose_motion_error") == pytest.approx(_value(judged, "pose_motion_error"), abs=1)


@pytest.mark.usefixtures("cheap_identity")
def test_a_hard_edge_and_a_stain_outside_are_told_apart(
    swapped: Swapped, judged: Evaluation, judge: Judge, write_clip: WriteClip
) -> None:
    edged = judge(write_clip("edged", _spoilt(swapped, lambda index, rgb: rgb + 40)))
    assert _value(edged, "seam") > _value(judged, "seam") + 0.3
    assert _value(edged, "untouched_psnr") == pytest.approx(_value(judged, "untouched_psnr"), abs=0.1)
    stained = [rgb.copy() for rgb in swapped.after]
    for rgb in stained:
        rgb[:20, :60] = 255 - rgb[:20, :60]
    spoilt = judge(write_clip("stained", stained))
    assert _value(spoilt, "untouched_psnr") < _value(judged, "untouched_psnr") - 10
    assert _value(spoilt, "untouched_ssim") < _value(judged, "untouched_ssim")
    assert _value(spoilt, "seam") == pytest.approx(_value(judged, "seam"), abs=0.05)


@pytest.mark.usefixtures("cheap_identity")
def test_a_face_that_freezes_loses_its_expression(
    swapped: Swapped, judged: Evaluation, judge: Judge, write_clip: WriteClip
) -> None:
    frozen = _spoilt(swapped, lambda index, rgb: swapped.after[0].astype(np.float32))
    found = judge(write_clip("frozen", frozen))
    assert _value(found, "expression_error") > 1.3 * _value(judged, "expression_error")
    assert _value(found, "mouth_correlation") < 0.3 < 0.6 < _value(judged, "mouth_correlation")


def test_the_wrong_person_is_far_from_the_source(swapped: Swapped, small_still: SmallStill, judged: Evaluation) -> None:
    other = evaluate(swapped.result, [small_still("009_neutral")], swapped.canvas)
    assert _value(other, "identity_distance") > _value(judged, "identity_distance") + 0.2
    assert _value(other, "identity_similarity") < _value(judged, "identity_similarity") - 0.05


def test_the_source_is_found_among_others(
    swapped: Swapped, small_still: SmallStill, portrait: Path, tmp_path: Path
) -> None:
    for name in ("087_neutral", "087_smiling", "009_neutral"):
        (tmp_path / f"{name}.png").symlink_to(small_still(name))
    (tmp_path / "empty_1.png").write_bytes(b"")
    heard = Heard()
    found = evaluate(swapped.result, [portrait], swapped.canvas, among=tmp_path, reporter=heard)
    assert _value(found, "retrieval_top1") == 1
    assert "3 pictures of 2 people" in found.judge
    assert any("empty_1.png" in message for message in heard.warned)
    assert "same person" in found.judge and "different people" in found.judge


def test_several_people_are_judged_by_their_own_sources(
    swapped: Swapped, portrait: Path, write_clip: WriteClip
) -> None:
    pairs = list(zip(swapped.before[:6], swapped.after[:6], strict=True))
    canvas = write_clip("two", [np.hstack([before, before[:, ::-1]]) for before, _ in pairs])
    # The one on the right is the same woman, mirrored, who was left alone.
    result = write_clip("two_out", [np.hstack([after, before[:, ::-1]]) for before, after in pairs])
    heard = Heard()
    alone = evaluate(result, [portrait], canvas, reporter=heard)
    assert len(alone.people) == 1
    assert any("not changed, and not judged" in message for message in heard.warned)
    assert _value(alone, "swap_rate") == 1
    left = alone.people[0].person
    right = "person 2" if left == "person 1" else "person 1"
    own = _own_still(swapped)
    both = evaluate(result, {left: [portrait], right: [own]}, canvas)
    distances = {series.person: series.mean("identity_distance") for series in both.people}
    assert distances[left] == pytest.approx(_value(alone, "identity_distance"), abs=1e-6)
    assert distances[right] is not None and distances[right] < 0.3, "she is herself"


def _own_still(swapped: Swapped) -> Path:
    """A still of the person in the clip, beside the clip."""
    path = swapped.canvas.with_name("own.png")
    if not path.exists():
        write_image(path, swapped.before[8])
    return path


def test_a_swap_with_oneself_is_a_reconstruction(swapped: Swapped, eval_data: Path, write_clip: WriteClip) -> None:
    own = _own_still(swapped)
    found = evaluate(swapped.canvas, [own], swapped.canvas)
    assert _value(found, "face_psnr") == float("inf")
    assert "one face cannot be told" in found.missing["swap_rate"]
    assert not found.doubtful


def test_a_reenactment_is_compared_with_what_drove_it(swapped: Swapped) -> None:
    own = _own_still(swapped)
    found = evaluate(swapped.canvas, [own], own, swapped.canvas)
    assert _value(found, "flicker_ratio") == 1
    assert _value(found, "pose_error") == pytest.approx(0, abs=1e-4)
    assert _value(found, "identity_distance") < 0.3
    assert {"seam", "untouched_psnr", "swap_rate"} <= found.missing.keys()
    assert "canvas_distance" not in found.people[0].values


@pytest.mark.usefixtures("cheap_identity")
def test_a_picture(portrait: Path, small_still: SmallStill, tmp_path: Path) -> None:
    canvas = small_still("009_smiling")
    rgb, other = read_image(canvas), read_image(portrait)
    pasted = rgb.copy()
    size = rgb.shape[0]
    middle = slice(round(0.3 * size), round(0.8 * size))
    pasted[middle, middle] = other[middle, middle]
    write_image(tmp_path / "out.png", pasted)
    found = evaluate(tmp_path / "out.png", [portrait], canvas)
    assert found.frame_count == 1
    assert _value(found, "identity_distance") < _value(found, "canvas_distance")
    assert {"flicker_ratio", "expression_error", "identity_steadiness"} <= found.missing.keys()


@pytest.mark.usefixtures("cheap_identity")
def test_a_part_of_the_canvas(swapped: Swapped, portrait: Path, write_clip: WriteClip, judged: Evaluation) -> None:
    part = write_clip("part", swapped.after[4:10])
    found = evaluate(part, [portrait], swapped.canvas, trim="#4..#10")
    assert found.frame_count == 6
    assert found.people[0].frame_indices.tolist() == list(range(6))
    assert found.people[0].values["strength"] == pytest.approx(1, abs=0.2)
    assert _value(found, "untouched_psnr") == pytest.approx(_value(judged, "untouched_psnr"), abs=1)
    with pytest.raises(InputError, match=r"6 frames.*12"):
        evaluate(part, [portrait], swapped.canvas)
    with pytest.raises(UsageError, match="numbered"):
        evaluate(part, {"1": [portrait]}, swapped.canvas, trim="#4..#10")


@pytest.mark.usefixtures("cheap_identity")
def test_variable_frame_rates_are_compared_frame_by_frame(
    swapped: Swapped, portrait: Path, write_clip: WriteClip
) -> None:
    pts = [0, 40, 160, 200, 360, 400]
    canvas, result = (
        write_clip(name, frames[:6], pts) for name, frames in (("vfr", swapped.before), ("vfr_out", swapped.after))
    )
    found = evaluate(result, [portrait], canvas)
    assert found.people[0].time_s == pytest.approx(np.array(pts) / 1000, abs=1e-3)
    assert _value(found, "swap_rate") == 1
    late = write_clip("vfr_late", swapped.after[:6], [*pts[:4], 800, 840])
    with pytest.raises(InputError, match="another time"):
        evaluate(late, [portrait], canvas)


@pytest.mark.usefixtures("cheap_identity")
def test_files_that_do_not_belong_together(
    swapped: Swapped, portrait: Path, write_clip: WriteClip, tmp_path: Path
) -> None:
    small = write_clip("small", [cv2.resize(rgb, (240, 192)) for rgb in swapped.after])
    with pytest.raises(InputError, match=r"240x192.*360x288"):
        evaluate(small, [portrait], swapped.canvas)
    with pytest.raises(InputError, match="is a picture"):
        evaluate(portrait, [portrait], swapped.canvas)
    with pytest.raises(InputError, match="source of a swap is a still"):
        evaluate(swapped.result, [swapped.result], swapped.canvas)
    with pytest.raises(InputError, match=r"none\.mp4"):
        evaluate(tmp_path / "none.mp4", [portrait], swapped.canvas)
    with pytest.raises(InputError, match="no folder"):
        evaluate(swapped.result, [portrait], swapped.canvas, among=tmp_path / "none")


@pytest.mark.usefixtures("cheap_identity")
def test_nobody_to_judge(portrait: Path, eval_data: Path, tmp_path: Path) -> None:
    canvas, wall = tmp_path / "canvas.png", tmp_path / "wall.png"
    picture = cv2.resize(read_image(eval_data / "london" / "009_neutral.jpg"), (200, 200))
    write_image(canvas, picture)
    write_image(wall, np.full_like(picture, 90))
    with pytest.raises(NoFaceError, match=r"wall\.png: no face to judge"):
        evaluate(wall, [portrait], canvas)
    with pytest.raises(UsageError, match="no person 3"):
        evaluate(canvas, {"3": [portrait]}, canvas)


@pytest.mark.usefixtures("cheap_identity")
def test_a_result_of_another_clip_is_doubted(swapped: Swapped, portrait: Path, write_clip: WriteClip) -> None:
    foreign = [np.where(inside, rgb, 255 - rgb) for rgb, inside in zip(swapped.after, swapped.inside, strict=True)]
    heard = Heard()
    evaluate(write_clip("foreign", foreign), [portrait], swapped.canvas, reporter=heard)
    assert any("was not to be touched differs much" in message for message in heard.warned)


def test_a_face_that_the_judge_lost_is_looked_for_again(swapped: Swapped) -> None:
    """A run that loses the same face must not be excused by the judge's own loss."""
    analyzer = DlibAnalyzer()
    found = look(probe(swapped.canvas), analyzer, SilentReporter(), "analyse")
    (track,) = found.tracks
    lost = {5, 6, 7}
    kept = [place for place, index in enumerate(track.frame_indices) if index not in lost]
    short = replace(
        track,
        frame_indices=tuple(track.frame_indices[place] for place in kept),
        faces=tuple(track.faces[place] for place in kept),
    )
    (seen,) = sightings(replace(found, tracks=(short,)), analyzer, 40)
    assert seen.frames.tolist() == list(range(12))
    assert set(seen.frames[seen.segment == UNTRACKED].tolist()) == lost
    assert seen.measured.all()
    again = np.stack([track.faces[index].landmarks_px for index in sorted(lost)])
    # Both are dlib's landmarks, from other starting boxes.
    assert np.abs(seen.landmarks_px[sorted(lost)] - again).mean() < 1.0


def test_landmarks_that_were_repaired_are_no_loss_of_the_face(swapped: Swapped) -> None:
    analyzer = DlibAnalyzer()
    found = look(probe(swapped.canvas), analyzer, SilentReporter(), "analyse")
    (track,) = found.tracks
    faces = [replace(face, repaired=place == 3, measured=place != 4) for place, face in enumerate(track.faces)]
    result = replace(found, tracks=(replace(track, faces=tuple(faces)),))
    (subject,) = match_by_place(sightings(found, analyzer, 40), result)
    assert np.flatnonzero(~subject.seen).tolist() == [4]
    assert np.flatnonzero(~subject.is_found).tolist() == [3, 4]

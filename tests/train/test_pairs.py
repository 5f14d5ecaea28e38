"""Pairs of views: always the same for a key, put together as tasks are, and right in the mirror."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from facexcli.engines.facex.assemble import CUT_OUT, TOKEN_ATTRIBUTES
from facexcli.engines.facex.config import PRESETS
from facexcli.engines.facex.extractors import open_decomposer
from facexcli.faces.align import crop_from_frame, take_crop
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.source import find_source_face
from facexcli.media.image import read_image
from facexcli.train.augment import Pair
from facexcli.train.flip import mirrored, mirrored_points
from facexcli.train.pairs import TASKS, assembled, draw, fixed
from facexcli.train.views import WideFace, other_view, plain_view, wide_face
from facexcli.types import Crop


@pytest.fixture(scope="module")
def face(eval_data: Path) -> WideFace:
    rgb = read_image(eval_data / "london" / "009_smiling.jpg")
    return wide_face(rgb, find_source_face(rgb, DlibAnalyzer()).landmarks_px, 128)


def test_a_key_gives_the_same_samples_whoever_asks(prepared: Any) -> None:
    one, same, other = (
        draw(prepared, prepared.index.files, "mixed", 6, np.random.default_rng(key)) for key in (5, 5, 6)
    )
    assert all(
        np.array_equal(a.source.rgb, b.source.rgb) and a.recipe == b.recipe for a, b in zip(one, same, strict=True)
    )
    assert any(not np.array_equal(a.source.rgb, b.source.rgb) for a, b in zip(one, other, strict=True))
    assert {
        sample.recipe for sample in draw(prepared, prepared.index.files, "mixed", 40, np.random.default_rng(0))
    } == {*TASKS["mixed"]}


def test_a_swap_hides_the_face_and_takes_it_from_the_source(prepared: Any) -> None:
    (file,) = (file for file in prepared.index.files if file.kind == "video")
    sample = fixed(prepared, file, "swap")
    own = dict(zip(TOKEN_ATTRIBUTES, sample.from_source, strict=True))
    assert own["identity"] and own["lips"] and own["texture"]
    assert not (own["expression"] or own["pose"] or own["hair"] or own["light"])
    hidden = sample.reference.hole > 0
    assert (sample.reference.rgb[hidden] == CUT_OUT).all() and 0.1 < hidden.mean() < 0.7
    assert np.array_equal(sample.reference.rgb[~hidden], sample.target.rgb[~hidden])
    assert np.array_equal(sample.judged, sample.reference.edited)


def test_a_swap_may_see_the_face_of_the_source_pasted_in(prepared: Any) -> None:
    file = prepared.index.files[0]
    cut, pasted = (fixed(prepared, file, "swap", reference) for reference in ("cut", "paste"))
    assert pasted.reference.hole.sum() < cut.reference.hole.sum()
    shown = (cut.reference.hole > 0) & (pasted.reference.hole == 0)
    assert np.array_equal(pasted.reference.rgb[shown], pasted.source.rgb[shown])
    assert np.array_equal(pasted.judged, cut.judged)


def test_a_swap_may_see_the_face_of_the_source_fitted_to_its_place(prepared: Any) -> None:
    file = next(file for file in prepared.index.files if file.kind == "still")
    cut, pasted, warped = (fixed(prepared, file, "swap", reference) for reference in ("cut", "paste", "warp"))
    inside = pasted.reference.hole + warped.reference.hole + (cut.reference.hole == 0) == 0

    def error(sample: Any) -> float:
        return float(np.abs(sample.reference.rgb[inside].astype(float) - sample.target.rgb[inside]).mean())

    assert error(warped) < error(pasted)
    assert np.array_equal(warped.judged, cut.judged) and warped.reference.edited.sum() <= cut.reference.edited.sum()
    with pytest.raises(ValueError, match="landmarks"):
        assembled("swap", Pair(replace(pasted.source, landmarks_px=None), pasted.target), "warp")


def test_a_reenactment_shows_the_source_and_moves_it(prepared: Any) -> None:
    (file,) = (file for file in prepared.index.files if file.kind == "video")
    sample = fixed(prepared, file, "reenact")
    moved = {token for token, own in zip(TOKEN_ATTRIBUTES, sample.from_source, strict=True) if not own}
    assert moved == {"expression", "pose", "gaze"}
    assert np.array_equal(sample.reference.rgb, sample.source.rgb) and sample.reference.edited.all()
    assert 0.05 < sample.judged.mean() < 0.9  # the head


def test_a_head_swap_shows_the_head_in_grey(prepared: Any) -> None:
    sample = fixed(prepared, prepared.index.files[0], "head-swap")
    grey = np.ptp(sample.reference.rgb, axis=2) == 0
    assert grey.mean() > 0.1 and sample.reference.hole.any()


def test_a_mirrored_face_is_described_as_the_mirrored_picture_is(face: WideFace) -> None:
    decompose = open_decomposer(PRESETS["tiny"])
    size = 128
    crop = plain_view(face, size)["ffhq"]
    flipped = Crop(
        np.ascontiguousarray(crop.rgb[:, ::-1]), crop.crop_from_frame,
        mirrored_points(crop.landmarks_px, size).astype(np.float32), "ffhq",
    )  # fmt: skip
    told, seen = mirrored(decompose(crop)), decompose(flipped)
    assert np.array_equal(told.rgb, seen.rgb)
    assert np.abs(told.masks - seen.masks)[:6].max() < 0.25  # anti-aliased edges; hair is GrabCut's, and may differ
    for name, tolerance in (("expression", 0.05), ("pose", 0.02), ("texture", 0.03), ("light", 0.03)):
        assert np.abs(told.motion[name] - seen.motion[name]).max() < tolerance, name
    assert np.abs(told.motion["gaze"] - seen.motion["gaze"]).max() < 0.06
    assert np.abs(mirrored(told).motion["pose"] - decompose(crop).motion["pose"]).max() < 1e-5


def test_other_views_turn_the_head_and_know_where_its_landmarks_went(face: WideFace) -> None:
    view = other_view(face, 128, np.random.default_rng(3))["ffhq"]
    again = other_view(face, 128, np.random.default_rng(3))["ffhq"]
    assert np.array_equal(view.rgb, again.rgb)
    assert not np.array_equal(view.rgb, plain_view(face, 128)["ffhq"].rgb)
    large = other_view(face, 256, np.random.default_rng(3))["ffhq"]
    found = DlibAnalyzer().follow(large.rgb, large.landmarks_px).landmarks_px
    eyes = float(np.linalg.norm(large.landmarks_px[45] - large.landmarks_px[36]))
    assert np.linalg.norm(found - large.landmarks_px, axis=1).mean() < 0.06 * eyes


def test_a_crop_of_the_wide_face_is_the_crop_of_the_picture(eval_data: Path) -> None:
    rgb = read_image(eval_data / "london" / "033_neutral.jpg")
    landmarks = find_source_face(rgb, DlibAnalyzer()).landmarks_px
    direct, _ = take_crop(rgb, crop_from_frame(landmarks, "ffhq", 128), 128)
    by_way = wide_face(rgb, landmarks, 128).crop("ffhq", 128)
    inside = np.s_[8:-8, 8:-8]
    assert np.abs(direct.astype(float) - by_way.rgb)[inside].mean() < 3


def test_the_same_person_in_the_mirror_is_assembled_alike(prepared: Any) -> None:
    facts = [prepared.facts(prepared.index.files[0], view, "ffhq") for view in (1, 0)]
    plain, flipped = (assembled("swap", Pair(*each)) for each in (facts, map(mirrored, facts)))
    assert (plain.reference.hole[:, ::-1] == flipped.reference.hole).mean() > 0.99

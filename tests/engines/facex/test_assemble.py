"""The assemblers against the table of figure 4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from facexcli.engines.facex.assemble import (
    CUT_OUT,
    assemble_reference,
    dilate,
    region_union,
    token_providers,
)
from facexcli.engines.facex.config import REGIONS
from facexcli.engines.facex.ford import FaceFacts
from facexcli.recipes import FACE_REGIONS, HEAD_REGIONS, RECIPES, recipe_named, with_regions

FIGURE_4 = {
    # task: (regions of the source, regions of the target)
    "swap": ({"eyebrows", "eyes", "nose", "lips", "skin"}, {"ears", "hair", "background"}),
    "head-swap": ({"eyebrows", "eyes", "nose", "lips", "hair", "ears", "skin"}, {"background"}),
    "reenact": (set(REGIONS), set()),
    "animate": (set(REGIONS), set()),
}
MOTION = {"expression", "pose", "gaze"}


@pytest.mark.parametrize("task", sorted(FIGURE_4))
def test_regions_come_from_whom_figure_4_says(task: str) -> None:
    providers = token_providers(recipe_named(task))
    source, target = FIGURE_4[task]
    assert {region for region in REGIONS if providers[region] == "source"} == source
    assert {region for region in REGIONS if providers[region] == "canvas"} == target


@pytest.mark.parametrize("task", sorted(FIGURE_4))
def test_identity_is_the_sources_and_motion_the_targets(task: str) -> None:
    """Sec. 3.3: for all three tasks, identity and motion come from the source and the target image."""
    providers = token_providers(recipe_named(task))
    target = "driving" if recipe_named(task).moves else "canvas"
    assert providers["identity"] == "source"
    assert {providers[name] for name in MOTION} == {target}


@pytest.mark.parametrize(
    ("task", "texture", "light"), [("swap", "source", "canvas"), ("head-swap", "source", "canvas"),
                                   ("reenact", "source", "source"), ("edit", "canvas", "canvas")],
)  # fmt: skip
def test_texture_goes_with_the_skin_and_light_with_the_scene(task: str, texture: str, light: str) -> None:
    providers = token_providers(recipe_named(task))
    assert (providers["texture"], providers["light"]) == (texture, light)


def test_an_edit_and_a_hole_leave_every_token_to_the_canvas() -> None:
    """Who that is, the stills of the identity state tell: they are the canvas's own."""
    for task in ("edit", "inpaint"):
        providers = token_providers(recipe_named(task))
        assert providers.pop("identity") == "source"
        assert set(providers.values()) == {"canvas"}


def face(rows: slice, colour: tuple[int, int, int]) -> FaceFacts:
    """A face of one colour that is skin in some rows, hair above them, background elsewhere."""
    masks = np.zeros((8, 64, 64), np.float32)
    masks[REGIONS.index("skin"), rows, 20:44] = 1
    masks[REGIONS.index("hair"), rows.start - 6 : rows.start, 20:44] = 1
    masks[REGIONS.index("background")] = 1 - masks.sum(axis=0)
    return FaceFacts(np.full((64, 64, 3), colour, np.uint8), masks, np.zeros((1, 128), np.float32), {})


CANVAS, SOURCE = face(slice(24, 48), (10, 20, 30)), face(slice(20, 40), (200, 100, 50))


def givers(task: str) -> dict[Any, FaceFacts]:
    return {region: SOURCE if RECIPES[task][region] == "source" else CANVAS for region in HEAD_REGIONS}


def test_swap_cuts_out_both_faces_and_a_little_more() -> None:
    found = assemble_reference(recipe_named("swap"), CANVAS, givers("swap"))
    both = np.zeros((64, 64), bool)
    both[20:48, 20:44] = True
    assert (found.hole[both] == 1).all()
    assert found.hole.sum() > both.sum()
    assert (found.hole[:16] == 0).all() and (found.hole[:, :16] == 0).all()
    assert (found.rgb[found.hole == 1] == CUT_OUT).all()
    np.testing.assert_array_equal(found.rgb[found.hole == 0], CANVAS.rgb[found.hole == 0])
    np.testing.assert_array_equal(found.edited, found.hole)


def test_head_swap_puts_a_grey_head_on_the_canvas_and_cuts_its_rim_out() -> None:
    found = assemble_reference(recipe_named("head-swap"), CANVAS, givers("head-swap"))
    head = region_union([SOURCE], HEAD_REGIONS) == 1
    inside = found.rgb[head]
    assert (inside == inside[:, :1]).all(), "the head is not grey"
    assert abs(int(inside[0, 0]) - 124) <= 1  # BT.601 luma of the source's colour
    rim = (dilate(head.astype(np.float32)) == 1) & ~head
    assert (found.rgb[rim] == CUT_OUT).all() and (found.hole[rim] == 1).all()
    assert (found.hole[head] == 0).all() and (found.edited[head] == 1).all()
    np.testing.assert_array_equal(found.rgb[found.edited == 0], CANVAS.rgb[found.edited == 0])


def test_what_moves_has_the_whole_portrait_for_its_reference() -> None:
    found = assemble_reference(recipe_named("reenact"), CANVAS, givers("reenact"))
    np.testing.assert_array_equal(found.rgb, CANVAS.rgb)
    assert not found.hole.any() and found.edited.all()


def test_a_hole_is_cut_out() -> None:
    hole = np.zeros((64, 64), np.uint8)
    hole[30:34, 30:34] = 255
    found = assemble_reference(recipe_named("inpaint"), CANVAS, {}, hole)
    assert (found.hole[hole == 255] == 1).all() and found.hole.sum() < 100


def test_a_single_feature_cuts_out_that_feature(facts: Callable[[int], Any]) -> None:
    lips = np.zeros((8, 64, 64), np.float32)
    lips[REGIONS.index("lips"), 40:44, 28:36] = 1
    one = FaceFacts(CANVAS.rgb, lips, CANVAS.identity, {})
    recipe = with_regions(recipe_named("swap"), ["lips"])
    assert [region for region in FACE_REGIONS if token_providers(recipe)[region] == "source"] == ["lips"]
    found = assemble_reference(recipe, one, {"lips": one})
    rows, columns = np.nonzero(found.hole)
    assert 36 <= rows.min() <= 40 and 43 <= rows.max() <= 47 and 24 <= columns.min() <= 28


@pytest.mark.parametrize(
    ("rows", "regions"),
    [({"expression": "query"}, FACE_REGIONS), ({"gaze": "query"}, ("eyes",)),
     ({"gaze": "query", "expression": "query"}, FACE_REGIONS)],
)  # fmt: skip
def test_an_expression_changes_the_face_and_a_gaze_the_eyes(
    rows: dict[Any, Any], regions: tuple[str, ...], facts: Callable[[int], Any]
) -> None:
    masks = np.zeros((8, 64, 64), np.float32)
    masks[REGIONS.index("skin"), 16:52, 16:48] = 1
    masks[:, 24:28, 20:44] = 0
    masks[REGIONS.index("eyes"), 24:28, 20:44] = 1
    masks[REGIONS.index("background")] = 1 - masks.sum(axis=0)
    canvas = FaceFacts(CANVAS.rgb, masks, CANVAS.identity, {})
    recipe = recipe_named("edit").with_rows(rows)
    found = assemble_reference(recipe, canvas, dict.fromkeys(rows, canvas))
    np.testing.assert_array_equal(found.edited, dilate(region_union([canvas], regions)))
    assert not found.hole.any() and 0 < found.edited.mean() < 0.6
    everything = assemble_reference(recipe.with_rows({"pose": "query"}), canvas, dict.fromkeys(rows, canvas))
    assert everything.edited.all(), "a head that moves needs room"


def test_an_open_mouth_may_reach_as_far_as_the_one_it_is_taken_from() -> None:
    low = face(slice(24, 56), (1, 2, 3))
    found = assemble_reference(recipe_named("edit").with_rows({"expression": "query"}), CANVAS, {"expression": low})
    assert found.edited[54, 32] == 1

"""What chance does to pairs: the same for a key, the same in canvas and target, and nothing of who it is."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from facexcli.engines.facex.config import MOTION_SIZES, REGIONS
from facexcli.train.augment import AUGMENTATIONS, Pair, augmented
from facexcli.train.pairs import assembled, draw
from facexcli.train.shards import PreparedFaces

KEYS = range(40)


@pytest.fixture
def pair(prepared: Any) -> Pair:
    file = next(file for file in prepared.index.files if file.kind == "still")
    return Pair(prepared.facts(file, 1, "ffhq"), prepared.facts(file, 0, "ffhq"))


def place() -> Any:
    return np.full((64, 64, 3), (0, 255, 0), np.uint8)


def strong(pair: Pair, key: int, is_driven: bool = False) -> Pair:
    return augmented(pair, "strong", is_driven, np.random.default_rng(key), place)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_a_key_gives_the_same_pair(prepared: Any, augment: Any) -> None:
    first, again, other = (
        draw(prepared, prepared.index.files, "mixed", 12, np.random.default_rng(key), "paste", augment)
        for key in (1, 1, 2)
    )
    for one, same in zip(first, again, strict=True):
        assert np.array_equal(one.source.rgb, same.source.rgb) and np.array_equal(one.target.rgb, same.target.rgb)
        assert np.array_equal(one.reference.rgb, same.reference.rgb)
    assert any(not np.array_equal(a.target.rgb, b.target.rgb) for a, b in zip(first, other, strict=True))


def test_pairs_without_augmentation_are_those_that_were_prepared(pair: Pair) -> None:
    assert augmented(pair, "none", False, np.random.default_rng(0), place) is pair


def test_coefficients_that_cannot_be_mirrored_are_not(prepared: Any) -> None:
    """The paper's face model tells left from right in ways that no swap of numbers undoes."""
    index = replace(prepared.index, extractors=("motion deep3dfacerecon",))
    views = {prepared.picture(file, view, "ffhq").tobytes() for file in index.files for view in range(file.count)}

    def mirrored_by(faces: PreparedFaces) -> int:
        drawn = draw(faces, index.files, "swap", 12, np.random.default_rng(0), augment="light")
        return sum(sample.target.rgb.tobytes() not in views for sample in drawn)

    assert mirrored_by(prepared) > 0
    foreign = copy(prepared)
    foreign.index = index
    assert mirrored_by(foreign) == 0


def test_who_it_is_and_where_everything_lies_stays(pair: Pair) -> None:
    for key in KEYS:
        changed = strong(pair, key)
        for before, after in ((pair.source, changed.source), (pair.target, changed.target)):
            assert np.array_equal(before.identity, after.identity)
            flipped = before.masks[:, :, ::-1]
            assert np.array_equal(after.masks, before.masks) or np.array_equal(after.masks, flipped)
            assert after.motion.keys() == MOTION_SIZES.keys() and after.rgb.dtype == np.uint8


@pytest.mark.parametrize("recipe", ["swap", "head-swap"])
@pytest.mark.parametrize("swap_reference", ["cut", "paste", "warp"])
def test_canvas_and_target_agree_where_nothing_is_edited(pair: Pair, recipe: str, swap_reference: Any) -> None:
    occluded = 0
    for key in KEYS:
        changed = strong(pair, key)
        sample = assembled(recipe, changed, swap_reference)
        untouched = sample.reference.edited == 0
        assert np.array_equal(sample.reference.rgb[untouched], sample.target.rgb[untouched])
        if changed.kept is not None:
            occluded += 1
            front = changed.kept > 0
            assert untouched[front].all() and not sample.judged[front].any() and not sample.reference.hole[front].any()
    assert 0 < occluded < len(KEYS)


def test_a_reenactment_keeps_its_colours_and_has_the_same_things_before_and_behind_it(pair: Pair) -> None:
    still = Pair(pair.target, pair.target)  # nobody moves: what is put in must be in both
    background = REGIONS.index("background")
    placed = 0
    for key in KEYS:
        changed = strong(still, key, is_driven=True)
        assert changed.kept is None
        difference = np.abs(changed.source.rgb.astype(float) - changed.target.rgb).mean()
        assert difference < 30  # a worse picture of the same
        behind = changed.target.masks[background] > 0.95
        placed += bool((changed.target.rgb[behind] == (0, 255, 0)).all(axis=-1).mean() > 0.5)
    assert 0 < placed < len(KEYS)


def test_sources_get_worse_in_several_ways(pair: Pair) -> None:
    distances = {round(float(np.abs(strong(pair, key).source.rgb.astype(float) - pair.source.rgb).mean()), 2)
                 for key in KEYS}  # fmt: skip
    assert len(distances) > 30

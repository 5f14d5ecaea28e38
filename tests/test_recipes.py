"""The task table: who provides what, and how --regions and --take change it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facexcli.errors import UsageError
from facexcli.recipes import (
    ATTRIBUTES,
    FACE_REGIONS,
    HEAD_REGIONS,
    RECIPES,
    Recipe,
    parse_take,
    recipe_named,
    with_regions,
)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_every_recipe_names_a_provider_for_every_attribute(recipe: Recipe) -> None:
    assert set(recipe.rows) == set(ATTRIBUTES)


def test_a_swap_takes_the_face_and_leaves_motion_light_and_hair() -> None:
    swap = recipe_named("swap")
    assert swap.provided_by("source") == ("identity", *FACE_REGIONS)
    assert not swap.moves
    assert swap["lighting"] == swap["hair"] == swap["expression"] == "canvas"


def test_a_reenactment_takes_only_motion_from_the_driving_face() -> None:
    reenact = recipe_named("reenact")
    assert reenact.moves
    assert reenact.provided_by("driving") == ("pose", "expression", "gaze")


def test_rows_cannot_be_changed_in_place() -> None:
    with pytest.raises(TypeError):
        recipe_named("swap").rows["lips"] = "canvas"  # type: ignore[index]


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        recipe_named("reenakt")
    assert "reenact" in caught.value.hint


@given(st.sets(st.sampled_from(HEAD_REGIONS), min_size=1))
def test_regions_leave_all_others_to_the_canvas(regions: set[str]) -> None:
    recipe = with_regions(recipe_named("swap"), sorted(regions))
    assert {region for region in HEAD_REGIONS if recipe[region] == "source"} == regions


@pytest.mark.parametrize("regions", [[], ["  "], ["nosee"]])
def test_regions_that_say_nothing_are_refused(regions: list[str]) -> None:
    with pytest.raises(UsageError):
        with_regions(recipe_named("swap"), regions)


def test_take_accepts_providers_and_files() -> None:
    recipe, files = parse_take(recipe_named("swap"), ["lips=canvas", "nose=other.jpg"])
    assert recipe["lips"] == "canvas"
    assert recipe["nose"] == "query"
    assert files == {"nose": "other.jpg"}


@pytest.mark.parametrize("take", [["lips"], ["lips="], ["lisp=source"], ["lips=source", "lips=canvas"]])
def test_take_refuses_what_cannot_be_meant(take: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_take(recipe_named("swap"), take)


def test_a_recipe_with_a_missing_row_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks"):
        Recipe("half", {"identity": "source"})

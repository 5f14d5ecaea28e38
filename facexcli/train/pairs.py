"""Training pairs: two views of one person, put together as a task puts a source and a canvas together (sec. 3.5).

The second view is what the network is to make; the first gives what the recipe takes from the source. A pair depends on
its key alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from facexcli.engines.facex.assemble import TOKEN_ATTRIBUTES, assemble_reference, region_union, token_providers
from facexcli.engines.facex.motion import DEEP3D
from facexcli.recipes import HEAD_REGIONS, RECIPES
from facexcli.train.augment import Pair, augmented
from facexcli.train.sources import held_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facexcli.engines.facex.assemble import Reference
    from facexcli.engines.facex.ford import FaceFacts
    from facexcli.recipes import Recipe
    from facexcli.settings import SwapReference
    from facexcli.train.augment import Augmentation
    from facexcli.train.shards import PreparedFaces, PreparedFile
    from facexcli.types import Array, TemplateName

TASKS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "swap": {"swap": 1.0},
        "reenact": {"reenact": 1.0},
        "generalist": {"head-swap": 1.0},  # the paper's assembly for the first training
        "mixed": {"swap": 0.5, "reenact": 0.3, "head-swap": 0.2},
    }
)
"""The assemblies that a training draws its samples from, and the share of each."""

_CROPS: Mapping[str, TemplateName] = MappingProxyType({"swap": "ffhq", "reenact": "head", "head-swap": "head"})
"""As the engine cuts them."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One pair, assembled. recipe: a name. from_source: bool, by token (`TOKEN_ATTRIBUTES`), whose is the source's.

    judged: float32 (S, S), where a result is compared with the target: what is made anew, or the head where that is
    everything.
    """

    recipe: str
    source: FaceFacts
    target: FaceFacts
    reference: Reference
    from_source: tuple[bool, ...]
    judged: Array


def split(faces: PreparedFaces) -> tuple[tuple[PreparedFile, ...], tuple[PreparedFile, ...]]:
    """Files to learn from, and files of people who are held out; of files, where all show one person."""
    files = faces.index.files
    alone = len({file.person for file in files}) == 1
    keys = {file: file.name if alone else file.person for file in files}
    kept_away = held_out(keys.values())
    return tuple(f for f in files if keys[f] not in kept_away), tuple(f for f in files if keys[f] in kept_away)


def draw(
    faces: PreparedFaces,
    files: Sequence[PreparedFile],
    task: str,
    count: int,
    random: np.random.Generator,
    swap_reference: SwapReference = "cut",
    augment: Augmentation = "light",
) -> list[Sample]:
    """`count` samples of a task for training: files, views and recipes by chance, changed by chance."""
    names, shares = zip(*TASKS[task].items(), strict=True)
    recipes = (str(random.choice(names, p=shares)) for _ in range(count))
    return [assembled(recipe, _drawn(faces, files, recipe, random, augment), swap_reference) for recipe in recipes]


def fixed(faces: PreparedFaces, file: PreparedFile, recipe: str, swap_reference: SwapReference = "cut") -> Sample:
    """The sample by which a file is judged: its last view as the source, its first, the plain one, as the target.

    It is judged in the same places whatever `swap_reference` shows.
    """
    template = _CROPS[recipe]
    pair = Pair(faces.facts(file, file.count - 1, template), faces.facts(file, 0, template))
    return replace(assembled(recipe, pair, swap_reference), judged=assembled(recipe, pair).judged)


def assembled(recipe_name: str, pair: Pair, swap_reference: SwapReference = "cut") -> Sample:
    """As the engine assembles a request with `--reference`. In reenactments the source is the canvas, and the target
    drives it."""
    recipe, source, target = RECIPES[recipe_name], pair.source, pair.target
    providers = token_providers(recipe)
    from_source = tuple(providers[token] == "source" for token in TOKEN_ATTRIBUTES)
    givers = {
        attribute: source if own else target
        for attribute, own in zip(TOKEN_ATTRIBUTES.values(), from_source, strict=True)
    }
    canvas = source if recipe.is_driven else target
    reference = pair.shown(assemble_reference(recipe, canvas, givers, swap_reference=swap_reference))
    return Sample(recipe_name, source, target, reference, from_source, _judged(recipe, reference, target))


def _judged(recipe: Recipe, reference: Reference, target: FaceFacts) -> Array:
    return region_union([target], HEAD_REGIONS) if recipe.moves else reference.edited


def _drawn(
    faces: PreparedFaces,
    files: Sequence[PreparedFile],
    recipe: str,
    random: np.random.Generator,
    augment: Augmentation,
) -> Pair:
    file = files[int(random.integers(len(files)))]
    first, second = (int(view) for view in random.permutation(file.count)[:2])
    template = _CROPS[recipe]

    def elsewhere() -> Array:
        other = files[int(random.integers(len(files)))]
        return faces.picture(other, int(random.integers(other.count)), template)

    pair = Pair(faces.facts(file, first, template), faces.facts(file, second, template))
    mirrors = f"motion {DEEP3D}" not in faces.index.extractors
    return augmented(pair, augment, RECIPES[recipe].is_driven, random, elsewhere, mirrors=mirrors)

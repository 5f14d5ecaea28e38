"""What a change to a recipe is worth: variants of it, each trained for the same number of steps from the same seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from facexcli.engines.facex.checkpoint import load_checkpoint
from facexcli.engines.facex.cost import flop_of_stages
from facexcli.errors import UsageError, unknown_name
from facexcli.events import Informed
from facexcli.train.begin import changed, chosen_config, with_motion
from facexcli.train.command import LAST, prepared_faces, run_training, trainable_of
from facexcli.train.loop import PROGRESS
from facexcli.train.recipe import recipe_of
from facexcli.train.state import load_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from facexcli.events import Reporter
    from facexcli.train.command import Places
    from facexcli.train.recipe import TrainingRecipe

BASE = "base"
"""The recipe itself."""
SAMPLED = (1, 2, 4)
"""Steps of the sampler at which every variant is judged."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What became of one.

    gflop: of a forward pass of its UNet. parameters: of all its network. wall_s: of its training, with judging. psnr:
    dB on held-out people, by steps of the sampler and then by assembly. plain: of the reference that the recipe itself
    gives, as it is.
    """

    name: str
    steps: int
    gflop: float
    parameters: int
    wall_s: float
    psnr: Mapping[int, Mapping[str, float]]
    plain: Mapping[str, float]

    def gain(self, steps: int) -> float:
        """dB over the untouched reference, the mean of the assemblies."""
        return sum(value - self.plain[name] for name, value in self.psnr[steps].items()) / len(self.plain)

    @property
    def best_steps(self) -> int:
        """Of the sampler, by `gain`."""
        return max(self.psnr, key=self.gain)


def variants_of(recipe: TrainingRecipe) -> dict[str, TrainingRecipe]:
    """The recipe and what it is to be compared with, by name. Raises UsageError for keys that no recipe has."""
    own = recipe.model_dump(exclude={"variants"})
    others = {name: recipe_of(changed(own, changes), f"variant {name}") for name, changes in recipe.variants.items()}
    return {BASE: recipe_of(own, ""), **others}


def compare_variants(
    recipe: TrainingRecipe, only: Sequence[str], places: Places, reporter: Reporter, device: str = "auto"
) -> Iterator[Variant]:
    """Train each into a folder of its name in `places.out`, or go on with it, and judge it by its last weights.

    only: names; all where there is none. What has all its steps is only judged. Raises UsageError for a name that is
    not known or variants that need other faces than the recipe, and what `run_training` does.
    """
    known = variants_of(recipe)
    for name in only:
        if name not in known:
            raise unknown_name("variant", name, known)
    for name in only or known:
        variant, folder = known[name], places.out / name
        if (variant.views, variant.frames) != (recipe.views, recipe.frames):
            raise UsageError(f"variant {name} prepares its faces otherwise", "give views and frames to the recipe")
        begun = (folder / PROGRESS).is_file()
        if not begun or load_progress(folder / PROGRESS).step < variant.steps:
            reporter.emit(Informed(f"variant {name}"))
            folder.mkdir(parents=True, exist_ok=True)
            run_training(variant, replace(places, out=folder), reporter, resume=begun, device=device)
        yield _judged(name, variant, known[BASE], replace(places, out=folder), reporter)


def _judged(name: str, recipe: TrainingRecipe, base: TrainingRecipe, places: Places, reporter: Reporter) -> Variant:
    config = with_motion(chosen_config(recipe.config, recipe.network), places.out / LAST)
    faces, _ = prepared_faces(recipe, config, places, reporter)
    network = load_checkpoint(places.out / LAST)
    embedded = config.perception == "embedded"
    trainable, plain = (trainable_of(each.settled(embedded=embedded), network, faces) for each in (recipe, base))
    progress = load_progress(places.out / PROGRESS)
    psnr = {steps: trainable.psnr(steps) for steps in SAMPLED}
    return Variant(
        name, progress.step, flop_of_stages(config, 1)["steps"] / 1e9,
        sum(parameter.numel() for parameter in network.parameters()), progress.wall_s, psnr, plain.psnr_plain(),
    )  # fmt: skip

"""From a recipe and a folder of people to trained weights: what `facex train facex` does."""

from __future__ import annotations

import multiprocessing
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from facexcli.device import choose_device
from facexcli.errors import UsageError, unknown_name
from facexcli.events import Informed, Warned
from facexcli.train.begin import chosen_config, first_network, with_motion
from facexcli.train.facex import PUBLIC, TrainableFaceX, freeze
from facexcli.train.loop import STATE, TrainingOptions, train
from facexcli.train.prepare import Preparation, prepare

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from facexcli.engines.facex.config import FaceXConfig
    from facexcli.engines.facex.model import FaceXNetwork
    from facexcli.events import Reporter
    from facexcli.train.loop import TrainingResult
    from facexcli.train.recipe import TrainingRecipe
    from facexcli.train.shards import PreparedFaces

LAST = "last.safetensors"


@dataclass(frozen=True, slots=True)
class Places:
    """Where a training finds and leaves things. prepared: analysed faces. init: see `first_network`. also_judge: a
    folder of other people to judge by."""

    data: Path
    out: Path
    prepared: Path
    init: Path | None = None
    also_judge: Path | None = None


def run_training(
    recipe: TrainingRecipe,
    places: Places,
    reporter: Reporter,
    *,
    resume: bool = False,
    public: Collection[str] = (),
    limit: int | None = None,
    workers: int = 2,
    device: str = "auto",
    loaders: int | None = None,
    compiled: bool | None = None,
) -> TrainingResult:
    """Prepare, begin or take up again, and train. Raises UsageError, and what `prepare`, `first_network`, `train` do.

    resume: with the state of OUT where it is there, else with its last weights and an optimizer that begins anew.
    public: see `freeze`. limit: of files. workers: processes that prepare; loaders: that make batches, 0 for threads;
    compiled: see `TrainableFaceX.compile`; where None, as suits the device.
    """
    started_s = time.monotonic()
    config = chosen_config(recipe.config, {**recipe.network, "reference": recipe.reference})
    config = with_motion(config, places.out / LAST if resume and (places.out / LAST).is_file() else places.init)
    _check_public(config, public)
    recipe = recipe.settled(embedded=config.perception == "embedded")
    faces, others = prepared_faces(recipe, config, places, reporter, limit, workers)
    reporter.emit(Informed(f"extractors: {', '.join(faces.index.extractors)}"))
    anew = resume and not (places.out / STATE).is_file()
    if anew:
        reporter.emit(Warned(f"{places.out / STATE} is not there: on with the last weights, and a new optimizer"))
    network = first_network(config, places.out / LAST if anew else places.init, places.out, recipe.seed)
    freeze(network, public)
    trainable = trainable_of(recipe, network, faces, others, public)
    if trainable.judged_by_learned:
        reporter.emit(Warned(f"{places.data}: one file is too little to hold somebody out: what is learned is judged"))
    on_cuda = choose_device(device).kind == "cuda"
    if on_cuda if compiled is None else compiled:
        trainable.compile(lambda reason: reporter.emit(Warned(reason)))
    left = None if recipe.minutes is None else recipe.minutes - (time.monotonic() - started_s) / 60
    assert recipe.lr is not None
    options = TrainingOptions(
        recipe.steps, recipe.batch_size, recipe.accumulate, recipe.lr, cooldown=recipe.cooldown,
        ema_decay=recipe.ema, seed=recipe.seed,
        minutes=left, validate_every=recipe.validate_every, resume=resume, anew=anew, device=device,
        told=f"{config.name}, {recipe.told}", processes=_loaders(on_cuda=on_cuda) if loaders is None else loaders,
    )  # fmt: skip
    return train(trainable, places.out, options, reporter)


def _loaders(*, on_cuda: bool) -> int:
    """A graphics card waits for batches; a CPU is busy with the steps themselves."""
    return len(os.sched_getaffinity(0)) if on_cuda and "fork" in multiprocessing.get_all_start_methods() else 0


def prepared_faces(
    recipe: TrainingRecipe,
    config: FaceXConfig,
    places: Places,
    reporter: Reporter,
    limit: int | None = None,
    workers: int = 2,
) -> tuple[PreparedFaces, PreparedFaces | None]:
    """The faces of the data, and those to judge by besides. Raises what `prepare` does."""
    how = Preparation(recipe.views, recipe.frames, limit, workers)
    faces = prepare(places.data, places.prepared, config, how, reporter)
    if places.also_judge is None:
        return faces, None
    others = prepare(places.also_judge, places.prepared / "also-judge", config, replace(how, limit=None), reporter)
    return faces, others


def trainable_of(
    recipe: TrainingRecipe,
    network: FaceXNetwork,
    faces: PreparedFaces,
    others: PreparedFaces | None = None,
    public: Collection[str] = (),
) -> TrainableFaceX:
    """The network as a recipe, in which nothing is left open, has it trained and judged."""
    assert recipe.task is not None and recipe.outside is not None
    return TrainableFaceX(
        network, faces, recipe.task, recipe.outside, sorted(set(public)), recipe.reference, recipe.augment,
        recipe.drop, recipe.half, others,
    )  # fmt: skip


def _check_public(config: FaceXConfig, public: Collection[str]) -> None:
    for name in public:
        if name not in PUBLIC:
            raise unknown_name("part", name, PUBLIC)
        if config.perception == "embedded":
            raise UsageError(f"--train {name}: {config.name!r} has no public parts", "it is trained whole anyway")

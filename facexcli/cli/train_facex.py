"""`facex train facex`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from facexcli.cli.console import VOICE, print_result, reporting
from facexcli.cli.train_difffae import (
    BatchOption,
    DataOption,
    DeviceOption,
    MinutesOption,
    OutOption,
    ResumeOption,
    SeedOption,
    StepsOption,
    check_out,
)
from facexcli.errors import InputError, UsageError, unknown_name

ConfigOption = Annotated[str, typer.Option("--config", metavar="NAME", help="sd15, sd21, compact, tiny or a TOML file")]
InitOption = Annotated[
    Path | None, typer.Option("--init", metavar="PATH", help="a checkpoint to begin with, or Stable Diffusion's folder")
]
TaskOption = Annotated[
    str, typer.Option("--task", metavar="NAME", help="swap, reenact, generalist or mixed; by configuration")
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, metavar="FILES", help="only so many files")]
OutsideOption = Annotated[
    float | None, typer.Option("--outside", min=0, max=1, metavar="W", help="weight of the loss where nothing is made")
]
RateOption = Annotated[float | None, typer.Option("--lr", min=0, metavar="F", help="learning rate; by configuration")]
PublicOption = Annotated[
    list[str] | None, typer.Option("--train", metavar="PART", help="train unet or clip of sd15, sd21 too; repeatable")
]
ReferenceOption = Annotated[
    str, typer.Option("--reference", metavar="cut|paste", help="what swaps see where the face was, as in a run")
]
PreparedOption = Annotated[
    Path | None, typer.Option("--prepared", metavar="DIR", help="where analysed faces are kept (OUT/prepared)")
]
_FROM_SCRATCH_LR, _FINETUNE_LR = 1e-3, 1e-5
_FROM_SCRATCH_OUTSIDE, _FINETUNE_OUTSIDE = 0.1, 1.0
"""The paper weights the whole picture alike; a network that sees the canvas beside the noise need not learn it."""


def train_facex(
    data: DataOption,
    out: OutOption,
    config: ConfigOption = "compact",
    init: InitOption = None,
    task: TaskOption = "",
    steps: StepsOption = 20_000,
    minutes: MinutesOption = None,
    limit: LimitOption = None,
    resume: ResumeOption = False,
    seed: SeedOption = 0,
    batch_size: BatchOption = 32,
    accumulate: Annotated[int, typer.Option("--accumulate", min=1, metavar="N", help="passes for one update")] = 1,
    lr: RateOption = None,
    outside: OutsideOption = None,
    reference: ReferenceOption = "cut",
    train_too: PublicOption = None,
    views: Annotated[int, typer.Option("--views", min=2, metavar="N", help="views of a still")] = 3,
    frames: Annotated[int, typer.Option("--frames", min=2, metavar="N", help="frames of a video")] = 4,
    prepared: PreparedOption = None,
    workers: Annotated[int, typer.Option("--workers", min=1, metavar="N", help="processes that look for faces")] = 2,
    validate_every: Annotated[
        int, typer.Option("--validate-every", min=1, metavar="N", help="steps between checkpoints")
    ] = 500,
    device: DeviceOption = "auto",
) -> None:
    """Train FaceX: one network for swaps, head swaps and reenactments.

    Configurations compact and tiny are trained from nothing; sd15 and sd21
    on top of Stable Diffusion, whose parts stay as they are without --train.

    Example:
      facex train facex --config tiny --data people/ --out net/ --minutes 25
      facex train facex --config sd15 --init sd15/ --data people/ --out net/
    """
    from facexcli.events import Informed, Warned
    from facexcli.settings import SwapReference
    from facexcli.train.begin import chosen_config, first_network
    from facexcli.train.facex import PUBLIC, TrainableFaceX, freeze
    from facexcli.train.loop import TrainingOptions, train
    from facexcli.train.pairs import TASKS
    from facexcli.train.prepare import Preparation, prepare

    if not data.is_dir():
        raise InputError(f"{data}: no such folder", "name one with videos and stills of people with --data DIR")
    chosen = chosen_config(config)
    embedded = chosen.perception == "embedded"
    task = task or ("mixed" if embedded else "generalist")
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    if reference not in get_args(SwapReference):
        raise unknown_name("reference", reference, get_args(SwapReference))
    public = sorted(set(train_too or []))
    for name in public:
        if name not in PUBLIC:
            raise unknown_name("part", name, PUBLIC)
        if embedded:
            raise UsageError(f"--train {name}: {chosen.name!r} has no public parts", "it is trained whole anyway")
    check_out(out, resume)
    learning_rate = lr if lr is not None else _FROM_SCRATCH_LR if embedded else _FINETUNE_LR
    weight = outside if outside is not None else _FROM_SCRATCH_OUTSIDE if embedded else _FINETUNE_OUTSIDE
    options = TrainingOptions(
        steps, batch_size, accumulate, learning_rate, seed=seed, minutes=minutes, validate_every=validate_every,
        resume=resume, device=device, told=f"{chosen.name}, --task {task}, --seed {seed}, --batch-size {batch_size}",
    )  # fmt: skip
    with reporting() as reporter:
        how = Preparation(views, frames, limit, workers)
        faces = prepare(data, prepared or out / "prepared", chosen, how, reporter)
        reporter.emit(Informed(f"extractors: {', '.join(faces.index.extractors)}"))
        network = first_network(chosen, init, out, seed)
        freeze(network, public)
        trainable = TrainableFaceX(network, faces, task, weight, public, cast("SwapReference", reference))
        if trainable.judged_by_learned:
            reporter.emit(Warned(f"{data}: one file is too little to hold somebody out: what is learned is judged"))
        result = train(trainable, out, options, reporter)
    VOICE.detail(f"{result.counters.step} steps; the best was {result.counters.best_step}")
    print_result(str(out / ("best" if public else "best.safetensors")))

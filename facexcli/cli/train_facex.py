"""`facex train facex`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facexcli.cli.console import VOICE, print_result, reporting
from facexcli.cli.train_difffae import DataOption, DeviceOption, MinutesOption, OutOption, ResumeOption, check_out
from facexcli.errors import InputError
from facexcli.events import Informed

RecipeOption = Annotated[
    str | None, typer.Option("--recipe", metavar="NAME|FILE", help="train-compact, or a TOML file with what is below")
]
ConfigOption = Annotated[
    str | None, typer.Option("--config", metavar="NAME", help="sd15, sd21, compact (unless told), tiny or a TOML file")
]
InitOption = Annotated[
    Path | None, typer.Option("--init", metavar="PATH", help="a checkpoint to begin with, or Stable Diffusion's folder")
]
TaskOption = Annotated[
    str | None, typer.Option("--task", metavar="NAME", help="swap, reenact, generalist or mixed; by configuration")
]
AugmentOption = Annotated[
    str | None, typer.Option("--augment", metavar="none|light|strong", help="what chance does to the pictures (light)")
]
ReferenceOption = Annotated[
    str | None,
    typer.Option("--reference", metavar="cut|paste|warp", help="what swaps see of the new face, as in a run"),
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, metavar="FILES", help="only so many files")]
OutsideOption = Annotated[
    float | None, typer.Option("--outside", min=0, max=1, metavar="W", help="weight of the loss where nothing is made")
]
DropOption = Annotated[
    float | None,
    typer.Option("--drop", min=0, max=1, metavar="S", help="share that is told nothing, for guidance (0.1)"),
]
RateOption = Annotated[float | None, typer.Option("--lr", metavar="F", help="learning rate; by configuration")]
CooldownOption = Annotated[
    float | None,
    typer.Option("--cooldown", min=0, max=1, metavar="S", help="last share of --steps, learning ever more slowly (0)"),
]
EmaOption = Annotated[float | None, typer.Option("--ema", metavar="F", help="how slow the average is (0.9999)")]
PublicOption = Annotated[
    list[str] | None, typer.Option("--train", metavar="PART", help="train unet or clip of sd15, sd21 too; repeatable")
]
PreparedOption = Annotated[
    Path | None, typer.Option("--prepared", metavar="DIR", help="where analysed faces are kept (OUT/prepared)")
]
JudgeOption = Annotated[
    Path | None, typer.Option("--also-judge", metavar="DIR", help="other people to judge by: columns val_eval_*")
]
HalfOption = Annotated[bool | None, typer.Option("--half/--no-half", help="write weights in half precision (no)")]
StepsOption = Annotated[int | None, typer.Option("--steps", metavar="N", help="how many steps, all in all (20000)")]
SeedOption = Annotated[int | None, typer.Option("--seed", metavar="N", help="root of all random numbers (0)")]
BatchOption = Annotated[int | None, typer.Option("--batch-size", metavar="N", help="pictures a step (32)")]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, metavar="N", help="processes that look for faces")]


LoadersOption = Annotated[
    int | None, typer.Option("--loaders", min=0, metavar="N", help="processes that make batches; by device")
]
CompileOption = Annotated[
    bool | None, typer.Option("--compile/--no-compile", help="compile the step; with a graphics card it is")
]
AccumulateOption = Annotated[int | None, typer.Option("--accumulate", metavar="N", help="passes for one update (1)")]
ViewsOption = Annotated[int | None, typer.Option("--views", metavar="N", help="views of a still (3)")]
FramesOption = Annotated[int | None, typer.Option("--frames", metavar="N", help="frames of a video (4)")]
ValidateOption = Annotated[
    int | None, typer.Option("--validate-every", metavar="N", help="steps between checkpoints (500)")
]


def train_facex(
    data: DataOption,
    out: OutOption,
    recipe: RecipeOption = None,
    config: ConfigOption = None,
    init: InitOption = None,
    task: TaskOption = None,
    augment: AugmentOption = None,
    reference: ReferenceOption = None,
    steps: StepsOption = None,
    minutes: MinutesOption = None,
    limit: LimitOption = None,
    resume: ResumeOption = False,
    seed: SeedOption = None,
    batch_size: BatchOption = None,
    accumulate: AccumulateOption = None,
    lr: RateOption = None,
    outside: OutsideOption = None,
    drop: DropOption = None,
    cooldown: CooldownOption = None,
    ema: EmaOption = None,
    half: HalfOption = None,
    train_too: PublicOption = None,
    views: ViewsOption = None,
    frames: FramesOption = None,
    prepared: PreparedOption = None,
    also_judge: JudgeOption = None,
    workers: WorkersOption = 2,
    validate_every: ValidateOption = None,
    loaders: LoadersOption = None,
    compiled: CompileOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Train FaceX: one network for swaps, head swaps and reenactments.

    Configurations compact and tiny are trained from nothing; sd15 and sd21
    on top of Stable Diffusion, whose parts stay as they are without --train.
    A run may go on (--resume) with OUT's last.safetensors and progress.json alone.

    Example:
      facex train facex --config tiny --data people/ --out net/ --minutes 25
      facex train facex --recipe train-compact --data people/ --out net/
      facex train facex --config sd15 --init sd15/ --data people/ --out net/
    """
    from facexcli.train.command import Places, run_training
    from facexcli.train.recipe import chosen_recipe

    given = {
        "config": config, "task": task, "augment": augment, "reference": reference, "steps": steps, "minutes": minutes,
        "seed": seed, "batch_size": batch_size, "accumulate": accumulate, "lr": lr, "outside": outside, "drop": drop,
        "cooldown": cooldown, "ema": ema, "half": half, "views": views, "frames": frames,
        "validate_every": validate_every,
    }  # fmt: skip
    for folder in (data, also_judge):
        if folder is not None and not folder.is_dir():
            raise InputError(f"{folder}: no such folder", "name one with videos and stills of people")
    chosen = chosen_recipe(recipe, {name: value for name, value in given.items() if value is not None})
    check_out(out, resume)
    places = Places(data, out, prepared or out / "prepared", init, also_judge)
    with reporting() as reporter:
        if recipe is not None:
            reporter.emit(Informed(f"recipe {recipe}: {chosen.summary or 'no summary'}"))
        result = run_training(
            chosen,
            places,
            reporter,
            resume=resume,
            public=train_too or (),
            limit=limit,
            workers=workers,
            device=device,
            loaders=loaders,
            compiled=compiled,
        )
    VOICE.detail(f"{result.counters.step} steps; the best was {result.counters.best_step}")
    print_result(str(out / ("best" if train_too else "best.safetensors")))

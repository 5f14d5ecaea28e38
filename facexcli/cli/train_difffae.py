"""`facex train difffae-rsc` and `facex train difffae`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facexcli.cli.console import VOICE, print_result, reporting
from facexcli.errors import InputError, OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from facexcli.engines.difffae.config import DiffFAEConfig
    from facexcli.train.portraits import Portraits
    from facexcli.train.trainable import Trainable

ConfigOption = Annotated[str, typer.Option("--config", metavar="NAME", help="what network: paper or tiny")]
DataOption = Annotated[Path, typer.Option("--data", metavar="DIR", help="stills and clips of people")]
OutOption = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="checkpoints, a table and a picture")]
StepsOption = Annotated[int, typer.Option("--steps", min=1, metavar="N", help="how many steps, all in all")]
MinutesOption = Annotated[
    float | None, typer.Option("--minutes", min=0, metavar="M", help="end this run after so many, whatever is left")
]
DeviceOption = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda[:N]", help="where it learns")]
BatchOption = Annotated[int, typer.Option("--batch-size", min=1, metavar="N", help="pictures a step")]
RateOption = Annotated[float, typer.Option("--lr", min=0, metavar="F", help="learning rate")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, metavar="N", help="root of all random numbers")]
LimitOption = Annotated[int, typer.Option("--limit", min=0, metavar="FILES", help="only so many files; 0 all")]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, metavar="N", help="processes that look for faces")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="go on with the training in --out")]
SlotsOption = Annotated[int, typer.Option("--slots", min=0, metavar="N", help="semantic tokens; 0 as configured (4)")]
_WARM_UP, _VALIDATE_EVERY = 50, 200


def difffae_rsc(
    data: DataOption,
    out: OutOption,
    config: ConfigOption = "tiny",
    steps: StepsOption = 20_000,
    minutes: MinutesOption = None,
    batch_size: BatchOption = 16,
    lr: RateOption = 4e-4,
    seed: SeedOption = 0,
    limit: LimitOption = 0,
    workers: WorkersOption = 1,
    resume: ResumeOption = False,
    slots: SlotsOption = 0,
    device: DeviceOption = "auto",
) -> None:
    """Pretrain DiffFAE's regions: slots that take a portrait apart.

    Example:
      facex train difffae-rsc --data portraits/ --out rsc/ --minutes 20
    """
    from facexcli.train.difffae import RegionTraining

    _check_data(data)
    chosen = _config(config, {"slots": slots})
    _run(
        lambda portraits: RegionTraining(chosen, portraits, seed), chosen, data, out, steps=steps,
        minutes=minutes, batch_size=batch_size, lr=lr, seed=seed, limit=limit, workers=workers, resume=resume,
        device=device,
    )  # fmt: skip


def difffae(
    data: DataOption,
    out: OutOption,
    config: ConfigOption = "tiny",
    rsc: Annotated[
        Path | None, typer.Option("--rsc", metavar="FILE", help="regions that `facex train difffae-rsc` made")
    ] = None,
    codec: Annotated[
        Path | None, typer.Option("--codec", metavar="DIR", help="a VQ or KL autoencoder in diffusers' layout")
    ] = None,
    steps: StepsOption = 20_000,
    minutes: MinutesOption = None,
    batch_size: BatchOption = 16,
    lr: RateOption = 1e-4,
    seed: SeedOption = 0,
    limit: LimitOption = 0,
    workers: WorkersOption = 1,
    resume: ResumeOption = False,
    slots: SlotsOption = 0,
    device: DeviceOption = "auto",
    identity: Annotated[
        str, typer.Option("--identity", metavar="dlib|none", help="the identity token; none leaves it out")
    ] = "",
    physical: Annotated[
        str, typer.Option("--physical", metavar="embedded", help="what renders the query's face: the embedded one")
    ] = "",
    attention: Annotated[
        float, typer.Option("--attention", max=100, metavar="W", help="weight of the attention loss; 0 leaves it out")
    ] = -1.0,
) -> None:
    """Train DiffFAE: the denoiser and its regions together.

    Without --rsc the regions are trained from the beginning; --slots, --identity
    and --attention are the paper's ablations.

    Example:
      facex train difffae --rsc rsc/best.safetensors --data portraits/ --out net/ --minutes 20
    """
    from facexcli.engines.difffae.checkpoint import load_regions
    from facexcli.train.difffae import DiffFAETraining, open_codec

    _check_data(data)
    regions = load_regions(rsc) if rsc is not None else None
    chosen = _config(config, {"slots": slots, "identity": identity, "physical": physical, "attention": attention})
    if regions is not None and (regions.config.slots, regions.config.encoder) != (chosen.slots, chosen.encoder):
        raise UsageError(f"--rsc {rsc} has other slots than configuration {chosen.name!r}", "train it with the same")
    if chosen.identity == "arcface" or chosen.physical == "flame":
        raise UsageError(
            f"configuration {chosen.name!r} looks at faces with ArcFace and FLAME, which are not prepared here",
            "--identity dlib --physical embedded takes what comes with facex",
        )
    _run(
        lambda portraits: DiffFAETraining(chosen, portraits, seed, regions, open_codec(chosen, codec)),
        chosen, data, out, steps=steps, minutes=minutes, batch_size=batch_size, lr=lr, seed=seed, limit=limit,
        workers=workers, resume=resume,
        device=device,
    )  # fmt: skip


def check_out(out: Path, resume: bool) -> None:
    """The folder is there, and holds a training if one is to go on. Raises UsageError and OutputError."""
    begun = any((out / name).is_file() for name in ("last.state", "progress.json"))
    if begun != resume:
        raise UsageError(
            f"{out} holds a training already" if begun else f"{out}: there is no training to resume",
            "go on with --resume, or name another --out" if begun else "leave out --resume",
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made: {error.strerror}", "name another place with --out") from error


def _check_data(data: Path) -> None:
    """Before anything is loaded. Raises InputError."""
    if not data.is_dir():
        raise InputError(f"{data}: no such folder", "name one with stills or clips of people with --data DIR")


def _config(name: str, changes: dict[str, object]) -> DiffFAEConfig:
    """A configuration with the user's changes; those that are empty, 0 or negative are none.

    Raises UsageError for values that it cannot have.
    """
    from pydantic import ValidationError

    from facexcli.engines.difffae.config import DiffFAEConfig, config_named

    values = config_named(name).model_dump()
    if changes.get("slots"):
        values["slots"]["count"] = changes["slots"]
    for key, option in (("identity", "identity"), ("physical", "physical")):
        if changes.get(option):
            values[key] = changes[option]
    weight = changes.get("attention")
    if isinstance(weight, float) and weight >= 0:
        values["attention_weight"] = weight
    try:
        return DiffFAEConfig.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise UsageError(f"configuration {name!r}: {where}: {problem['msg']}", "see `facex train --help`") from error


def _run(
    make: Callable[[Portraits], Trainable], config: DiffFAEConfig, data: Path, out: Path, *, steps: int,
    minutes: float | None, batch_size: int, lr: float, seed: int, limit: int, workers: int, resume: bool, device: str,
) -> None:  # fmt: skip
    """Prepare the faces, train, and say where the best is."""
    from facexcli.events import Warned
    from facexcli.train.loop import TrainingOptions, train
    from facexcli.train.portraits import prepare

    check_out(out, resume)
    with reporting() as reporter:
        portraits = prepare(data, config.size_px, limit, workers, reporter)
        if portraits.skipped:
            names = ", ".join(Path(name).name for name in portraits.skipped[:5])
            more = f" and {len(portraits.skipped) - 5} more" if len(portraits.skipped) > 5 else ""
            reporter.emit(Warned(f"{len(portraits.skipped)} files without a face were left out: {names}{more}"))
        options = TrainingOptions(
            steps, batch_size, learning_rate=lr, warmup_steps=_WARM_UP, weight_decay=0.0, seed=seed, minutes=minutes,
            validate_every=_VALIDATE_EVERY, resume=resume, device=device, told=config.model_dump_json(),
        )  # fmt: skip
        result = train(make(portraits), out, options, reporter)
    VOICE.detail(f"{result.counters.step} steps; the best was {result.counters.best_step}")
    print_result(str(out / "best.safetensors"))

"""What a training needs to go on where it stopped: one safetensors file, with its counters in the header. No pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from facexcli.errors import InputError, OutputError, UsageError
from facexcli.media.atomic import AtomicFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from torch import Tensor, nn

FORMAT = "facex-training"
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True)
class Counters:
    """How far a training is. step: updates that were made; samples: that they saw. best_score: see `Verdict`;
    best_step: when. wall_s: of all runs together. told: what it was asked for, in words that a later run must agree
    with."""

    step: int = 0
    samples: int = 0
    best_score: float = float("-inf")
    best_step: int = 0
    wall_s: float = 0.0
    told: str = ""

    def how_far(self, steps: int, made: int, wall_s: float) -> str:
        """Of `steps` in all, in words, after a run that `made` so many in `wall_s`."""
        told = f"step {self.step} of {steps} ({self.step / steps:.1%}), {self.samples} samples"
        if self.best_step:
            told += f"; best score {self.best_score:.2f}, at step {self.best_step}"
        if made and self.step < steps:
            told += f"; about {(steps - self.step) * wall_s / made / 60:.0f} minutes left at this pace"
        return told


class MovingAverage:
    """The exponential moving average of the trained parameters (Polyak averaging), with a warm-up.

    decay_t = min(decay, (1 + t) / (10 + t)): early on a network changes too fast to remember its beginning.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._decay = decay
        self._live = dict(parameters)
        self.values = {name: parameter.detach().clone() for name, parameter in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After update number `step` (from 1) of the parameters."""
        share = 1 - min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.values.values()), [p.detach() for p in self._live.values()], share)

    def applied(self) -> AbstractContextManager[None]:
        """Inside, the network has the averaged parameters."""
        return _Swapped(self._live, self.values)


class _Swapped:
    """Exchanges the contents of parameters and of tensors, and back."""

    def __init__(self, live: Mapping[str, nn.Parameter], other: Mapping[str, Tensor]) -> None:
        self._live, self._other = live, other

    def __enter__(self) -> None:
        for name, parameter in self._live.items():
            parameter.data, self._other[name].data = self._other[name].data, parameter.data

    def __exit__(self, *_: object) -> None:
        self.__enter__()


def trained_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """By name, in the network's order. Raises ValueError where there is none."""
    found = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    if not found:
        raise ValueError("nothing of the network is to be trained")
    return found


def save_state(
    path: Path,
    counters: Counters,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    average: MovingAverage,
) -> None:
    """Write everything, or nothing. Raises OutputError, OSError and SafetensorError where that fails."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        tensors[f"live/{name}"] = parameter.detach()
        tensors[f"average/{name}"] = average.values[name]
        for moment in _MOMENTS:
            if parameter in optimizer.state:
                tensors[f"{moment}/{name}"] = optimizer.state[parameter][moment]
    host = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": FORMAT, "counters": json.dumps(asdict(counters))}
    with AtomicFile(path) as file:
        mode = file.temporary.stat().st_mode
        save_file(host, str(file.temporary), metadata)
        file.temporary.chmod(mode)
        file.commit()


def load_state(
    path: Path,
    told: str,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    average: MovingAverage,
) -> Counters:
    """Take up what `save_state` wrote, in place; returns where that was.

    Raises InputError for a file that is missing, damaged or of another network, UsageError for a training that was
    asked for in other words than `told`.
    """
    try:
        with safe_open(str(path), "pt") as file:
            counters = _counters(file.metadata() or {}, path)
            if counters.told != told:
                raise UsageError(
                    f"{path}: that training was {counters.told}, and this is to be {told}",
                    "repeat its options, or take another folder with --out",
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        reason = "no training was saved there" if not path.is_file() else "damaged, or cut short"
        raise InputError(f"{path}: {reason}", "leave out --resume to start anew") from error
    _put_back(path, tensors, parameters, optimizer, average, counters.step)
    return counters


def save_progress(path: Path, counters: Counters) -> None:
    """The counters alone, as JSON: with the latest weights beside it, a later run can go on without the state."""
    with AtomicFile(path) as file:
        file.temporary.write_text(json.dumps(asdict(counters), indent=1), "utf-8")
        file.commit()


def load_progress(path: Path) -> Counters:
    """What `save_progress` wrote. Raises InputError."""
    try:
        return _counters_of(path.read_text("utf-8"))
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not the progress of a training", "leave out --resume to start anew") from error


def _counters(metadata: Mapping[str, str], path: Path) -> Counters:
    try:
        if metadata["format"] != FORMAT:
            raise ValueError(metadata["format"])
        return _counters_of(metadata["counters"])
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not the state of a training", "leave out --resume to start anew") from error


def _counters_of(text: str) -> Counters:
    values: dict[str, Any] = json.loads(text)
    return Counters(**{field.name: values[field.name] for field in fields(Counters)})


@torch.no_grad()
def _put_back(
    path: Path,
    tensors: Mapping[str, Tensor],
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    average: MovingAverage,
    step: int,
) -> None:
    has_moments = any(name.startswith(_MOMENTS[0]) for name in tensors)
    for name, parameter in parameters.items():
        for wanted in _names(name, has_moments):
            found = tensors.get(wanted)
            if found is None or found.shape != parameter.shape:
                raise InputError(f"{path}: of another network: {name}", "repeat the options of that training")
        parameter.copy_(tensors[f"live/{name}"])
        average.values[name].copy_(tensors[f"average/{name}"])
        if has_moments:
            optimizer.state[parameter] = {
                "step": torch.tensor(float(step)),
                **{moment: tensors[f"{moment}/{name}"].to(parameter.device) for moment in _MOMENTS},
            }


def _names(name: str, has_moments: bool) -> Iterator[str]:
    yield f"live/{name}"
    yield f"average/{name}"
    if has_moments:
        yield from (f"{moment}/{name}" for moment in _MOMENTS)


def could_not_save(path: Path, error: Exception, step: int) -> OutputError:
    """A full disk and the like, in one line."""
    reason = (getattr(error, "strerror", None) or str(error).splitlines()[0]).rstrip(".")
    return OutputError(
        f"{path} cannot be written: {reason}",
        f"make room there; what was saved before step {step} goes on with --resume",
    )

"""Which device an engine runs on. torch is imported only where it is installed and a CUDA device is in question."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Literal

from facexcli.errors import DeviceError, UsageError


@dataclass(frozen=True, slots=True)
class Device:
    """`name` is cpu or cuda:N, as torch spells it; `reason` says why it was chosen, for the user."""

    kind: Literal["cpu", "cuda"]
    index: int
    reason: str

    @property
    def name(self) -> str:
        return "cpu" if self.kind == "cpu" else f"cuda:{self.index}"


def choose_device(wanted: str = "auto") -> Device:
    """The device for `--device auto|cpu|cuda[:N]`; auto takes the first CUDA device, else the CPU, and says why.

    Raises UsageError for another name, and DeviceError for a CUDA device that is not there.
    """
    if wanted == "cpu":
        return Device("cpu", 0, "asked for")
    match = re.fullmatch(r"auto|cuda(?::(\d+))?", wanted)
    if match is None:
        raise UsageError(f"unknown device {wanted!r}", "write auto, cpu, cuda or cuda:N")
    count, absence = _cuda_devices()
    if wanted == "auto":
        return Device("cuda", 0, "first CUDA device") if count else Device("cpu", 0, absence)
    index = int(match[1] or 0)
    if index >= count:
        raise DeviceError(f"no device {wanted}: {absence or f'there are {count} CUDA devices, counted from 0'}")
    return Device("cuda", index, "asked for")


def devices_of(wanted: str) -> tuple[str, ...]:
    """The names in a `--device` that lists several, one for each worker; the first is that of a run without workers."""
    return tuple(wanted.split(","))


def _cuda_devices() -> tuple[int, str]:
    """How many CUDA devices torch sees, and why there is none."""
    if find_spec("torch") is None:
        return 0, "torch is not installed"
    cuda = import_module("torch").cuda
    if not cuda.is_available():
        return 0, "torch finds no CUDA device"
    return int(cuda.device_count()), ""

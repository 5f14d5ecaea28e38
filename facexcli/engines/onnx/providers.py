"""Where onnxruntime runs a graph: the execution providers for `--device`, and why these."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from facexcli.errors import DeviceError, UsageError, WeightsError

CPU = "CPUExecutionProvider"
_CUDA, _TENSORRT, _COREML = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CoreMLExecutionProvider"
_BY_DEVICE = {"cuda": (_CUDA, CPU), "tensorrt": (_TENSORRT, _CUDA, CPU), "coreml": (_COREML, CPU)}
_INSTALL = "pip install 'facexcli[onnx]'"


@dataclass(frozen=True, slots=True)
class Providers:
    """`names`, the preferred one first, as `weights.sessions` takes them; `reason` says why, for the user.

    `memory` is where onnxruntime keeps tensors for them: cpu or cuda, of number `index`.
    """

    names: tuple[str, ...]
    reason: str
    memory: str = "cpu"
    index: int = 0

    @property
    def is_cpu(self) -> bool:
        return self.names == (CPU,)


def providers_for(device: str) -> Providers:
    """The providers for `auto`, `cpu`, `coreml`, `cuda[:N]` or `tensorrt[:N]`.

    `auto` takes CUDA where this onnxruntime has it and a card is there, then CoreML, then the CPU. TensorRT compiles a
    graph for minutes before the first face, so that it is only taken when it is asked for.

    Raises WeightsError without onnxruntime, UsageError for another name, DeviceError for what is not there.
    """
    offered = available()
    match = re.fullmatch(r"(auto|cpu|coreml|cuda|tensorrt)(?::(\d+))?", device)
    if match is None or (match[2] and match[1] not in ("cuda", "tensorrt")):
        raise UsageError(f"unknown device {device!r}", "write auto, cpu, coreml, cuda[:N] or tensorrt[:N]")
    if device == "auto":
        return _best(offered)
    if device == "cpu":
        return Providers((CPU,), "the CPU, as asked")
    names, index = _BY_DEVICE[match[1]], int(match[2] or 0)
    if names[0] not in offered:
        raise DeviceError(f"--device {device}: this onnxruntime has no {names[0]}", f"it has {', '.join(offered)}")
    return _on(names, index, f"{match[1]}, as asked")


@cache
def available() -> tuple[str, ...]:
    """What the installed onnxruntime was built with. Raises WeightsError where there is none."""
    if find_spec("onnxruntime") is None:
        raise WeightsError("ONNX engines need onnxruntime, which is not installed", _INSTALL)
    try:
        import onnxruntime
    except ImportError as error:
        raise WeightsError(f"the package onnxruntime is broken: {error}", _INSTALL) from error
    return tuple(onnxruntime.get_available_providers())


def _best(offered: tuple[str, ...]) -> Providers:
    if _CUDA in offered and _has_nvidia_card():
        return _on(_BY_DEVICE["cuda"], 0, "the first CUDA device")
    if _COREML in offered:
        return _on(_BY_DEVICE["coreml"], 0, "CoreML")
    return Providers((CPU,), "the CPU: onnxruntime has nothing faster here")


def _has_nvidia_card() -> bool:
    """Whether a driver offers one; onnxruntime only tells what it was built with."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or which("nvidia-smi") is not None


def _on(names: tuple[str, ...], index: int, reason: str) -> Providers:
    if _CUDA not in names:
        return Providers(names, reason)
    numbered = tuple(name if name == CPU or not index else f"{name}:{index}" for name in names)
    return Providers(numbered, reason, "cuda", index)

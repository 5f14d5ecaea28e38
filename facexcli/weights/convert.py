"""Turns a pickle into safetensors, in a child process, which alone ever opens the pickle.

`torch.load(weights_only=True)` refuses everything but tensors and plain containers; should that ever fail to hold, what
breaks out has no part of the parent's memory.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

from facexcli.errors import WeightsError

_TIMEOUT_S = 900


def is_pickle(path: Path) -> bool:
    """Whether a file begins like what torch.save or pickle writes: a zip, or a pickle of protocol 2 and later."""
    with path.open("rb") as stream:
        head = stream.read(4)
    return head == b"PK\x03\x04" or (head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"))


def demand_converter(pickle: object) -> None:
    """Raises WeightsError where `pickle` could not be converted, because torch or safetensors is not installed."""
    for module in ("torch", "safetensors"):
        if importlib.util.find_spec(module) is None:
            hint = "pip install 'facexcli[diffusion]'; or bring the weights as safetensors"
            raise WeightsError(f"{pickle}: is a pickle, and reading it needs {module}", hint)


def convert(pickle: Path, safetensors: Path, part: str = "") -> tuple[str, ...]:
    """Write the tensors of `pickle` to `safetensors`, nested tables and lists as dotted names; it appears when whole.

    part: the outermost table that is wanted, such as one network of a checkpoint that holds an optimizer too; "" for
    everything. Returns the names of what was dropped: what is no tensor, and other tables. Raises WeightsError: torch
    or safetensors is not installed, or the pickle holds more than tensors and plain containers, or no such part.
    """
    demand_converter(pickle)
    temporary = safetensors.with_name(f".{safetensors.name}.{secrets.token_hex(4)}.part")
    command = [sys.executable, "-P", "-m", "facexcli.weights.convert", str(pickle), str(temporary), part]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, stdin=subprocess.DEVNULL)
        if done.returncode or not temporary.is_file():
            lines = done.stderr.strip().splitlines() or [f"the converter ended with {done.returncode}"]
            raise WeightsError(
                f"{pickle}: cannot be converted: {lines[-1]}", "bring it as safetensors, from somebody whom you trust"
            )
        os.replace(temporary, safetensors)
        return tuple(json.loads(done.stdout))
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"{pickle}: is not converted after {_TIMEOUT_S} s", "use another file") from error
    except OSError as error:
        raise WeightsError(f"{safetensors} cannot be written: {error.strerror}", "make room there") from error
    finally:
        temporary.unlink(missing_ok=True)


def _convert_here(pickle: Path, safetensors: Path, part: str) -> int:
    """What the child does."""
    import torch
    from safetensors.torch import save_file

    try:
        loaded = _loaded(pickle)
    except Exception as error:
        if "central directory" in str(error):  # torch's archives have it at their end
            sys.stderr.write("it is cut short, or damaged")
            return 1
        named = re.search(r"(?:GLOBAL|it holds) ([\w.]+)", str(error))
        why = f"it holds {named[1]}" if named else f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
        sys.stderr.write(f"only tensors and plain containers are opened: {why}")
        return 1
    everything = _flat(loaded, "")
    flat = [pair for pair in everything if not part or pair[0].startswith(f"{part}.")]
    tensors = {name: value.contiguous().clone() for name, value in flat if torch.is_tensor(value)}
    if not tensors:
        sys.stderr.write(f"it holds no tensors{f' of {part}' if part else ''}")
        return 1
    save_file(tensors, str(safetensors))
    tables = dict.fromkeys(name.partition(".")[0] for name, _ in everything) if part else {}
    json.dump(
        [name for name, value in flat if not torch.is_tensor(value)] + [name for name in tables if name != part],
        sys.stdout,
    )
    return 0


def _loaded(pickle: Path) -> Any:
    """What torch wrote; or else the arrays of a plain pickle, which face models are published as, as tensors."""
    import torch

    try:
        return torch.load(pickle, map_location="cpu", weights_only=True)
    except Exception:
        with pickle.open("rb") as stream:
            if stream.read(1) != b"\x80":
                raise
            stream.seek(0)
            import numpy as np

            from facexcli.weights.numpy_pickle import load_arrays

            found = load_arrays(stream)
    if not isinstance(found, dict):
        raise TypeError("it is no table of arrays")
    tensors = {}
    for name, value in found.items():
        is_number = isinstance(value, np.ndarray) and value.dtype.kind in "fiu"
        kind = np.float32 if is_number and value.dtype.kind == "f" else np.int64
        tensors[name] = torch.from_numpy(value.astype(kind)) if is_number else value
    return tensors


def _flat(value: Any, name: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict | list | tuple) and len(value):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [pair for key, item in items for pair in _flat(item, f"{name}.{key}" if name else str(key))]
    return [(name or "tensor", value)]


if __name__ == "__main__":
    sys.exit(_convert_here(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))

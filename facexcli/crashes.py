"""What is said of a process that died in native code, and what is cleared away behind it."""

from __future__ import annotations

import os
import re
import shutil
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from facexcli.errors import DeviceError, FacexError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SHOWN_INPUTS = 3
# Which library works for which of our modules.
_SUSPECTS = (
    ("media/image.py", "the picture decoder (Pillow)"),
    ("media/writer.py", "the video encoder (FFmpeg)"),
    ("media/encode", "the video encoder (FFmpeg)"),
    ("media/", "the video decoder (FFmpeg)"),
    ("provenance/", "the manifest reader (c2pa)"),
    ("faces/dlib_backend.py", "the face finder (dlib)"),
    ("faces/insightface_backend.py", "the face finder (ONNX Runtime)"),
)


class NativeCrash(Exception):
    """The stacks of the worker's threads when it died; shown with -v."""


def crash_error(code: int, inputs: Sequence[str], stacks: str) -> FacexError:
    """The error for a process that ended with this code, -n where signal n killed it.

    `inputs` it was reading, `stacks` is what faulthandler wrote (`facexcli.journal` keeps account of both).
    InputError for a crash, which an input has most likely caused; DeviceError where the system killed it.
    """
    name, meaning = _named(code)
    if name == "SIGKILL":
        return DeviceError(
            f"the system killed facex (SIGKILL), most likely because memory ran out; {_in_work(inputs)}",
            "close other programs, use --detail 0.4, or give smaller pictures",
        )
    crash = f"{_suspect(stacks)} crashed ({meaning}); {_in_work(inputs)}"
    error = InputError(crash, "convert the file with another program and try again; -v shows where it crashed")
    error.__cause__ = NativeCrash(stacks.strip())
    return error


def signal_name(code: int) -> str:
    """The signal that an exit code stands for; "" for none."""
    return _named(code)[0]


def remove_temporaries(paths: Iterable[str]) -> None:
    """Files and folders that only the dead process knew."""
    for path in paths:
        _remove(path)


def _remove(path: str) -> None:
    """A file or a folder that only the worker knew. One that was finished has another name by now."""
    with suppress(OSError):
        os.unlink(path)
        return
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)


def _named(code: int) -> tuple[str, str]:
    """A signal's name, and what it means in words with its name."""
    try:
        number = signal.Signals(-code)
    except ValueError:
        return "", f"exit code {code:#x}" if code > 0 else f"signal {-code}"
    words = (signal.strsignal(number) or number.name).split(" (")[0].lower()
    return number.name, f"{number.name}, {words}"


def _suspect(stacks: str) -> str:
    """Who was at work in the thread that crashed, as far as faulthandler can tell."""
    _, _, crashed = stacks.partition("Current thread")
    found = re.search(r'File ".*?facexcli[/\\]([\w/\\]+\.py)", line', crashed.partition("\n\n")[0])
    if found is None:
        return "native code"
    module = found[1].replace("\\", "/")
    return next((name for start, name in _SUSPECTS if module.startswith(start)), f"native code under {module}")


def _in_work(inputs: Sequence[str]) -> str:
    if not inputs:
        return "no input had been read"
    names = [os.path.relpath(path) if path.startswith(os.getcwd() + os.sep) else path for path in inputs]
    more = f" and {len(names) - _SHOWN_INPUTS} more" if len(names) > _SHOWN_INPUTS else ""
    return f"inputs in work: {', '.join(names[:_SHOWN_INPUTS])}{more}"

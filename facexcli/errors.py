"""The error tree of facex. Every error says what is wrong, with which file, and what to do about it.

    FacexError                  exit code 1, never raised itself
    ├── UsageError              2    an option, a name or a combination that cannot be meant
    ├── InputError              3    a file that is missing, unreadable, damaged or of the wrong kind
    ├── NoFaceError             4    readable, but without the face that the task needs
    ├── WeightsError            5    weights that are absent, damaged or not accepted
    ├── DeviceError             6    a device that is absent, or out of memory
    ├── OutputError             7    a place that cannot be written, or must not be
    ├── BatchError              8    some items of a batch failed
    └── Interrupted             130  the user asked to stop

`facex verify` answers with two more: 1 where nothing was found, 9 where a file was changed.

Foreign exceptions (PyAV, OpenCV, dlib, OSError) are translated where they arise: in `media`, `faces`, `weights` and
`device`. Only `cli.app` catches these classes and turns them into two lines and an exit code.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BatchError",
    "DeviceError",
    "FacexError",
    "InputError",
    "Interrupted",
    "NoFaceError",
    "OutputError",
    "UsageError",
    "WeightsError",
    "unknown_name",
]


class FacexError(Exception):
    """Base of all errors that a user can cause or cure.

    Args:
        message: one line: what is wrong with which file.
        hint: one line: what to do; the class's default when empty.
    """

    exit_code: ClassVar[int] = 1
    default_hint: ClassVar[str] = "run the command again with -v for the details"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.default_hint


class UsageError(FacexError):
    exit_code = 2
    default_hint = "see `facex --help`"


class InputError(FacexError):
    exit_code = 3
    default_hint = "check that the file exists, is complete and is an image or a video"


class NoFaceError(FacexError):
    exit_code = 4
    default_hint = "use a sharper picture with a face turned to the camera, or lower --min-face"


class WeightsError(FacexError):
    exit_code = 5
    default_hint = "see `facex doctor`"


class DeviceError(FacexError):
    exit_code = 6
    default_hint = "see `facex doctor`, or use --device cpu"


class OutputError(FacexError):
    exit_code = 7
    default_hint = "choose another place with -o"


class BatchError(FacexError):
    exit_code = 8
    default_hint = "see the results file for the items that failed"


class Interrupted(FacexError):
    exit_code = 130
    default_hint = "nothing was written; run the same command to start again"


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not known, with the nearest known one as its hint."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
    return UsageError(f"unknown {kind} {name!r}", hint)

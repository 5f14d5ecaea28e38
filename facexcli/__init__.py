"""facex edits faces in video: swap, reenact, edit.

    import facexcli
    result = facexcli.swap(["alice.jpg"], "clip.mp4", "out.mp4", settings=facexcli.resolve({"crf": 16}, "quality"))
    print(result.output, result.swap_rate)

What is listed in `__all__` is the Python API; everything else may change. A name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from facexcli.api import PersonResult, RunResult, analyse, reenact, swap
    from facexcli.config import resolve
    from facexcli.errors import (
        DeviceError,
        FacexError,
        InputError,
        Interrupted,
        NoFaceError,
        OutputError,
        UsageError,
        WeightsError,
    )
    from facexcli.evaluate.report.report import write_report
    from facexcli.events import Event, Reporter, SilentReporter
    from facexcli.settings import Settings
    from facexcli.types import Analysis, Face, MediaInfo, Person, Shot, Track

_HOMES = {
    "facexcli.api": ("PersonResult", "RunResult", "analyse", "reenact", "swap"),
    "facexcli.config": ("resolve",),
    "facexcli.errors": (
        "DeviceError", "FacexError", "InputError", "Interrupted", "NoFaceError", "OutputError", "UsageError",
        "WeightsError",
    ),
    "facexcli.evaluate.report.report": ("write_report",),
    "facexcli.events": ("Event", "Reporter", "SilentReporter"),
    "facexcli.settings": ("Settings",),
    "facexcli.types": ("Analysis", "Face", "MediaInfo", "Person", "Shot", "Track"),
}  # fmt: skip
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Analysis",
    "DeviceError",
    "Event",
    "Face",
    "FacexError",
    "InputError",
    "Interrupted",
    "MediaInfo",
    "NoFaceError",
    "OutputError",
    "Person",
    "PersonResult",
    "Reporter",
    "RunResult",
    "Settings",
    "Shot",
    "SilentReporter",
    "Track",
    "UsageError",
    "WeightsError",
    "__version__",
    "analyse",
    "reenact",
    "resolve",
    "swap",
    "write_report",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""What a run tells about itself while it goes on. The library emits events to a `Reporter`; it never prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

StageName = Literal[
    "prepare", "analyse", "analyse-driving", "analyse-result", "measure", "render", "finish", "report", "download",
    "hash", "jobs", "train",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins. `total` counts `unit`s; None where the header does not tell."""

    stage: StageName
    total: int | None = None
    unit: str = "frames"


@dataclass(frozen=True, slots=True)
class StageAdvanced:
    """`done` of the stage's units are finished; sent at most a few times a second."""

    stage: StageName
    done: int
    fps: float


@dataclass(frozen=True, slots=True)
class StageFinished:
    """`done` units took `wall_s` seconds."""

    stage: StageName
    done: int
    wall_s: float


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that the user should know and that does not stop the run: every fallback says so here."""

    message: str


@dataclass(frozen=True, slots=True)
class Informed:
    """A choice that was made for the user: the engine, the perception models, the encoder."""

    message: str


Event = StageStarted | StageAdvanced | StageFinished | Warned | Informed


class Reporter(Protocol):
    """Receives events, from any thread, and returns at once."""

    def emit(self, event: Event) -> None: ...


class SilentReporter:
    """Drops everything; the default of the Python API."""

    def emit(self, event: Event) -> None:
        del event

"""What a report tells, as values; how it looks is for `page` and its parts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from facexcli.evaluate.report.choice import Span, spans_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from facexcli.evaluate.report.pictures import Pictures
    from facexcli.evaluate.values import DoubtfulFrame, Evaluation
    from facexcli.pipeline.result import RunResult
    from facexcli.types import Array


@dataclass(frozen=True)
class Content:
    """Everything on the page. `run` or `evaluation` may be missing; `problems` say in words why something is.

    Attributes:
        frame_count: of the result.
        duration_s: of the result; None for one picture.
        doubtful: frames that somebody should look at, of the evaluation and of the run.
        painted: what `painted_strengths` says.
        made_at: in UTC.
    """

    result: Path
    canvas: Path
    driving: Path | None
    sources: tuple[Path, ...]
    frame_count: int
    duration_s: float | None
    run: RunResult | None
    evaluation: Evaluation | None
    problems: tuple[str, ...]
    doubtful: tuple[DoubtfulFrame, ...]
    painted: Mapping[str, Array]
    pictures: Pictures
    versions: Mapping[str, str]
    made_at: datetime

    @cached_property
    def spans(self) -> list[Span]:
        """All that is doubtful, in order of time; not everything may have a picture."""
        return spans_of(self.doubtful)

    @property
    def task(self) -> str:
        return "swap" if self.driving is None else "reenactment"

"""What a report tells, as values; how it looks is for `page` and its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from facexcli.evaluate.report.choice import Span
    from facexcli.evaluate.report.pictures import Pictures
    from facexcli.evaluate.values import Evaluation
    from facexcli.pipeline.result import RunResult


@dataclass(frozen=True, slots=True)
class Content:
    """Everything on the page. `run` or `evaluation` may be missing; `problems` say in words why something is.

    Attributes:
        frame_count: of the result.
        duration_s: of the result; None for one picture.
        spans: all that is doubtful, though not everything may have a picture.
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
    spans: tuple[Span, ...]
    pictures: Pictures
    versions: Mapping[str, str]
    made_at: datetime

    @property
    def task(self) -> str:
        return "swap" if self.driving is None else "reenactment"

"""Which frames of a result a report shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.evaluate.values import DoubtfulFrame
    from facexcli.types import Box

MOST_SAMPLES = 8
MOST_SPANS = 24
_FROM_DOUBTS = 3
"""Samples that show a doubtful frame, if there is one; the others are spread over the clip."""
_BETWEEN_FRAMES = 3
"""Doubtful frames of a person with at most so many others between them are one span."""
_NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Span:
    """Doubtful frames of one person that follow each other, from `first` to `last`.

    `shown` is the one with the most reasons, near their middle, with its face at `box_px` (None for not known).
    """

    person: str
    first: int
    last: int
    start_s: float
    end_s: float
    count: int
    reasons: tuple[str, ...]
    shown: int
    box_px: Box | None


def spans_of(doubtful: Sequence[DoubtfulFrame]) -> list[Span]:
    """Doubtful frames, joined where they follow each other; in order of time."""
    spans = []
    ordered = sorted(doubtful, key=lambda doubt: (doubt.person, doubt.frame_index))
    for _, own in groupby(ordered, key=lambda doubt: doubt.person):
        run: list[DoubtfulFrame] = []
        for doubt in own:
            if run and doubt.frame_index - run[-1].frame_index > _BETWEEN_FRAMES + 1:
                spans.append(_span(run))
                run = []
            run.append(doubt)
        spans.append(_span(run))
    return sorted(spans, key=lambda span: (span.first, span.person))


def _span(run: Sequence[DoubtfulFrame]) -> Span:
    reasons: dict[str, str] = {}
    for doubt in run:
        for reason in doubt.reason.split("; "):
            reasons.setdefault(_NUMBER.sub("", reason), reason)  # not the same reason again for every frame's figures
    middle = len(run) // 2
    _, shown = min(enumerate(run), key=lambda item: (-item[1].reason.count("; "), abs(item[0] - middle)))
    return Span(
        shown.person,
        run[0].frame_index,
        run[-1].frame_index,
        run[0].time_s,
        run[-1].time_s,
        len(run),
        tuple(reasons.values()),
        shown.frame_index,
        shown.box_px,
    )


def shown_spans(spans: Sequence[Span]) -> list[Span]:
    """The longest, at most `MOST_SPANS`, in order of time."""
    longest = set(sorted(spans, key=lambda span: -span.count)[:MOST_SPANS])
    return [span for span in spans if span in longest]


def choose_samples(frame_count: int, spans: Sequence[Span]) -> list[int]:
    """The frames that are shown whole: spread evenly over the clip, some moved to where the longest spans are."""
    if frame_count <= MOST_SAMPLES:
        return list(range(frame_count))
    even = [int((step + 0.5) * frame_count / MOST_SAMPLES) for step in range(MOST_SAMPLES)]
    doubtful: list[int] = []
    for span in sorted(spans, key=lambda span: -span.count)[:_FROM_DOUBTS]:
        if span.shown not in doubtful:
            even.remove(min(even, key=lambda frame: abs(frame - span.shown)))
            doubtful.append(span.shown)
    return sorted({*even, *doubtful})

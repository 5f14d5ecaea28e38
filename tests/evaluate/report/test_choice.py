"""Which frames are shown."""

from __future__ import annotations

from itertools import pairwise

from facexcli.evaluate.report.choice import MOST_SAMPLES, MOST_SPANS, choose_samples, shown_spans, spans_of
from facexcli.evaluate.values import DoubtfulFrame


def _doubts(person: str, *frames: int, reason: str = "the face flickers") -> list[DoubtfulFrame]:
    return [DoubtfulFrame(frame, frame / 25, person, reason, (0.0, 0.0, 1.0, float(frame))) for frame in frames]


def test_neighbouring_frames_of_a_person_are_one_span() -> None:
    doubts = [
        *_doubts("Anna", 10, 11, 14),
        *_doubts("Bo", 12, reason="no face found in the result; the face flickers"),
        *_doubts("Anna", 40),
    ]
    spans = spans_of(doubts)
    assert [(span.person, span.first, span.last, span.count) for span in spans] == [
        ("Anna", 10, 14, 3),
        ("Bo", 12, 12, 1),
        ("Anna", 40, 40, 1),
    ]
    assert spans[0].shown == 11
    assert spans[0].box_px == (0.0, 0.0, 1.0, 11.0), "the face of the frame that is shown"
    assert spans[1].reasons == ("no face found in the result", "the face flickers")


def test_a_span_shows_its_worst_frame_and_tells_each_reason_once() -> None:
    doubts = [
        *_doubts("A", 1, 2, 3, reason="the head is turned 9 degrees from where it should be"),
        *_doubts("A", 4, reason="the head is turned 12 degrees from where it should be; the face flickers"),
    ]
    (span,) = spans_of(doubts)
    assert span.shown == 4
    assert span.reasons == ("the head is turned 9 degrees from where it should be", "the face flickers")


def test_of_many_spans_the_longest_are_shown_in_order_of_time() -> None:
    doubts = [doubt for start in range(0, 4000, 100) for doubt in _doubts("A", *range(start, start + 1 + start // 100))]
    spans = spans_of(doubts)
    shown = shown_spans(spans)
    assert len(spans) == 40
    assert len(shown) == MOST_SPANS
    assert shown == spans[-MOST_SPANS:], "later ones are longer here"


def test_samples_are_spread_and_show_what_is_doubtful() -> None:
    chosen = choose_samples(1000, spans_of(_doubts("A", *range(500, 509), 700)))
    assert {504, 700} <= set(chosen)
    assert len(chosen) == MOST_SAMPLES
    assert chosen == sorted(set(chosen))
    assert min(chosen) < 150
    assert max(chosen) > 850
    assert min(later - earlier for earlier, later in pairwise(chosen)) > 50


def test_a_short_clip_is_shown_whole() -> None:
    assert choose_samples(3, []) == [0, 1, 2]
    assert choose_samples(1, spans_of(_doubts("A", 0))) == [0]

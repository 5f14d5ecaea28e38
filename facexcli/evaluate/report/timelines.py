"""Plots over time of each person, and of how fast the work went."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from facexcli.evaluate.doubts import LIMITS
from facexcli.evaluate.metrics.identity import SAME_PERSON_DISTANCE
from facexcli.evaluate.report.choice import shown_spans
from facexcli.evaluate.report.markup import Markup, element, joined
from facexcli.evaluate.report.plots import Axis, Curve, Mark, Plot, draw, frames_and_times, time_ticks
from facexcli.evaluate.report.sections import name_of, when

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from facexcli.evaluate.report.choice import Span
    from facexcli.evaluate.report.content import Content
    from facexcli.evaluate.values import PersonSeries
    from facexcli.pipeline.parallel import Pace
    from facexcli.types import Array

MOST_PEOPLE = 8
_INTERVALS = 40
_MOST_CUTS = 200
_MOST_SHADES = 100
_FASTEST = 1000
"""Frames a second; a stage that takes less time has nothing to show, and would press the others together."""


@dataclass(frozen=True, slots=True)
class Timelines:
    """A part of the page, and what its script needs to tell values."""

    markup: Markup
    data: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A plot as it is for everybody. curves: (key of `PersonSeries.values`, label, style)."""

    title: str
    unit: str
    curves: tuple[tuple[str, str, str], ...]
    low: float
    high: float
    digits: int = 2
    limit: tuple[float, str] | None = None


_PAINTED = "painted"
"""In place of a key of `PersonSeries.values`: `Content.painted`."""
_KINDS = (
    _Kind("Identity similarity", "cosine, 1 is the same picture", (("identity_similarity", "to the source", "a"),),
          0.85, 1.0, 3),
    _Kind("Identity distance", "dlib",
          (("identity_distance", "to the source", "a"), ("canvas_distance", "to the target's own face", "b dashed")),
          0.2, 0.8, 3, (SAME_PERSON_DISTANCE, "below: the same person")),
    _Kind("Pose", "degrees, and what they should be",
          (("yaw_deg", "yaw", "a"), ("yaw_deg_reference", "input", "a dashed"),
           ("pitch_deg", "pitch", "b"), ("pitch_deg_reference", "input", "b dashed"),
           ("roll_deg", "roll", "c"), ("roll_deg_reference", "input", "c dashed")), -10, 10, 1),
    _Kind("Expression error", "of the eyes' distance", (("expression_error", "off by", "d"),), 0, 0.06, 3,
          (LIMITS["expression_error"], "doubtful above")),
    _Kind("Flicker", "8-bit codes beyond what motion explains",
          (("flicker", "result", "e"), ("flicker_reference", "input", "e dashed")), 0, 4, 2),
    _Kind("Strength of the change", "1 is usual for this person",
          (("strength", "measured", "f"), (_PAINTED, "as painted", "f dashed")), 0, 1.5, 2),
)  # fmt: skip


def people(content: Content, numbers: Iterator[int]) -> Timelines:
    """Who was edited, and a timeline of plots for each. `numbers` gives each plot of the page its own."""
    if content.run is None and content.evaluation is None:
        return Timelines(Markup(""), ())
    parts, data = [_table(content)], []
    seen = content.evaluation.people if content.evaluation and content.duration_s else ()
    series = [person for person in seen if len(person.frame_indices)]
    for place, person in enumerate(series[:MOST_PEOPLE]):
        markup, timeline = _person(content, person, f"person-{place}", numbers)
        parts.append(markup)
        data.append(timeline)
    if len(series) > MOST_PEOPLE:
        parts.append(element("p", f"{len(series) - MOST_PEOPLE} more people are not plotted."))
    return Timelines(joined(parts), tuple(data))


def _table(content: Content) -> Markup | None:
    """What became of everybody who is seen in the target."""
    listed = content.run.people if content.run else ()
    if not listed:
        return None
    rows = (
        element(
            "tr",
            element("td", str(person.number), class_="number"),
            element("th", name_of(person.name), scope="row"),
            element("td", joined(*([", " if place else "", name_of(path.name)] for place, path in
                                   enumerate(person.sources))) if person.sources else "left as is"),
            element("td", str(person.frames), class_="number"),
            element("td", f"{person.painted} ({100 * person.swap_rate:.1f} %)", class_="number"),
        )
        for person in listed
    )  # fmt: skip
    titles = (("no.", "number"), ("person", None), ("face of", None), ("frames", "number"), ("painted", "number"))
    heads = (element("th", title, scope="col", class_=style) for title, style in titles)
    table = element("table", element("thead", element("tr", heads)), element("tbody", rows))
    return element("div", table, class_="card scroll")


def _person(content: Content, person: PersonSeries, name: str, numbers: Iterator[int]) -> tuple[Markup, dict[str, Any]]:
    assert content.duration_s is not None
    duration_s = max(content.duration_s, float(person.time_s.max(initial=0.0)), 1e-6)
    places = person.time_s / duration_s
    axis = _time_axis(content, person, places, duration_s)
    drawn = [
        (number, *draw(plot, axis, number)) for plot, number in zip(_plots(person, content), numbers, strict=False)
    ]
    rest = "Point at a curve to read it; a click leads to the nearest frame above."
    section = element(
        "section",
        element("h3", name_of(person.person), id=f"{name}-title"),
        element("p", rest, class_="where", data_rest=rest, role="status"),
        [figure for _, figure, _ in drawn],
        id=name,
        class_="person card",
        aria_labelledby=f"{name}-title",
    )
    data = {
        "id": name,
        "leads": True,
        **frames_and_times(person.frame_indices, person.time_s, places),
        "plots": [{"number": number, **values} for number, _, values in drawn],
    }
    return section, data


def _plots(person: PersonSeries, content: Content) -> Iterator[Plot]:
    """Those kinds of which something was measured."""
    values = dict(person.values)
    if person.person in content.painted:
        known = np.append(content.painted[person.person], np.nan)
        values[_PAINTED] = known[np.minimum(person.frame_indices, len(known) - 1)]
    for kind in _KINDS:
        curves = [
            Curve(label, style, values[key])
            for key, label, style in kind.curves
            if key in values and np.isfinite(values[key]).any()
        ]
        if curves:
            yield Plot(kind.title, kind.unit, curves, kind.low, kind.high, kind.digits, kind.limit)


def _time_axis(content: Content, person: PersonSeries, places: Array, duration_s: float) -> Axis:
    end = max(content.frame_count, int(person.frame_indices[-1]) + 1)
    known = np.concatenate([[-1], person.frame_indices, [end]])
    known_places = np.concatenate([[0.0], places, [1.0]])

    def place(frame: float) -> float:
        return float(np.clip(np.interp(frame, known, known_places), 0, 1))

    assert content.evaluation is not None
    cuts = [place(start) for start, _ in content.evaluation.shots[1:]]
    return Axis(
        places,
        time_ticks(duration_s),
        cuts if len(cuts) <= _MOST_CUTS else (),
        [Mark(place(span.first), place(span.last), target, f"{when(span)}: {'; '.join(span.reasons)}")
         for span, target in _targets(content, person.person)],
        [Mark(place(pair.frame_index), 0, f"#frame-{pair.frame_index}", f"frame {pair.frame_index}")
         for pair in content.pictures.samples],
    )  # fmt: skip


def _targets(content: Content, person: str) -> Iterator[tuple[Span, str]]:
    """The longest spans of a person, each with the element of the page that shows it."""
    listed = {span: f"#look-{number}" for number, span in enumerate(shown_spans(content.spans))}
    own = [span for span in content.spans if span.person == person]
    for span in sorted(own, key=lambda span: -span.count)[:_MOST_SHADES]:
        yield span, listed.get(span, "#doubts")


def speed(content: Content, numbers: Iterator[int]) -> Timelines:
    """Seconds of each stage, and frames a second over the render."""
    if content.run is None or not content.run.stage_s:
        return Timelines(Markup(""), ())
    table = _stages(content.run.stage_s, content.run.frames)
    intervals = _intervals(content.run.pace)
    if len(intervals) < 3:
        return Timelines(table, ())
    number = next(numbers)
    frames = np.array([later.frames for _, later in intervals])
    places = frames / frames[-1]
    ticks = [(step / 4, f"{round(frames[-1] * step / 4)}") for step in range(5)]
    figure, values = draw(_speed_plot(intervals), Axis(places, ticks), number)
    rest = "Over the frames that were finished. Stages run side by side, in several threads."
    where = element("p", rest, class_="where", data_rest=rest, role="status")
    data = {
        "id": "pace",
        "leads": False,
        "x": [round(place, 5) for place in places.tolist()],
        "f": frames.tolist(),
        "plots": [{"number": number, **values}],
    }
    return Timelines(joined(element("div", where, figure, id="pace", class_="person card"), table), (data,))


def _stages(stage_s: Mapping[str, float], frames: int) -> Markup:
    """A bar for each stage. Those inside of the render are summed over its threads."""
    longest = max(stage_s.values()) or 1.0
    rows = (
        element(
            "tr",
            element("th", name, scope="row"),
            element("td", f"{seconds:.2f} s", class_="number"),
            element("td", f"{1000 * seconds / frames:.1f} ms a frame" if frames > 1 else None, class_="number"),
            element("td", element("svg", element("rect", width=f"{100 * seconds / longest:.2f}%", height=10, rx=3,
                                                 class_="bar"), aria_hidden="true"), class_="bars"),
        )
        for name, seconds in stage_s.items()
    )  # fmt: skip
    note = "Decoding and encoding go on beside the rest: only the time that the others waited for them is counted."
    table = element("div", element("table", element("tbody", rows)), class_="card scroll")
    return joined(table, element("p", note, class_="note") if frames > 1 else None)


def _intervals(pace: Sequence[Pace]) -> list[tuple[Pace, Pace]]:
    """Pairs of marks that follow each other, at most `_INTERVALS`."""
    return list(pairwise(pace[:: max(1, ceil(len(pace) / _INTERVALS))]))


def _speed_plot(intervals: Sequence[tuple[Pace, Pace]]) -> Plot:
    def rates(seconds: Sequence[float]) -> Array:
        frames = [later.frames - earlier.frames for earlier, later in intervals]
        spent = np.array(seconds)
        found = np.divide(frames, spent, out=np.full(len(spent), np.nan), where=spent > 1e-6)
        return np.where(found <= _FASTEST, found, np.nan)

    curves = [Curve("all together", "ink", rates([later.wall_s - earlier.wall_s for earlier, later in intervals]))]
    for name, style in _STAGE_STYLES.items():
        spent = [later.stage_s.get(name, 0.0) - earlier.stage_s.get(name, 0.0) for earlier, later in intervals]
        curves.append(Curve(name, style, rates(spent)))
    shown = [curve for curve in curves if np.isfinite(curve.values).mean() > 0.5]
    return Plot(
        "Speed of each stage",
        f"frames a second; what is faster than {_FASTEST} is left out",
        shown,
        1,
        _FASTEST,
        1,
        is_log=True,
    )


_STAGE_STYLES = {"decode": "a", "crop": "b", "engine": "c", "fusion": "d", "paste": "e", "encode": "f"}
"""Stages that a render has for each frame."""

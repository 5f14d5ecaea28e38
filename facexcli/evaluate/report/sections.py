"""The parts of a report, each as HTML; empty where there is nothing to tell."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

from facexcli.evaluate.report.choice import shown_spans
from facexcli.evaluate.report.markup import Markup, element, joined
from facexcli.evaluate.report.plots import clock
from facexcli.evaluate.report.targets import verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from facexcli.evaluate.report.choice import Span
    from facexcli.evaluate.report.content import Content
    from facexcli.evaluate.report.pictures import Pair
    from facexcli.evaluate.report.targets import Verdict

_NOTHING = Markup("")
_STATES = {"met": "\N{CHECK MARK} met, ", "missed": "\N{BALLOT X} missed, ", "open": ""}
_MOST_NAMES = 4
_MOST_WARNINGS = 50


def head(content: Content) -> Markup:
    """Title, facts, problems, and the figures beside their targets."""
    facts = [joined(element("dt", term), element("dd", told)) for term, told in _facts(content)]
    problems = [element("p", _without_folders(content, problem)) for problem in content.problems]
    return joined(
        element("p", f"Report of a {content.task}", class_="kind"),
        element("h1", name_of(content.result.name)),
        element("dl", facts, class_="facts"),
        element("div", problems, class_="notice", role="note") if problems else None,
        _figures(content),
    )


def _facts(content: Content) -> Iterator[tuple[str, Markup | str]]:
    names = list(dict.fromkeys(path.name for path in content.sources))
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    if content.driving is None:
        listed = [joined(", " if place else "", name_of(name)) for place, name in enumerate(names[:_MOST_NAMES])]
        yield "Source", joined(listed, more)
        yield "Target", name_of(content.canvas.name)
    else:
        yield "Portrait", name_of(content.canvas.name)
        yield "Driven by", name_of(content.driving.name)
    if content.duration_s is not None and content.frame_count:
        yield "Length", f"{content.frame_count} frames, {content.duration_s:.2f} s"
    if content.run is not None:
        reason = content.run.plan.engine_reason
        yield "Engine", content.run.engine + (f" ({reason})" if reason else "")
        yield "Provenance", _provenance(content.run.provenance)
    if content.evaluation is not None:
        yield "Identity", content.evaluation.judge
    yield "Made", f"{content.made_at:%d %B %Y, %H:%M} UTC"


def _provenance(marks: Mapping[str, str]) -> str:
    """What the file says of itself; `marks` is `RunResult.provenance`."""
    match marks.get("marked"):
        case "manifest":
            place = (
                "in the file" if marks["manifest"] == "embedded" else f"beside it, in {Path(marks['manifest']).name}"
            )
            signer = Path(marks["signer"]).name
            return f"signed as synthetic by {signer}: C2PA manifest {place}, run {marks['run_id']}"
        case "off":
            return "none: nothing in the file says that it is synthetic"
        case _:
            return "metadata of the file say that it is synthetic" if marks else "not marked: no face was edited"


def _figures(content: Content) -> Markup | None:
    if content.evaluation is None:
        return None
    figures = [_figure(verdict) for verdict in verdicts(content.evaluation.metrics)]
    count = len({doubt.frame_index for doubt in content.doubtful})
    told = element("a", "see below", href="#doubts") if count else "\N{CHECK MARK} nothing stands out"
    frames = "frame" if content.frame_count == 1 else "frames"
    figures.append(_card("Frames to look at", str(count), f"of {content.frame_count} {frames}", told,
                         "open" if count else "met"))  # fmt: skip
    return element("ul", figures, class_="verdicts")


def _figure(verdict: Verdict) -> Markup:
    told = f"{_STATES[verdict.state]}{verdict.target}" if verdict.target else "no target"
    return _card(verdict.label, verdict.value, verdict.meaning, told, verdict.state)


def _card(label: str, value: str, meaning: str, told: str, state: str) -> Markup:
    return element(
        "li",
        element("span", label),
        element("span", value, class_="number"),
        element("span", meaning, class_="meaning"),
        element("span", told, class_="state"),
        class_=f"card {state}",
    )


def frames(content: Content) -> Markup:
    """A slider for each sample frame."""
    samples = content.pictures.samples
    if not samples:
        return _NOTHING
    before = "the target" if content.driving is None else "the portrait"
    told = f"Left of the edge {before}, right of it the result. Drag, or use the arrow keys."
    doubts = {span.shown: span for span in reversed(content.spans)}
    is_small = len(samples) > 1
    figures = [_comparison(content, pair, doubts.get(pair.frame_index), is_small) for pair in samples]
    width, height = samples[0].size_px
    shape = (
        "single"
        if len(samples) == 1
        else "broad"
        if width > 1.4 * height
        else "tall"
        if height > 1.2 * width
        else "even"
    )
    return joined(element("p", told, class_="lead screen"), element("div", figures, class_=f"pairs {shape}"))


def _comparison(content: Content, pair: Pair, doubt: Span | None, is_small: bool) -> Markup:
    width, height = pair.size_px
    where = "the picture" if content.duration_s is None else f"frame {pair.frame_index}"
    size = {"width": width, "height": height}
    box = element(
        "div",
        element("img", src=_data(pair.before), alt=f"before, {where}", **size),
        element("img", src=_data(pair.after), alt=f"result, {where}", class_="after", **size),
        element("span", "before", class_="word left", aria_hidden="true"),
        element("span", "result", class_="word right", aria_hidden="true"),
        element("span", class_="edge"),
        element("input", type="range", min=0, max=100, step=1, value=50, aria_label=f"Edge of the result, {where}"),
        class_="compare",
    )
    parts = [
        element("span", _moment(pair)) if content.duration_s is not None else None,
        element("img", src=_data(pair.driving), alt=f"driving, {where}") if pair.driving else None,
        element("button", "Enlarge", type="button", class_="enlarge", aria_pressed="false") if is_small else None,
        element("span", name_of(doubt.person), f": {doubt.reasons[0]}", class_="reason") if doubt else None,
    ]
    caption = element("figcaption", parts) if any(parts) else None
    return element("figure", box, caption, id=f"frame-{pair.frame_index}", class_="card")


def _moment(pair: Pair) -> str:
    return f"frame {pair.frame_index}" if pair.time_s is None else f"{clock(pair.time_s)}, frame {pair.frame_index}"


def doubts(content: Content) -> Markup:
    """What somebody should look at, with pictures of the longest spans."""
    if content.evaluation is None and not content.doubtful:
        return _NOTHING
    if not content.doubtful:
        return element("p", "No frame differs from what is usual in this result by more than the limits.",
                       class_="lead")  # fmt: skip
    shown = shown_spans(content.spans)
    rest = len(content.spans) - len(shown)
    more = element("p", f"{rest} shorter ones are not shown; `facex eval --save` lists all frames.") if rest else None
    items = (_doubt(content, span, number) for number, span in enumerate(shown))
    return joined(element("ul", items, class_="looks"), more)


def _doubt(content: Content, span: Span, number: int) -> Markup:
    names = ("target" if content.driving is None else "portrait", "result")
    two = [
        element("div", element("img", src=_data(jpeg), alt=f"{name}, frame {span.shown}"),
                element("div", name, class_="word", aria_hidden="true"))
        for jpeg, name in zip(content.pictures.looks.get(span, ()), names, strict=False)
    ]  # fmt: skip
    return element(
        "li",
        element("div", two, class_="two") if two else None,
        element("p", element("strong", name_of(span.person)), f" {when(span)}"),
        element("p", "; ".join(span.reasons), class_="reason"),
        id=f"look-{number}",
        class_="card",
    )


def when(span: Span) -> str:
    """Time and frames of a span."""
    if span.first == span.last:
        return f"{clock(span.start_s)}, frame {span.first}"
    return f"{clock(span.start_s)} to {clock(span.end_s)}, frames {span.first} to {span.last}"


def warnings(content: Content) -> Markup:
    """Everything that the run and the evaluation warned of."""
    told: list[str] = []
    for teller in (content.run, content.evaluation):
        told += teller.warnings if teller is not None else ()
    if not told:
        return _NOTHING
    distinct = list(dict.fromkeys(told))
    items = [element("li", _without_folders(content, warning)) for warning in distinct[:_MOST_WARNINGS]]
    if len(distinct) > _MOST_WARNINGS:
        items.append(element("li", f"and {len(distinct) - _MOST_WARNINGS} more"))
    return element("ul", items, class_="warnings")


def _without_folders(content: Content, text: str) -> str:
    """Of the files, names are enough: where they lie tells more of somebody's machine than a reader needs."""
    files = (content.result, content.canvas, *([content.driving] if content.driving else []), *content.sources)
    for path in sorted(files, key=lambda path: -len(str(path))):
        text = text.replace(str(path), path.name)
    return text


def details(content: Content) -> Markup:
    """Every figure, the plan and the versions, folded."""
    return joined(_all_figures(content), _plan(content), _versions(content))


def _all_figures(content: Content) -> Markup | None:
    if content.evaluation is None:
        return None
    better = {"higher": "higher is better", "lower": "lower is better"}
    rows = [
        element("tr", element("th", name, scope="row"),
                element("td", f"{metric.value:.4g} {metric.unit}".strip(), class_="number"),
                element("td", f"{metric.how}; {better[metric.better]}"))
        for name, metric in content.evaluation.metrics.items()
    ]  # fmt: skip
    missing = [
        element("tr", element("th", name, scope="row"), element("td", "not measured"), element("td", reason))
        for name, reason in content.evaluation.missing.items()
    ]
    table = element("table", element("tbody", rows, missing))
    return _folded("All figures", element("div", table, class_="scroll"))


def _plan(content: Content) -> Markup | None:
    if content.run is None:
        return None
    # pydantic's own JSON refuses file names that are no text.
    plan = json.dumps(content.run.plan.model_dump(), indent=2, ensure_ascii=False, default=str)
    told = f"The same run again: save this as plan.json, then facex {content.run.plan.task} --plan plan.json"
    return _folded("Plan", element("p", told, class_="pale"), element("pre", plan, tabindex=0))


def _versions(content: Content) -> Markup:
    rows = (joined(element("dt", name), element("dd", version)) for name, version in content.versions.items())
    return _folded("Versions", element("dl", rows, class_="facts"))


def _folded(title: str, *children: Markup) -> Markup:
    return element("details", element("summary", title), *children, class_="card")


def foot(content: Content) -> Markup:
    """What is in the page, for whoever passes it on."""
    whose = "the target" if content.driving is None else "the portrait, the driving video"
    stills = " The source stills are named, not shown." if content.driving is None else ""
    return joined(
        element("p", f"This page holds pictures of {whose} and the result.{stills} It loads nothing from anywhere."),
        element("p", "What it shows is synthetic media. Show it to nobody as something that happened."),
    )


def name_of(name: str) -> Markup:
    """A name that was not chosen here: its direction of writing does not disturb the text around it."""
    return element("bdi", name)


def _data(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"

"""`facex eval`: how good a result is, as figures."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facexcli.cli.console import print_json, print_result, reporting
from facexcli.cli.options import Choices, with_settings
from facexcli.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facexcli.evaluate.values import Evaluation, Metric

_WIDTH = 79
_MOST_DOUBTS = 12
_COLUMNS = {
    "changed": "changed",
    "distance": "identity_distance",
    "to canvas": "canvas_distance",
    "pose": "pose_error_deg",
    "expression": "expression_error",
}
"""Of the table of people: the title, and the series whose mean is shown."""


def register(app: typer.Typer, panel: str) -> None:
    app.command("eval", rich_help_panel=panel)(evaluate_result)


@with_settings("people.map", "people.min_face_px", "range", "talk")
def evaluate_result(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="the picture or the video to judge")],
    source: Annotated[
        list[Path] | None, typer.Option("--source", metavar="S", help="who it should be; repeatable, or a folder")
    ] = None,
    canvas: Annotated[
        Path | None, typer.Option("--canvas", metavar="C", help="what was edited: the target, or the portrait")
    ] = None,
    driving: Annotated[
        Path | None, typer.Option("--driving", metavar="D", help="of a reenactment: what moved the portrait")
    ] = None,
    among: Annotated[
        Path | None, typer.Option("--among", metavar="DIR", help="candidate people, to find the source among them")
    ] = None,
    save: Annotated[Path | None, typer.Option("--save", metavar="X.json", help="save all figures")] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="OUT.html", help="a page with pictures and plots")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the saved file and the report")] = False,
    *,
    choices: Choices,
) -> None:
    """Measure how good a swap or a reenactment is.

    The files alone are judged, whatever made them: identity, pose, expression, flicker, seam, and what was not to be
    touched. What cannot be measured is listed with what it would need.

    Example:
      facex eval out.mp4 --source alice.jpg --canvas clip.mp4
      facex eval out.mp4 --source alice.jpg --canvas clip.mp4 --save out.eval.json
      facex eval moved.mp4 --source alice.jpg --driving clip.mp4
    """
    from facexcli.evaluate.evaluation import evaluate
    from facexcli.evaluate.report.report import check_place, write_evaluation_report
    from facexcli.evaluate.values import save_evaluation

    sources = _sources(source or [], choices.settings.people.map)
    if canvas is None:
        canvas = _canvas_of(source or [], driving)
    if save is not None and save.exists() and not overwrite:
        raise OutputError(f"{save} exists", "use --overwrite to replace it")
    if report is not None:
        given = sources if isinstance(sources, list) else [still for stills in sources.values() for still in stills]
        check_place(report, [result, canvas, *given, *([driving] if driving else [])], overwrite)
    with reporting() as reporter:
        found = evaluate(
            result,
            sources,
            canvas,
            driving,
            trim=choices.settings.range.trim,
            among=among,
            min_face_px=choices.settings.people.min_face_px,
            reporter=reporter,
        )
        if report is not None:
            write_evaluation_report(found, report, choices.settings.range.trim, reporter)
    if save is not None:
        save_evaluation(found, save)
    if choices.as_json:
        print_json(found.to_json())
    else:
        print_result("\n".join(_lines(found)))


def _sources(stills: list[Path], maps: tuple[str, ...]) -> list[Path] | dict[str | Path, list[Path]]:
    from facexcli.settings import parse_map

    if not maps:
        if not stills:
            raise UsageError("nobody says who it should be", "add --source alice.jpg")
        return stills
    if stills:
        raise UsageError("--source is for everybody, --map for single people", "use one of them")
    people: dict[str | Path, list[Path]] = {}
    for text in maps:
        still, who = parse_map(text)
        people.setdefault(Path(who) if Path(who).is_file() else who, []).append(Path(still))
    return people


def _canvas_of(stills: list[Path], driving: Path | None) -> Path:
    """A portrait that was moved is its own canvas. Raises UsageError for a swap."""
    if driving is None or not stills:
        raise UsageError("nothing says what was edited", "add --canvas clip.mp4")
    return stills[0]


def _lines(found: Evaluation) -> Iterator[str]:
    """The table, under 80 columns."""
    frames = "1 frame" if found.frame_count == 1 else f"{found.frame_count} frames"
    yield f"{found.result}: {frames}, {_people(found)}"
    yield from textwrap.wrap(f"identity: {found.judge}", _WIDTH, subsequent_indent="  ")
    yield ""
    yield f"{'metric':<21}{'value':>8} {'unit':<10}{'':<1}compared"
    for name, metric in found.metrics.items():
        yield from _row(name, metric)
    if len(found.people) > 1:
        yield ""
        yield from _people_table(found)
    yield ""
    yield "not measured"
    for name, reason in found.missing.items():
        yield from textwrap.wrap(f"{name}: {reason}", _WIDTH, initial_indent="  ", subsequent_indent="    ")
    if found.doubtful:
        yield ""
        yield f"frames to look at: {len(found.doubtful)}"
        for doubt in found.doubtful[:_MOST_DOUBTS]:
            text = f"frame {doubt.frame_index} ({doubt.time_s:.2f} s), {doubt.person}: {doubt.reason}"
            yield from textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="    ")
        if len(found.doubtful) > _MOST_DOUBTS:
            yield f"  and {len(found.doubtful) - _MOST_DOUBTS} more; --json or --save has all"


def _people_table(found: Evaluation) -> Iterator[str]:
    """What tells people apart; the figures above are over all of them."""
    yield f"{'':<21}" + "".join(f"{title:>11}" for title in _COLUMNS)
    for series in found.people:
        means = [series.mean(key) for key in _COLUMNS.values()]
        cells = ["" if mean is None else f"{mean:.3f}" for mean in means]
        yield f"{series.person[:20]:<21}" + "".join(f"{cell:>11}" for cell in cells)


def _row(name: str, metric: Metric) -> Iterator[str]:
    better = {"higher": "+", "lower": "-"}[metric.better]
    head = f"{name:<21}{_value(metric.value):>8} {metric.unit:<10}{better} "
    how = textwrap.wrap(metric.how, _WIDTH - len(head))
    yield head + how[0]
    for line in how[1:]:
        yield " " * len(head) + line


def _value(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def _people(found: Evaluation) -> str:
    names = [series.person for series in found.people]
    return ", ".join(names) if len(names) < 4 else f"{len(names)} people"

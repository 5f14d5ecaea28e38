"""Reports of runs and of evaluations: one HTML page each, complete or not there at all."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from facexcli import __version__
from facexcli.errors import FacexError, InputError, OutputError
from facexcli.evaluate.evaluation import evaluate
from facexcli.evaluate.report.choice import choose_samples, shown_spans
from facexcli.evaluate.report.content import Content
from facexcli.evaluate.report.page import page
from facexcli.evaluate.report.painted import merged, painted_strengths, weaker_frames
from facexcli.evaluate.report.people import own_still, sources_by_person, with_names
from facexcli.evaluate.report.pictures import Origin, Pictures, take_pictures
from facexcli.events import Reporter, SilentReporter, Warned
from facexcli.media.atomic import write_whole
from facexcli.media.picture_files import PicturePattern
from facexcli.media.pipe import STANDARD
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.pipeline.analyse import StageProgress
from facexcli.pipeline.formats import probe_target
from facexcli.settings import RangeSettings, Settings, parse_trim

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from os import PathLike

    from facexcli.evaluate.evaluation import Sources
    from facexcli.evaluate.values import DoubtfulFrame, Evaluation
    from facexcli.pipeline.plan import Plan
    from facexcli.pipeline.result import RunResult
    from facexcli.types import Array, MediaInfo

_SUFFIXES = (".html", ".htm")
_PACKAGES = ("av", "opencv-python-headless", "dlib-bin", "numpy", "scipy")


def check_place(path: Path, files: Sequence[Path], overwrite: bool) -> None:
    """Raises OutputError where a report cannot be written, or would replace something: one of `files`, for example."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder", "name a file, such as report.html")
    if path.suffix.lower() not in _SUFFIXES:
        raise OutputError(f"{path}: a report is an HTML page", f"name it {path.with_suffix('.html').name}")
    if any(_is_same(path, other) for other in files):
        raise OutputError(f"{path} is also an input or the output", "choose another name for the report")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}", "make the folder first")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: the folder {path.parent} cannot be written", "choose another place")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists", "use --overwrite to replace it")


def _is_same(path: Path, other: Path) -> bool:
    both_exist = path.exists() and other.exists()
    return path.samefile(other) if both_exist else os.path.realpath(path) == os.path.realpath(other)


def write_report(
    result: RunResult,
    path: str | PathLike[str],
    *,
    overwrite: bool = False,
    reporter: Reporter | None = None,
    told: Callable[[str], str] = str,
) -> None:
    """Measure what an editing command has made, as `facex eval` does, and write a page about it, as `--report` does.

    A result that cannot be measured has a page, too: it says why, and so does a warning.

    Args:
        result: what the run returned; the files that it names still have to be there.
        path: the page, an HTML file.
        overwrite: replace a file at `path`.
        reporter: hears of progress and warnings.
        told: changes the text of the page, for files that the user knows under other names.

    Raises:
        OutputError: the page cannot be written, or must not be.
    """
    plan, page_path, reporter = result.plan, Path(path), reporter or SilentReporter()
    check_place(page_path, [*(item.path for item in plan.inputs), result.output], overwrite)
    seen = _looked_at(result, reporter)
    mapped = (still for row in plan.maps for still in row.sources)
    content = Content(
        result=result.output,
        canvas=plan.canvas.path,
        driving=_driving(plan),
        sources=tuple(item.path for item in (*plan.sources, *mapped)),
        frame_count=result.frames,
        duration_s=seen.duration_s,
        run=result,
        evaluation=seen.evaluation,
        problems=(seen.problem,) if seen.problem else (),
        doubtful=seen.doubtful,
        painted=seen.painted,
        pictures=Pictures(),
        versions=_versions(),
        made_at=datetime.now(UTC),
    )
    _write(page_path, _illustrated(content, seen.origin, reporter), told)


def write_evaluation_report(
    evaluation: Evaluation, path: Path, trim: str = "", reporter: Reporter | None = None
) -> None:
    """Write a page about files that were evaluated, whatever made them. `trim` as it was given to `evaluate`.

    Raises OutputError where the page cannot be written, InputError where the files are gone.
    """
    settings = Settings(range=RangeSettings(trim=trim))
    start = _first_index(evaluation.driving or evaluation.canvas, settings)
    origin = Origin(evaluation.result, evaluation.canvas, evaluation.driving, start)
    content = Content(
        result=evaluation.result,
        canvas=evaluation.canvas,
        driving=evaluation.driving,
        sources=evaluation.sources,
        frame_count=evaluation.frame_count,
        duration_s=_duration_s(probe(evaluation.result), evaluation.frame_count),
        run=None,
        evaluation=evaluation,
        problems=(),
        doubtful=evaluation.doubtful,
        painted={},
        pictures=Pictures(),
        versions=_versions(),
        made_at=datetime.now(UTC),
    )
    _write(path, _illustrated(content, origin, reporter or SilentReporter()), str)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was found out about a result; `problem` says why it is not all."""

    problem: str = ""
    duration_s: float | None = None
    origin: Origin | None = None
    painted: Mapping[str, Array] = field(default_factory=dict)
    doubtful: tuple[DoubtfulFrame, ...] = ()
    evaluation: Evaluation | None = None


def _looked_at(result: RunResult, reporter: Reporter) -> _Seen:
    plan = result.plan
    if not result.provenance:
        return _Seen("Nothing was edited: the result is what the target was.")
    if result.output == STANDARD:
        return _Seen("The result went to standard output, where nobody can look at it again.")
    seen = _Seen()
    try:
        duration_s = _duration_s(probe(_readable(result.output)), result.frames)
        start = _first_index(plan.timeline.path, plan.settings)
        seen = _Seen(
            duration_s=duration_s,
            origin=Origin(result.output, plan.canvas.path, _driving(plan), start),
            painted=painted_strengths(result, start),
            doubtful=tuple(weaker_frames(result, start, duration_s or 0.0)),
        )
        evaluation = _evaluated(result, start, reporter)
    except FacexError as error:
        reporter.emit(Warned(f"the report has no figures: {error.message}"))
        return replace(seen, problem=f"Not measured: {error.message} ({error.hint})")
    return replace(seen, evaluation=evaluation, doubtful=merged((*evaluation.doubtful, *seen.doubtful)))


def _driving(plan: Plan) -> Path | None:
    return plan.driving.path if plan.driving else None


def _readable(output: Path) -> Path:
    """What is read of an output: numbered pictures are a folder."""
    pattern = PicturePattern.of(output)
    return output if pattern is None else pattern.folder


def _duration_s(info: MediaInfo, frame_count: int) -> float | None:
    """None for one picture."""
    if info.kind == "image":
        return None
    return float(info.duration_s or frame_count / (info.frame_rate or Fraction(25)))


def _first_index(timeline: Path, settings: Settings) -> int:
    """The frame of the timeline that the result begins with."""
    start, _ = parse_trim(settings.range.trim)
    if start is None:
        return 0
    with FrameReader(timeline, probe_target(timeline, settings), start=start) as reader:
        first = next(reader, None)
    if first is None:
        raise InputError(f"{timeline}: there is no frame in {settings.range.trim}")
    return first.index


def _evaluated(result: RunResult, start: int, reporter: Reporter) -> Evaluation:
    plan = result.plan
    trim = f"#{start}..#{start + result.frames}" if plan.settings.range.trim else ""
    sources: Sources = [item.path for item in plan.sources]
    names: Sequence[str] = ()
    with TemporaryDirectory(prefix="facex-") as folder:
        if plan.maps:
            sources, names = sources_by_person(plan, Path(folder), reporter)
        elif not plan.sources:
            sources = [own_still(plan, Path(folder), reporter)]
        evaluation = evaluate(
            _readable(result.output),
            sources,
            plan.canvas.path,
            _driving(plan),
            trim=trim,
            min_face_px=plan.settings.people.min_face_px,
            reporter=reporter,
        )
    return with_names(evaluation, names, result)


def _illustrated(content: Content, origin: Origin | None, reporter: Reporter) -> Content:
    """With its pictures; where they cannot be read any more, with words."""
    if origin is None or not content.frame_count:
        return content
    samples, spans = choose_samples(content.frame_count, content.spans), shown_spans(content.spans)
    total = 2 * len({*samples, *(span.shown for span in spans)}) + (len(samples) if origin.driving else 0)
    progress = StageProgress(reporter, "report", total, "pictures")
    try:
        pictures = take_pictures(origin, samples, spans, progress.advance)
    except FacexError as error:
        reporter.emit(Warned(f"the report has no pictures: {error.message}"))
        return replace(content, problems=(*content.problems, f"No pictures: {error.message}"))
    finally:
        progress.finish()
    return replace(content, pictures=pictures)


def _versions() -> dict[str, str]:
    found = {"facex": __version__, "Python": platform.python_version(), "system": platform.platform()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _write(path: Path, content: Content, told: Callable[[str], str]) -> None:
    write_whole(path, told(page(content)))

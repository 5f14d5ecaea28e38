"""Who of an evaluation is who of a run."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from facexcli.faces.select import person_called, tracks_of
from facexcli.media.image import write_image
from facexcli.pipeline.formats import probe_target
from facexcli.pipeline.parallel import single_threaded_kernels
from facexcli.pipeline.people import find_people, largest_face, portrait_still, within_range
from facexcli.pipeline.perception import choose_analyzer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from facexcli.evaluate.evaluation import Evaluation
    from facexcli.events import Reporter
    from facexcli.pipeline.inputs import MappedPerson
    from facexcli.pipeline.plan import Plan
    from facexcli.pipeline.result import RunResult

_STILL_PX = 384


def sources_by_person(
    plan: Plan, folder: Path, reporter: Reporter
) -> tuple[Mapping[str | Path, Sequence[Path]], list[str]]:
    """The sources of a plan with maps, as `evaluate` takes them, and the name of each person.

    An evaluation knows numbers of whole clips only, and no names that were edited: where the plan has such, a still is
    cut out of the canvas for each person, into `folder`. Raises what finding the people raises.
    """
    settings = plan.settings
    if not settings.range.trim and settings.people.analysis is None:
        return {row.reference.path if row.reference else row.person: _stills(row) for row in plan.maps}, []
    info = probe_target(plan.canvas.path, settings)
    sources: dict[str | Path, Sequence[Path]] = {}
    names = []
    analyzer, _ = choose_analyzer(settings.people.analyzer)
    with closing(analyzer), single_threaded_kernels():
        analysis = find_people(info, settings, analyzer, reporter, numbered=True)
        there = within_range(analysis, settings.range.trim)
        for number, row in enumerate(plan.maps):
            if row.reference is not None:
                sources[row.reference.path] = _stills(row)
                names.append("")
                continue
            person = person_called(analysis.people, row.person)
            tracks = tracks_of(there, [person])
            if tracks:
                still = folder / f"{number}.png"
                write_image(still, portrait_still(info, tracks).crop("head", _STILL_PX).rgb)
                sources[still] = _stills(row)
                names.append(person.name)
    return sources, names


def own_still(plan: Plan, folder: Path, reporter: Reporter) -> Path:
    """Whom an edit should still show: the canvas's own person, of a video the largest one in a picture in `folder`.

    Raises what finding the person raises.
    """
    info = probe_target(plan.canvas.path, plan.settings)
    if info.kind == "image":
        return info.path
    analyzer, _ = choose_analyzer(plan.settings.people.analyzer)
    with closing(analyzer), single_threaded_kernels():
        found = largest_face(info, plan.settings, analyzer, reporter)
    still = folder / "own.png"
    write_image(still, portrait_still(info, found).crop("head", _STILL_PX).rgb)
    return still


def _stills(row: MappedPerson) -> list[Path]:
    return [item.path for item in row.sources]


def with_names(evaluation: Evaluation, names: Sequence[str], run: RunResult) -> Evaluation:
    """The evaluation with the names that people have in the run, where these are known for certain.

    names: those of `sources_by_person`. Somebody who alone was edited is that person without more ado.
    """
    edited = [person.name for person in run.people if person.sources]
    if not names and len(edited) == len(evaluation.people) == 1:
        names = edited
    by_old = {series.person: name for series, name in zip(evaluation.people, names, strict=False) if name}
    return replace(
        evaluation,
        people=tuple(replace(item, person=by_old.get(item.person, item.person)) for item in evaluation.people),
        doubtful=tuple(replace(item, person=by_old.get(item.person, item.person)) for item in evaluation.doubtful),
    )

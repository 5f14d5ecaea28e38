"""How good a result is, measured on its files: `evaluate`, and the values that it returns.

Nothing that the run knew is used. Faces are looked for in the result and in the reference independently of each other
(the reference is the canvas of a swap, or the driving video of a reenactment), and whether a frame was changed is read
off its pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facexcli.errors import InputError, NoFaceError, UsageError
from facexcli.evaluate.accounts import Claim, Measured
from facexcli.evaluate.metrics.identity import IdentityJudge, Portrayal, load_gallery, mean_portrayal
from facexcli.evaluate.sightings import first_frame, look, main_sighting, match_by_place, match_by_time, sightings
from facexcli.evaluate.summary import summarise
from facexcli.evaluate.values import DoubtfulFrame, Evaluation, Metric, PersonSeries, load_evaluation
from facexcli.evaluate.walk import Walker
from facexcli.events import Reporter, SilentReporter, Warned
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.select import nearest_person, person_called
from facexcli.media.probe import probe
from facexcli.pipeline.analyse import FrameRange
from facexcli.pipeline.inputs import expand_stills
from facexcli.pipeline.parallel import single_threaded_kernels
from facexcli.pipeline.people import largest_face, portrait_still
from facexcli.pipeline.stills import reference_embedding
from facexcli.settings import Settings, parse_trim

if TYPE_CHECKING:
    from facexcli.evaluate.metrics.identity import Gallery
    from facexcli.evaluate.sightings import Subject
    from facexcli.events import StageName
    from facexcli.types import Analysis, MediaInfo

__all__ = ["DoubtfulFrame", "Evaluation", "Metric", "PersonSeries", "evaluate", "load_evaluation"]

Sources = Sequence[Path] | Mapping[str | Path, Sequence[Path]]
_Given = Mapping[str | Path, tuple[Path, ...]]
_SOMEBODY = ""
"""In place of a person's name, where the sources are for whoever was edited."""


def evaluate(
    result: Path,
    sources: Sources,
    canvas: Path,
    driving: Path | None = None,
    *,
    trim: str = "",
    among: Path | None = None,
    min_face_px: float = 40,
    reporter: Reporter | None = None,
    analyzer: DlibAnalyzer | None = None,
) -> Evaluation:
    """Measure a swap, or with `driving` a reenactment, as `facex eval` does.

    Of the pictures one frame at a time is held; what grows with length are the landmarks and the figures.

    Args:
        result: what facex, or any other tool, made.
        sources: stills of one person, or folders of them (a reenactment's source may be a video); for several people
            {who: such sources}, where who is a number or a name in the canvas, or (a Path) a reference still.
        canvas: what was edited: the target of a swap, the portrait of a reenactment.
        driving: what moved the portrait.
        trim: as it was given to the run, of the canvas, or of the driving video.
        among: a folder of people, for identity retrieval, and to say what the judge's figures mean.
        min_face_px: smaller faces of the canvas are not measured.
        reporter: hears of progress and warnings.
        analyzer: models that are open, and stay so, where many results are judged.

    Raises:
        InputError: a file that cannot be read, or a result that was not made from these files.
        NoFaceError: nobody to judge.
        UsageError: an unknown person.
    """
    given = {who: expand_stills(stills) for who, stills in _by_person(sources).items()}
    reporter = reporter or SilentReporter()
    with ExitStack() as stack:
        stack.enter_context(single_threaded_kernels())
        dlib = analyzer or stack.enter_context(closing(DlibAnalyzer()))
        judge = stack.enter_context(closing(IdentityJudge(dlib)))
        part = FrameRange(*parse_trim(trim))
        return _Task(result, canvas, driving, part, dlib, judge, reporter).run(given, among, min_face_px)


def _shots_of(reference: Analysis, frame_count: int) -> tuple[tuple[int, int], ...]:
    """The cuts of the reference, counted from the result's first frame; a reenactment may end before it."""
    start = first_frame(reference)
    shots = ((shot.start - start, min(shot.stop - start, frame_count)) for shot in reference.shots)
    return tuple(shot for shot in shots if shot[0] < shot[1])


def _by_person(sources: Sources) -> Mapping[str | Path, Sequence[Path]]:
    return sources if isinstance(sources, Mapping) else {_SOMEBODY: sources}


def _claims(
    given: _Given, sources: Mapping[str | Path, Portrayal], gallery: Gallery | None
) -> tuple[dict[str | Path, Claim], Gallery | None]:
    """Who is claimed for whom, and the gallery with all of them among the candidates."""
    claims: dict[str | Path, Claim] = {}
    for who, source in sources.items():
        label = None
        if gallery is not None:
            gallery, label = gallery.including(given[who], source)
        claims[who] = Claim(source, label)
    return claims, gallery


@dataclass(frozen=True, slots=True)
class _Task:
    """One evaluation, with the models open."""

    result: Path
    canvas: Path
    driving: Path | None
    part: FrameRange
    dlib: DlibAnalyzer
    judge: IdentityJudge
    reporter: Reporter

    def run(self, given: _Given, among: Path | None, min_face_px: float) -> Evaluation:
        info, canvas = probe(self.result), probe(self.canvas)
        reference = canvas if self.driving is None else probe(self.driving)
        self._check_form(info, reference)
        if self.part != FrameRange() and any(isinstance(who, str) and who for who in given):
            raise UsageError("people are numbered over the whole canvas", "with --trim, say who by a reference still")
        sources = {who: self._portray(stills) for who, stills in given.items()}
        gallery = load_gallery(among, self.judge, self.reporter) if among is not None else None
        stage: StageName = "analyse" if canvas is reference else "analyse-driving"
        expected = look(reference, self.dlib, self.reporter, stage, self.part)
        shown = look(info, self.dlib, self.reporter, "analyse-result")
        self._check_length(shown, expected, canvas)
        subjects = self._subjects(shown, expected, min_face_px)
        claims, gallery = _claims(given, sources, gallery)
        subjects, claimed = self._assigned(subjects, claims, expected)
        pictures = self.driving is None
        expected_sources = [claim.source for claim in claimed]
        walker = Walker(info, reference, self.part, subjects, expected_sources, self.judge, same_pictures=pictures)
        walked = walker.walk(shown.frame_count, self.reporter)
        measured = Measured(
            info, reference, subjects, claimed, walked, gallery, is_swap=pictures, is_chosen=_SOMEBODY not in given
        )
        summary = summarise(measured, self.judge)
        for warning in summary.warnings:
            self.reporter.emit(Warned(warning))
        return Evaluation(
            result=self.result,
            sources=tuple(path for stills in given.values() for path in stills),
            canvas=self.canvas,
            driving=self.driving,
            frame_count=shown.frame_count,
            metrics=summary.metrics,
            missing=summary.missing,
            people=summary.people,
            doubtful=summary.doubtful,
            judge=summary.judge,
            warnings=summary.warnings,
            shots=_shots_of(expected, shown.frame_count),
        )

    def _check_form(self, info: MediaInfo, reference: MediaInfo) -> None:
        """Raises InputError where the result cannot have been made from the canvas, by what the headers say."""
        if (info.kind == "image") != (reference.kind == "image"):
            kinds = {True: "a picture", False: "a video"}
            raise InputError(
                f"{info.path} is {kinds[info.kind == 'image']}, {reference.path} is {kinds[reference.kind == 'image']}",
                "compare a result with what it was made from; a reenactment has --driving",
            )
        sizes = [(item.display_width_px, item.display_height_px) for item in (info, reference)]
        if self.driving is None and sizes[0] != sizes[1]:
            shown, expected = (f"{width}x{height}" for width, height in sizes)
            raise InputError(
                f"{info.path} has {shown} pixels, {reference.path} has {expected}",
                "compare files of the same size; pixels are measured one by one",
            )

    def _check_length(self, shown: Analysis, expected: Analysis, canvas: MediaInfo) -> None:
        counts = shown.frame_count, expected.frame_count
        may_end_early = self.driving is not None and canvas.kind != "image"
        if counts[0] == counts[1] or (may_end_early and counts[0] < counts[1]):
            return
        part = " in the chosen range" if self.part != FrameRange() else ""
        raise InputError(
            f"{shown.media.path} has {counts[0]} frames, {expected.media.path} has {counts[1]}{part}",
            "compare a result with the file that it was made from, and give the --trim that was used, if any",
        )

    def _portray(self, stills: Sequence[Path]) -> Portrayal:
        return mean_portrayal([self._portray_one(path) for path in stills])

    def _portray_one(self, path: Path) -> Portrayal:
        info = probe(path)
        if info.kind == "image":
            return self.judge.portray_still(path)
        if self.driving is None:
            raise InputError(f"{path} is a video; the source of a swap is a still", "give a picture with --source")
        still = portrait_still(info, largest_face(info, Settings(), self.dlib, self.reporter))
        return self.judge.portray_still(path, still.rgb)

    def _subjects(self, shown: Analysis, expected: Analysis, min_face_px: float) -> list[Subject]:
        if self.driving is None:
            people = sightings(expected, self.dlib, min_face_px)
            subjects = match_by_place(people, shown)
        else:
            mover = main_sighting(expected)
            subjects = [match_by_time(mover, main_sighting(shown))] if mover else []
        if not subjects:
            raise NoFaceError(f"{expected.media.path}: no face to compare with")
        if not any(subject.is_found.any() for subject in subjects):
            raise NoFaceError(f"{shown.media.path}: no face to judge")
        return subjects

    def _assigned(
        self, subjects: list[Subject], claims: Mapping[str | Path, Claim], expected: Analysis
    ) -> tuple[list[Subject], list[Claim]]:
        """Who should be whom: everybody the same, or by number, name or reference still."""
        if _SOMEBODY in claims:
            return subjects, [claims[_SOMEBODY]] * len(subjects)
        by_name = {subject.reference.name: subject for subject in subjects}
        chosen = []
        for who, claim in claims.items():
            name = self._name_of(who, expected)
            if name not in by_name:
                raise NoFaceError(f"{expected.media.path}: the face of {name} is too small to be judged")
            chosen.append((by_name[name], claim))
        return [subject for subject, _ in chosen], [claim for _, claim in chosen]

    def _name_of(self, who: str | Path, expected: Analysis) -> str:
        if isinstance(who, str):
            return person_called(expected.people, who).name
        person = nearest_person(expected, reference_embedding(who, self.dlib), self.dlib.same_person_distance)
        if person is None:
            raise NoFaceError(f"{expected.media.path}: nobody there looks like the person on {who}")
        return person.name

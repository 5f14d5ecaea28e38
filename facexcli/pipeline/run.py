"""Runs a plan: analyse, prepare, render, finish. The one place where the parts of the pipeline meet."""

from __future__ import annotations

from contextlib import ExitStack, closing
from fractions import Fraction
from typing import TYPE_CHECKING

from facexcli.device import choose_device, devices_of
from facexcli.engines.base import told_by
from facexcli.errors import NoFaceError
from facexcli.events import Informed, Reporter, SilentReporter, Warned
from facexcli.faces.select import RULES
from facexcli.fusion.compose import Look
from facexcli.media.image import read_image
from facexcli.media.probe import probe
from facexcli.media.writer import VideoFormat
from facexcli.pipeline.analyse import motion_of
from facexcli.pipeline.cast import cast, load_roles
from facexcli.pipeline.destination import check_free, check_output
from facexcli.pipeline.formats import canvas_format, probe_target
from facexcli.pipeline.kept import ANALYSIS, FACE_MODELS, kept_analysis
from facexcli.pipeline.listening import Listening
from facexcli.pipeline.marking import Marking, check_sidecar_free, signing_identity
from facexcli.pipeline.models import Models
from facexcli.pipeline.occlusion import OcclusionModel, occlusion_model
from facexcli.pipeline.output import Output
from facexcli.pipeline.painter import CropShape, Painter
from facexcli.pipeline.parallel import StageClock, single_threaded_kernels
from facexcli.pipeline.people import (
    Identities,
    chosen_tracks,
    crop_px_for,
    find_people,
    largest_face,
    match_embedding,
    portrait_still,
    whole_tracks,
    within_range,
)
from facexcli.pipeline.presence import presences, turned_faces
from facexcli.pipeline.render import (
    Driving,
    QueryVideo,
    RenderCounts,
    canvas_stream,
    reenact_jobs,
    still_jobs,
    swap_jobs,
)
from facexcli.pipeline.result import PersonResult, RunResult, people_results
from facexcli.pipeline.stills import load_still
from facexcli.pipeline.watermark import watermark_of
from facexcli.weights.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from facexcli.engines.base import Engine, EngineSpec
    from facexcli.events import StageName
    from facexcli.faces.base import Analyzer
    from facexcli.pipeline.cast import Role
    from facexcli.pipeline.painter import Job
    from facexcli.pipeline.parts import Parts
    from facexcli.pipeline.placing import FacesByFrame
    from facexcli.pipeline.plan import Plan
    from facexcli.pipeline.presence import Presence
    from facexcli.pipeline.stills import Still
    from facexcli.recipes import Recipe
    from facexcli.types import Analysis, Crop, Frame, MediaInfo, TemplateName, Track


_PORTRAIT_DETAIL = 0.85


def run(
    plan: Plan,
    reporter: Reporter | None = None,
    overwrite: bool = False,
    parts: Parts | None = None,
    models: Models | None = None,
) -> RunResult:
    """Do what the plan says. The output appears complete or not at all; `parts` keeps parts of a long one on the way.

    `models` are used, and stay open for the caller's next run; without, they are opened and closed here.

    Raises a FacexError: OutputError when there is a file at the output and `overwrite` is not given, InputError when an
    input has changed since the plan was made or is damaged, NoFaceError when there is nobody to edit.
    """
    check_output(plan.output, probe_target(plan.timeline.path, plan.settings), [item.path for item in plan.inputs])
    check_free(plan.output, overwrite)
    check_sidecar_free(plan, overwrite)
    for item in (*plan.inputs, *plan.weights):
        item.check()
    identity = signing_identity(plan)
    with ExitStack() as stack:
        stack.enter_context(single_threaded_kernels())
        models = models or stack.enter_context(Models())
        choice = models.engine(plan)
        for device in devices_of(plan.settings.compute.device):
            if device != "auto" and not choice.engine.spec.checks_device:
                choose_device(device)  # one that is not there is an error before any work is done
        analyzer, reason = models.analyzer(plan)
        listening = Listening(reporter or SilentReporter())
        listening.emit(Informed(f"engine {choice.engine.spec.name}: {plan.engine_reason or choice.reason}"))
        listening.emit(Informed(f"perception: {reason}"))
        perception = (analyzer.name, *told_by(choice.engine, listening))
        marking = stack.enter_context(Marking(plan, choice.engine.spec, perception, identity, plan.weight_hashes))
        return _Run(plan, choice.engine, analyzer, listening, marking, perception, parts).run()


class _Run:
    """One run of one plan, with the models open."""

    def __init__(
        self,
        plan: Plan,
        engine: Engine,
        analyzer: Analyzer,
        reporter: Listening,
        marking: Marking,
        perception: tuple[str, ...],
        parts: Parts | None = None,
    ) -> None:
        self._parts, self._perception = parts, perception
        self._plan, self._engine, self._analyzer, self._reporter = plan, engine, analyzer, reporter
        self._marking = marking
        self._settings = plan.settings
        self._recipe = plan.recipe_value()
        self._template = _template(plan.recipe_value(), engine.spec)
        self._clock = StageClock()
        self._people: tuple[PersonResult, ...] = ()
        self._presences: Mapping[int, Presence] = {}

    def run(self) -> RunResult:
        counts = self._swap() if self._plan.driving is None else self._reenact()
        for doubt, count in counts.doubts.items():
            self._reporter.emit(Warned(f"{doubt} ({count} of {counts.frames} frames)"))
        return RunResult(
            output=self._plan.output,
            engine=self._engine.spec.name,
            perception=self._perception,
            frames=counts.frames,
            faces_per_track=counts.per_track,
            swap_rate=counts.painted / counts.frames if counts.frames else 0.0,
            stage_s=self._clock.seconds(),
            warnings=tuple(self._reporter.warnings),
            provenance=self._output.provenance,
            plan=self._plan,
            people=self._people,
            pace=self._clock.pace(),
            presences=self._presences,
            weights=self._plan.weight_hashes,
        )

    def _begin(self, timeline: MediaInfo) -> Output:
        store = Store()
        weights = {
            f"{name}/{file}": sha256
            for name in self._engine.spec.weights
            for file, sha256 in store.hashes(name).items()
        }
        self._output = Output(self._plan, timeline, self._reporter, self._clock, self._marking, self._parts)
        self._output.begin(weights)
        return self._output

    def _swap(self) -> RenderCounts:
        info = probe_target(self._plan.canvas.path, self._settings)
        timeline = self._plan.timeline.path
        moving = info if timeline == self._plan.canvas.path else probe_target(timeline, self._settings)
        output = self._begin(moving)
        sizes_px = self._engine.spec.crop_sizes_px
        # The stills first: a source without a face should not cost the analysis of the target.
        roles = load_roles(self._plan, self._analyzer, self._reporter)
        asked, filmed = self._queries()
        with self._clock.measure("analyse"):
            analysis = self._find_people(info, "analyse")
            there = within_range(analysis, self._settings.range.trim) if moving is info else analysis
            parts = [
                (role, whole_tracks(analysis, own)) for role, own in cast(roles, there, self._settings, self._analyzer)
            ]
        tracks = [track for _, own in parts for track in own]
        self._warn_of_absence([role for role, own in parts if not own and tracks])
        if not tracks:
            self._allow_no_face(info.path.name)
            return output.unedited(self._painter(CropShape.of(info, self._template, min(sizes_px))))
        with self._clock.measure("prepare"):
            size_px = crop_px_for(tracks, self._template, info, sizes_px, self._detail())
            queries: dict[str, Crop] = {name: still.crop(self._template, size_px) for name, still in asked.items()}
            identities: Identities = {}
            for role, own in parts:
                stills = [still.crop(self._template, size_px) for still in role.stills]
                for track in own:
                    portrait = stills or [portrait_still(info, [track]).crop(self._template, size_px)]
                    identities.update(self._prepare(portrait, [track], info))
            # The one that gives the times first.
            videos = [
                self._query_video(path, filmed[path]) for path in sorted(filmed, key=lambda path: path != timeline)
            ]
        shape = CropShape.of(info, self._template, size_px)
        views = {track.id: [still.face for still in role.stills] for role, own in parts for track in own}
        self._presences = presences(
            tracks, analysis, self._settings.look.smooth, self._engine.spec.view_reach_deg, views
        )
        faces = self._place(tracks, shape, info, self._presences)

        def jobs(frames: Iterator[Frame]) -> Iterator[Job]:
            if moving is info:
                return swap_jobs(frames, faces, identities, queries, videos, loop=self._plan.loop)
            return still_jobs(frames, info, faces.get(0, ()), identities, queries, videos, loop=self._plan.loop)

        counts = output.write(
            VideoFormat.from_media(info) if moving is info else canvas_format(info, moving),
            jobs,
            self._painter(shape, self._occlusion(info, faces, shape)),
            () if videos else analysis.shots,
        )
        given = {track.id: role.paths or (info.path,) for role, own in parts for track in own}
        span = counts.span
        self._people = people_results(analysis, given, span, counts.per_track)
        for warning in turned_faces(analysis, self._presences, span):
            self._reporter.emit(Warned(warning))
        return counts

    def _queries(self) -> tuple[dict[str, Still], dict[Path, tuple[str, ...]]]:
        """The stills of the recipe's queries by attribute, and the videos among them with the attributes they give."""
        stills: dict[str, Still] = {}
        videos: dict[Path, tuple[str, ...]] = {}
        for name, item in self._plan.queries.items():
            if probe(item.path).kind == "image":
                stills[name] = self._load_still(item.path)
            else:
                videos[item.path] = (*videos.get(item.path, ()), name)
        return stills, videos

    def _query_video(self, path: Path, attributes: tuple[str, ...]) -> QueryVideo:
        info = probe(path)
        tracks = largest_face(info, self._settings, self._analyzer, self._reporter)
        shape = CropShape.of(info, self._template, min(self._engine.spec.crop_sizes_px))
        return QueryVideo(info, self._place(tracks, shape, info), shape, attributes)

    def _reenact(self) -> RenderCounts:
        assert self._plan.driving is not None
        canvas = probe(self._plan.canvas.path)
        moving = probe_target(self._plan.driving.path, self._settings)
        output = self._begin(moving)
        match = match_embedding(self._settings, self._analyzer, self._reporter)
        with self._clock.measure("analyse"):
            portrait = largest_face(canvas, self._settings, self._analyzer, self._reporter)
            analysis = self._find_people(moving, "analyse-driving")
            there = within_range(analysis, self._settings.range.trim)
            movers = chosen_tracks(there, self._settings, match, self._analyzer.same_person_distance)
            movers = whole_tracks(analysis, movers)
        if not movers:
            raise NoFaceError(f"{moving.path}: no face found in the driving video")
        with self._clock.measure("prepare"):
            sizes_px = self._engine.spec.crop_sizes_px
            size_px = crop_px_for(portrait, self._template, canvas, sizes_px, self._detail())
            source = portrait_still(canvas, portrait).crop(self._template, size_px)
            identities = self._prepare([source], movers, moving)
        driving_shape = CropShape.of(moving, self._template, min(sizes_px))
        driving_faces = self._place(movers, driving_shape, moving)
        driving = Driving(driving_faces, driving_shape, identities, self._recipe.provided_by("driving"))
        shape = CropShape.of(canvas, self._template, size_px)
        canvas_faces = self._place(portrait, shape, canvas)
        with closing(canvas_stream(canvas)) as pictures:
            return output.write(
                canvas_format(canvas, moving),
                lambda frames: reenact_jobs(pictures, canvas_faces, frames, driving),
                self._painter(shape),
                # Frames of a moving portrait go by with those of the driving video; a still is the same in every part.
                analysis.shots if canvas.kind == "image" else (),
            )

    def _detail(self) -> float:
        """Where the canvas's own picture is painted anew, beside parts of it that are not, a loss would show."""
        own = self._plan.task == "reenact" or (self._plan.task == "edit" and not self._engine.spec.generates)
        return max(self._settings.engine.detail, _PORTRAIT_DETAIL if own else 0.0)

    def _warn_of_absence(self, roles: Sequence[Role]) -> None:
        """Somebody is in the file, but not in the range of it that is edited."""
        for role in roles:
            if role.mapped is not None:
                self._reporter.emit(Warned(f"--map ...={role.mapped.who}: not seen in {self._settings.range.trim}"))

    def _find_people(self, info: MediaInfo, stage: StageName) -> Analysis:
        named = self._settings.people.faces not in RULES or any(row.person for row in self._plan.maps)

        def find() -> Analysis:
            return find_people(info, self._settings, self._analyzer, self._reporter, stage, numbered=named)

        if self._settings.people.analysis is not None:
            return find()
        return kept_analysis(self._output.place(ANALYSIS), info, find, self._reporter)

    def _load_still(self, path: Path) -> Still:
        return load_still(path, self._analyzer, self._settings.compute.cache_mb, self._reporter)

    def _prepare(self, stills: Sequence[Crop], tracks: Sequence[Track], info: MediaInfo) -> Identities:
        return {track.id: self._engine.prepare(stills, motion_of(track, info)) for track in tracks}

    def _place(
        self, tracks: Sequence[Track], shape: CropShape, info: MediaInfo, present: Mapping[int, Presence] | None = None
    ) -> FacesByFrame:
        return shape.place(tracks, info.frame_rate or Fraction(25), self._settings.look.smooth, present)

    def _occlusion(self, info: MediaInfo, faces: FacesByFrame, shape: CropShape) -> OcclusionModel | None:
        if self._settings.look.occlusion == "off":
            return None
        with self._clock.measure("prepare"):
            device = devices_of(self._settings.compute.device)[0]
            return occlusion_model(info, faces, shape, device, self._reporter, self._output.place(FACE_MODELS))

    def _painter(self, shape: CropShape, occlusion: OcclusionModel | None = None) -> Painter:
        chosen = self._settings.look
        look = Look(chosen.feather, chosen.color, chosen.blend, chosen.occlusion, chosen.strength)
        mask = self._plan.mask
        hole = read_image(mask.path).max(axis=2) if mask else None
        sampling, watermark = self._settings.sampling, watermark_of(self._plan)
        return Painter(
            self._engine,
            self._recipe,
            look,
            shape,
            self._clock,
            sampling.seed,
            occlusion,
            hole,
            sampling.temporal,
            watermark,
        )

    def _allow_no_face(self, name: str) -> None:
        """Raises NoFaceError unless the user chose to let such media pass."""
        if self._settings.people.no_face == "error":
            raise NoFaceError(
                f"{name}: no face found to edit",
                "lower --min-face, look with `facex faces`, or copy such files with --no-face pass",
            )
        self._reporter.emit(Warned(f"{name}: no face found to edit; copied unchanged"))


def _template(recipe: Recipe, spec: EngineSpec) -> TemplateName:
    """How canvas crops are cut: an edit that reaches beyond the face needs as much room as a head swap."""
    own = spec.templates[recipe.name]
    wide = recipe.name in ("edit", "inpaint") and (recipe["pose"] != "canvas" or recipe["hair"] != "canvas")
    return spec.templates.get("head-swap", own) if wide else own

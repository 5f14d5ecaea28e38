"""Paints faces into frames: crop, engine, fusion, paste. Pure: the same frame and faces give the same result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from facexcli.affine import transform_points
from facexcli.faces.align import crop_from_frame, inside_picture, take_crop
from facexcli.faces.smooth import steady_alignments
from facexcli.fusion.compose import Look, compose
from facexcli.media.crops import put_crop, rgb_crop
from facexcli.pipeline.batching import in_batches, turns
from facexcli.pipeline.frugal import Frugal
from facexcli.pipeline.placing import FacesByFrame, PlacedFace, PlacedTrack
from facexcli.seeds import noise_key
from facexcli.types import Crop, EditRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from fractions import Fraction

    from facexcli.engines.base import Engine
    from facexcli.pipeline.occlusion import OcclusionModel
    from facexcli.pipeline.parallel import StageClock
    from facexcli.pipeline.presence import Presence
    from facexcli.pipeline.watermark import Watermark
    from facexcli.recipes import Recipe
    from facexcli.types import Array, Face, Frame, MediaInfo, TemplateName, Track

_WORKERS, _BATCH_WORKERS = 2, 4


@dataclass(frozen=True, slots=True)
class Mover:
    """The face of another video that provides `attributes`, still in its frame: it is cut when it is needed."""

    frame: Frame
    placed: PlacedFace
    shape: CropShape
    attributes: tuple[str, ...]

    def providers(self) -> Mapping[str, Crop]:
        crop = self.shape.cut(self.frame, self.placed)
        return dict.fromkeys(self.attributes, crop)


@dataclass(frozen=True, slots=True)
class CanvasFace:
    """A face to paint over, the identity state that `Engine.prepare` made for it, and who moves it, if anybody does.

    `queries` are the crops of stills that provide single attributes.
    """

    placed: PlacedFace
    identity: Any
    movers: tuple[Mover, ...] = ()
    queries: Mapping[str, Crop] = field(default_factory=dict)

    def providers(self) -> Mapping[str, Crop]:
        found = dict(self.queries)
        for mover in self.movers:
            found.update(mover.providers())
        return found


@dataclass(frozen=True, slots=True)
class Job:
    """One frame and the faces in it that are painted over, in the order in which they are."""

    frame: Frame
    faces: Sequence[CanvasFace]


@dataclass(frozen=True, slots=True)
class Painted:
    """The frame to encode, which tracks were painted, and what the engine said about them."""

    frame: Frame
    track_ids: tuple[int, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CropShape:
    """How crops are cut: template, side in pixels, and the frame's display size and sample aspect ratio."""

    template: TemplateName
    size_px: int
    frame_size_px: tuple[int, int]
    sample_aspect_ratio: float = 1.0

    @classmethod
    def of(cls, info: MediaInfo, template: TemplateName, size_px: int) -> CropShape:
        display = (info.display_width_px, info.display_height_px)
        return cls(template, size_px, display, float(info.display_aspect_ratio))

    def place(
        self,
        tracks: Sequence[Track],
        frame_rate: Fraction,
        steadiness: float,
        presences: Mapping[int, Presence] | None = None,
    ) -> FacesByFrame:
        """Which faces each frame has. `presences` are by track; without any, each face is there in full."""
        ratio = self.sample_aspect_ratio
        return FacesByFrame([
            PlacedTrack(
                track,
                steady_alignments(track, self.template, self.size_px, frame_rate, steadiness, ratio),
                presences[track.id] if presences else None,
            )
            for track in tracks
        ])  # fmt: skip

    def cut(self, frame: Frame, placed: PlacedFace) -> Crop:
        """The crop of a face."""
        matrix = placed.crop_from_frame
        rgb = rgb_crop(frame, matrix, self.size_px)
        valid = inside_picture(self.frame_size_px, matrix, self.size_px)
        return self._crop(rgb, valid, placed, frame.index)

    def crop_still(self, rgb: Array, face: Face) -> Crop:
        """The crop of a face in a picture of its own."""
        matrix = crop_from_frame(face.landmarks_px, self.template, self.size_px, self.sample_aspect_ratio)
        cut, valid = take_crop(rgb, matrix, self.size_px)
        return self._crop(cut, valid, PlacedFace(0, face, matrix))

    def _crop(self, rgb: Array, valid: Array | None, placed: PlacedFace, frame_index: int = 0) -> Crop:
        landmarks = transform_points(placed.crop_from_frame, placed.face.landmarks_px).astype(np.float32)
        return Crop(rgb, placed.crop_from_frame, landmarks, self.template, frame_index, placed.track_id, valid)


def choose_crop_px(sizes_px: Sequence[int], wanted_px: float) -> int:
    """The smallest size that an engine offers that is at least `wanted_px`, or else its largest."""
    large_enough = [size for size in sorted(sizes_px) if size >= wanted_px]
    return large_enough[0] if large_enough else max(sizes_px)


@dataclass(slots=True)
class _Easel:
    """A frame in the making: its faces are painted one after the other, each over the work of those before it."""

    job: Job
    frame: Frame
    warnings: list[str] = field(default_factory=list)


class Painter:
    """Paints frames with one engine, in whatever order they come, from several threads.

    With `temporal`, each face sets out from what it was in the frame before: frames then have to come in order, from
    one thread.
    """

    def __init__(
        self,
        engine: Engine,
        recipe: Recipe,
        look: Look,
        shape: CropShape,
        clock: StageClock,
        seed: int = 0,
        occlusion: OcclusionModel | None = None,
        hole: Array | None = None,
        temporal: float = 0.0,
        watermark: Watermark | None = None,
    ) -> None:
        """hole: uint8 (H, W) in frame pixels, 255 where new content is asked for in every frame."""
        self._engine, self._recipe, self._look, self._shape, self._clock = engine, recipe, look, shape, clock
        self._seed, self._occlusion, self._hole = seed, occlusion, hole
        self._watermark = watermark
        self._frugal = Frugal(engine)
        self._in_order = temporal > 0
        self._previous: dict[int, tuple[int, Array]] = {}
        """By track: the last frame that it was painted in, and what the engine made of it, float32 (S, S, 3)."""

    @property
    def workers(self) -> int:
        """Threads that paint: enough to hide the Python parts of one behind the OpenCV parts of the other.

        Where an engine takes whole batches, others look at the next ones while it works.
        """
        return 1 if self._in_order else _WORKERS if self._engine.spec.batch == 1 else _BATCH_WORKERS

    def batches(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, ...]]:
        """The frames that are painted together, as many as the engine likes."""
        return in_batches(jobs, 1 if self._in_order else self._engine.spec.batch, self._shape.size_px)

    def paint(self, jobs: Sequence[Job]) -> list[Painted]:
        """Paint frames, in order. A frame without faces comes back as it is, not converted."""
        easels = [_Easel(job, job.frame) for job in jobs]
        chosen = [
            (turn, easel, face)
            for easel in easels
            for turn, face in zip(turns(easel.job.faces, self._shape.size_px), easel.job.faces, strict=True)
        ]
        for turn in sorted({turn for turn, _, _ in chosen}):
            self._paint_faces([(easel, face) for when, easel, face in chosen if when == turn])
        return [
            Painted(easel.frame, tuple(face.placed.track_id for face in easel.job.faces), tuple(easel.warnings))
            for easel in easels
        ]

    def _paint_faces(self, faces: Sequence[tuple[_Easel, CanvasFace]]) -> None:
        """Faces that do not touch each other."""
        with self._clock.measure("crop"):
            requests = [self._request(easel.frame, face) for easel, face in faces]
        with self._clock.measure("engine"):
            patches = self._frugal.render(requests)
        for (easel, face), request, patch in zip(faces, requests, patches, strict=True):
            crop = request.canvas
            with self._clock.measure("fusion"):
                covered = self._occlusion.covered(crop) if self._occlusion else None
                composite = compose(crop, patch, self._recipe, self._look, self._engine.spec.relights, covered)
            if self._watermark is not None:
                with self._clock.measure("watermark"):
                    self._watermark.put_into(composite, crop, patch)
            with self._clock.measure("paste"):
                alpha = face.placed.shown(composite.alpha)
                easel.frame = put_crop(easel.frame, crop.crop_from_frame, composite.rgb, alpha)
            easel.warnings += patch.warnings
            if self._in_order:
                self._previous[face.placed.track_id] = easel.frame.index, patch.rgb

    def _request(self, frame: Frame, face: CanvasFace) -> EditRequest:
        crop = self._shape.cut(frame, face.placed)
        seed = noise_key(self._seed, face.placed.track_id, None, "render")
        index, previous = self._previous.get(face.placed.track_id, (None, None))
        return EditRequest(
            crop,
            face.identity,
            self._recipe,
            face.providers(),
            seed,
            self._hole_in(crop),
            previous if index == frame.index - 1 else None,
        )

    def _hole_in(self, crop: Crop) -> Array | None:
        if self._hole is None:
            return None
        cut, _ = take_crop(self._hole, crop.crop_from_frame, crop.size_px)
        return cut

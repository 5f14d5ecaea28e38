"""Paints faces into frames: crop, engine, fusion, paste. Pure: the same frame and faces give the same result."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from facexcli.affine import transform_points
from facexcli.faces.align import crop_from_frame, inside_picture, take_crop
from facexcli.faces.smooth import steady_alignments
from facexcli.fusion.compose import Look, compose
from facexcli.fusion.mask import head_mask
from facexcli.media.crops import put_crop, rgb_crop
from facexcli.pipeline.frugal import Frugal
from facexcli.seeds import noise_key
from facexcli.types import Crop, EditRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction

    from facexcli.engines.base import Engine
    from facexcli.pipeline.occlusion import OcclusionModel
    from facexcli.pipeline.parallel import StageClock
    from facexcli.pipeline.presence import Presence
    from facexcli.recipes import Recipe
    from facexcli.types import Array, Face, Frame, MediaInfo, TemplateName, Track


@dataclass(frozen=True, slots=True)
class PlacedFace:
    """A face of a track, and the steady matrix crop_from_frame, float64 (3, 3), that its crop is cut by.

    strength: 0..1, how much of the new face shows. in_front: the landmarks, float32 (68, 2) in frame pixels, of faces
    that are nearer to the camera.
    """

    track_id: int
    face: Face
    crop_from_frame: Array
    strength: float = 1.0
    in_front: tuple[Array, ...] = ()

    def shown(self, alpha: Array) -> Array:
        """`alpha`, float32 (S, S) in crop pixels, as far as this face is to be seen."""
        seen: Array = alpha if self.strength == 1 else alpha * np.float32(self.strength)
        for landmarks_px in self.in_front:
            seen = seen * (1 - head_mask(transform_points(self.crop_from_frame, landmarks_px), alpha.shape[0]))
        return seen


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
        """Which faces each frame has, small ones first, so that near ones are painted over them.

        A face whose presence (by track; without any it is there in full) has no strength is left out.
        """
        frames: FacesByFrame = {}
        for track in tracks:
            matrices = steady_alignments(
                track, self.template, self.size_px, frame_rate, steadiness, self.sample_aspect_ratio
            )
            presence = presences[track.id] if presences else None
            for place, (index, face) in enumerate(zip(track.frame_indices, track.faces, strict=True)):
                placed = PlacedFace(track.id, face, matrices[place])
                if presence is not None:
                    strength, in_front = float(presence.strength[place]), presence.in_front[place]
                    placed = replace(placed, strength=strength, in_front=in_front)
                if placed.strength > 0:
                    frames.setdefault(index, []).append(placed)
        for faces in frames.values():
            faces.sort(key=lambda placed: placed.face.box_px[3] - placed.face.box_px[1])
        return frames

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


FacesByFrame = dict[int, list[PlacedFace]]


class Painter:
    """Paints a batch of frames with one engine, in whatever order the batches come, from several threads."""

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
    ) -> None:
        """hole: uint8 (H, W) in frame pixels, 255 where new content is asked for in every frame."""
        self._engine, self._recipe, self._look, self._shape, self._clock = engine, recipe, look, shape, clock
        self._seed, self._occlusion, self._hole = seed, occlusion, hole
        self._frugal = Frugal(engine)

    def paint(self, job: Job) -> Painted:
        """Paint one frame. A frame without faces comes back as it is, not converted."""
        frame = job.frame
        warnings: list[str] = []
        for canvas_face in job.faces:
            with self._clock.measure("crop"):
                crop = self._shape.cut(frame, canvas_face.placed)
                seed = noise_key(self._seed, canvas_face.placed.track_id, None, "render")
                request = EditRequest(
                    crop, canvas_face.identity, self._recipe, canvas_face.providers(), seed, self._hole_in(crop)
                )
            with self._clock.measure("engine"):
                (patch,) = self._frugal.render([request])
            with self._clock.measure("fusion"):
                covered = self._occlusion.covered(crop) if self._occlusion else None
                composite = compose(crop, patch, self._recipe, self._look, self._engine.spec.relights, covered)
            with self._clock.measure("paste"):
                alpha = canvas_face.placed.shown(composite.alpha)
                frame = put_crop(frame, crop.crop_from_frame, composite.rgb, alpha)
            warnings += patch.warnings
        return Painted(frame, tuple(face.placed.track_id for face in job.faces), tuple(warnings))

    def _hole_in(self, crop: Crop) -> Array | None:
        if self._hole is None:
            return None
        cut, _ = take_crop(self._hole, crop.crop_from_frame, crop.size_px)
        return cut

"""Which faces a frame has, and how their crops are cut: told when it is asked for, from a matrix a face."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from facexcli.affine import transform_points
from facexcli.fusion.mask import head_mask

if TYPE_CHECKING:
    from facexcli.pipeline.presence import Presence
    from facexcli.types import Array, Face, Track


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
class PlacedTrack:
    """The faces of a track and their matrices crop_from_frame, float64 (T, 3, 3).

    Without a presence each face is there in full; with one, those that have no strength are left out.
    """

    track: Track
    crops_from_frame: Array
    presence: Presence | None = None

    @property
    def frame_indices(self) -> Array:
        """int64 (N,), of the frames in which the face is painted."""
        indices = np.array(self.track.frame_indices, np.int64)
        return indices if self.presence is None else indices[self.presence.strength > 0]

    def at(self, index: int) -> PlacedFace | None:
        """The face of a frame, or None."""
        place = bisect_left(self.track.frame_indices, index)
        if place == len(self.track.faces) or self.track.frame_indices[place] != index:
            return None
        placed = PlacedFace(self.track.id, self.track.faces[place], self.crops_from_frame[place])
        if self.presence is None:
            return placed
        strength = float(self.presence.strength[place])
        return replace(placed, strength=strength, in_front=self.presence.in_front[place]) if strength > 0 else None


class FacesByFrame(Mapping[int, Sequence[PlacedFace]]):
    """The faces that are painted in each frame that has any, small ones first, so that near ones are painted over
    them."""

    def __init__(self, tracks: Sequence[PlacedTrack]) -> None:
        self.tracks = tuple(tracks)
        self._spans = np.array([(own.track.frame_indices[0], own.track.frame_indices[-1]) for own in tracks], np.int64)

    def __getitem__(self, index: int) -> Sequence[PlacedFace]:
        first, last = self._spans.reshape(-1, 2).T
        found = (self.tracks[place].at(index) for place in np.flatnonzero((first <= index) & (index <= last)))
        faces = [placed for placed in found if placed is not None]
        if not faces:
            raise KeyError(index)
        return sorted(faces, key=lambda placed: placed.face.box_px[3] - placed.face.box_px[1])

    def __iter__(self) -> Iterator[int]:
        every = [own.frame_indices for own in self.tracks]
        return iter(np.unique(np.concatenate(every)).tolist() if every else [])

    def __len__(self) -> int:
        return sum(1 for _ in self)

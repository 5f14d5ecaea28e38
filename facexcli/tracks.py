"""Faces, and the tracks that they make: a column for each fact, because a film has millions of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, overload

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in frame pixels; x1 and y1 are exclusive edges."""

LANDMARK_COUNT = 68
_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one frame, in display-oriented frame pixels.

    landmarks_px: float32 (68, 2), iBUG order. score: detector confidence, or 0 where the landmarks were followed or
    interpolated (`measured` tells them apart). embedding: unit norm float32 (D,), or None where it was not computed.
    Angles in degrees: yaw > 0 turns to the picture's right, pitch > 0 looks down, roll > 0 tilts clockwise.
    `repaired` says that the measured landmarks were implausible and were replaced by what their neighbours tell.
    """

    box_px: Box
    landmarks_px: Array
    score: float = 0.0
    embedding: Array | None = None
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    measured: bool = True
    repaired: bool = False

    def __post_init__(self) -> None:
        if self.landmarks_px.shape != (LANDMARK_COUNT, 2):
            raise ValueError(f"landmarks_px must be (68, 2), got {self.landmarks_px.shape}")


FLOATS = tuple(field.name for field in fields(Face) if field.type == "float")
FLAGS = tuple(field.name for field in fields(Face) if field.type == "bool")


@dataclass(frozen=True, slots=True, eq=False)
class Faces(Sequence[Face]):
    """The faces of a track, 610 bytes each. A face that is taken out, and a slice, are views of the columns.

    Attributes:
        box_px: float64 (T, 4).
        landmarks_px: float32 (T, 68, 2).
        score, yaw_deg, pitch_deg, roll_deg: float64 (T,).
        measured, repaired: bool (T,).
        embeddings: of each face, or nothing where no face has one.
    """

    box_px: Array
    landmarks_px: Array
    score: Array
    yaw_deg: Array
    pitch_deg: Array
    roll_deg: Array
    measured: Array
    repaired: Array
    embeddings: tuple[Array | None, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.box_px)
        shapes = {"box_px": (count, 4), "landmarks_px": (count, LANDMARK_COUNT, 2)}
        for name in COLUMNS:
            found, wanted = getattr(self, name).shape, shapes.get(name, (count,))
            if found != wanted:
                raise ValueError(f"{name} must be {wanted}, got {found}")

    @classmethod
    def of(cls, faces: Sequence[Face]) -> Faces:
        """The same faces, in columns."""
        if isinstance(faces, Faces):
            return faces
        count = len(faces)
        landmarks = np.empty((count, LANDMARK_COUNT, 2), np.float32)
        for place, face in enumerate(faces):
            landmarks[place] = face.landmarks_px
        return cls(
            box_px=np.array([face.box_px for face in faces], np.float64).reshape(count, 4),
            landmarks_px=landmarks,
            **{name: np.array([getattr(face, name) for face in faces], np.float64) for name in FLOATS},
            **{name: np.array([getattr(face, name) for face in faces], bool) for name in FLAGS},
            embeddings=tuple(face.embedding for face in faces) if any(_embedded(faces)) else (),
        )

    @classmethod
    def at(cls, box_px: Array, landmarks_px: Array, **columns: Any) -> Faces:
        """Faces of which other facts than `columns` are not known: these are as `Face` has them by default."""
        count = len(box_px)
        for name in FLOATS:
            columns.setdefault(name, np.zeros(count))
        columns.setdefault("measured", np.ones(count, bool))
        columns.setdefault("repaired", np.zeros(count, bool))
        return cls(box_px, landmarks_px, **columns)

    def __len__(self) -> int:
        return len(self.box_px)

    @overload
    def __getitem__(self, place: int) -> Face: ...
    @overload
    def __getitem__(self, place: slice) -> Faces: ...
    def __getitem__(self, place: int | slice) -> Face | Faces:
        if isinstance(place, slice):
            parts = {name: getattr(self, name)[place] for name in COLUMNS}
            return replace(self, **parts, embeddings=self.embeddings[place])
        x0, y0, x1, y1 = self.box_px[place].tolist()
        return Face(
            box_px=(x0, y0, x1, y1),
            landmarks_px=self.landmarks_px[place],
            embedding=self.embeddings[place] if self.embeddings else None,
            **{name: getattr(self, name)[place].item() for name in FLOATS + FLAGS},
        )

    def __iter__(self) -> Iterator[Face]:
        return (self[place] for place in range(len(self)))


COLUMNS = tuple(field.name for field in fields(Faces) if field.type == "Array")


def _embedded(faces: Sequence[Face]) -> Iterator[bool]:
    return (face.embedding is not None for face in faces)


@dataclass(frozen=True, slots=True)
class Track:
    """One person through one shot. `frame_indices` ascend; `faces` has the same length.

    The indices are kept as a range where no frame is missing, the faces as columns, whatever sequences are given.
    """

    id: int
    shot: int
    frame_indices: Sequence[int]
    faces: Faces
    embedding: Array | None = None

    def __post_init__(self) -> None:
        if len(self.frame_indices) != len(self.faces):
            raise ValueError(f"{len(self.frame_indices)} frame indices for {len(self.faces)} faces")
        object.__setattr__(self, "frame_indices", _condensed(self.frame_indices))
        object.__setattr__(self, "faces", Faces.of(self.faces))


def in_parts(count: int) -> Iterator[slice]:
    """So many faces, a thousand at a time: what is made of each on the way is a multiple of what is kept of it."""
    return (slice(first, min(first + _AT_ONCE, count)) for first in range(0, count, _AT_ONCE))


def _condensed(indices: Sequence[int]) -> Sequence[int]:
    if isinstance(indices, range):
        return indices
    listed = np.asarray(indices, np.int64)
    if len(listed) and not (np.diff(listed) != 1).any():
        return range(int(listed[0]), int(listed[-1]) + 1)
    return tuple(listed.tolist())

"""What a saved analysis looks like: plain facts that may be edited first, packed arrays last."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from facexcli.pipeline.packing import packed
from facexcli.tracks import FLAGS, FLOATS
from facexcli.types import LANDMARK_COUNT, Array, Faces, Track

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facexcli.pipeline.packing import PackedFile

VERSION: Literal[2] = 2
HOW_TO_EDIT = (
    "rename a person: change 'name'; the name can then be used with --faces and --map",
    "drop a track: take its id out of the person's 'tracks'; move it: put it into another person's",
    'split a track: give it "split_at": [120]; "0@120" is then the id of the part of track 0 from frame 120 on',
    "make a new person: add one with a number of their own, a name and tracks",
)

_Index = Annotated[int, Field(ge=0, lt=2**31)]
_FACE_BYTES = 4 + 4 * 8 + LANDMARK_COUNT * 2 * 4 + 8 * len(FLOATS) + len(FLAGS)
"""An index, a box, landmarks and the other facts of one face, unpacked."""
_ALWAYS_ROOM_BYTES = 1 << 28
_BYTES_PER_CHARACTER = 200
"""Landmarks compress well, but not better than this; what claims to is an attack on the memory."""


class _Plain(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class PersonEntry(_Plain):
    """Somebody. `tracks` holds ids of tracks, and "ID@FRAME" for parts of split ones."""

    number: Annotated[int, Field(ge=1, lt=2**31)]
    name: str
    tracks: list[int | str]


class TrackEntry(_Plain):
    """The plain facts of a track; only `split_at` is meant to be edited."""

    id: _Index
    shot: _Index
    first_frame: _Index
    last_frame: _Index
    frames: Annotated[int, Field(ge=1, lt=2**31)]
    split_at: list[_Index] = []
    start_s: float = 0
    end_s: float = 0
    measured: int = 0
    interpolated: int = 0
    repaired: int = 0
    face_height_px: float = 0
    yaw_deg: list[float] = []
    pitch_deg: list[float] = []
    roll_deg: list[float] = []


class Document(_Plain):
    """The whole file."""

    facex_analysis: Literal[2] = VERSION
    media: str
    fingerprint: str
    analyzer: str
    trim: str = ""
    frame_count: Annotated[int, Field(ge=1, lt=2**31)]
    embedding_size: Annotated[int, Field(ge=0, le=4096)]
    how_to_edit: list[str] = []
    people: list[PersonEntry]
    tracks: list[TrackEntry]
    shots: list[Annotated[list[_Index], Field(min_length=2, max_length=2)]]
    warnings: list[str] = []
    arrays: dict[str, dict[str, str]] = {}

    def texts(self, tracks: Sequence[Track]) -> Iterator[str]:
        """JSON, piece by piece, with a line for each person, track and shot, so that it can be read and edited.

        `tracks` are those whose entries are here; their arrays come last.
        """
        yield "{\n"
        for key, value in self.model_dump(mode="json", exclude={"arrays"}).items():
            yield f' "{key}": {_laid_out(value)},\n'
        yield ' "arrays": {'
        for number, track in enumerate(tracks):
            yield f"{',' if number else ''}\n  {_json(str(track.id))}: {{"
            for place, (name, column) in enumerate(_columns(track)):
                yield f'{", " if place else ""}{_json(name)}: "'
                yield from packed(column)
                yield '"'
            yield "}"
        yield "\n }\n}\n" if tracks else "}\n}\n"


def _laid_out(value: object) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"  {_json(item)}" for item in value) + "\n ]"
    return _json(value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _columns(track: Track) -> Iterator[tuple[str, Array]]:
    """The arrays of a track: a column for each field of its faces, and the mean identity."""
    faces = track.faces
    yield "frame_indices", np.array(track.frame_indices, "<i4")
    yield "box_px", faces.box_px.astype("<f8", copy=False)
    yield "landmarks_px", faces.landmarks_px.astype("<f4", copy=False)
    for name in FLOATS:
        yield name, getattr(faces, name).astype("<f8", copy=False)
    for name in FLAGS:
        yield name, getattr(faces, name).view("u1")
    if track.embedding is not None:
        yield "embedding", np.asarray(track.embedding, "<f4")


def check_room(document: Document, characters: int) -> None:
    """Raises ValueError where the tracks claim to hold more than a file of so many characters can."""
    claimed = sum(track.frames for track in document.tracks) * _FACE_BYTES
    if claimed > _ALWAYS_ROOM_BYTES + _BYTES_PER_CHARACTER * characters:
        raise ValueError("tracks: have more frames than the arrays of this file can hold")


def unpacked_track(
    entry: TrackEntry, columns: dict[str, str], file: PackedFile, embedding_size: int, embed_faces: bool
) -> Track:
    """The track of one entry. A field that the file does not know has its default. Raises ValueError and OSError.

    `embed_faces`: the one face of a still carries the embedding itself, as the analysis of a still gives it.
    """
    count = entry.frames
    known = {"frame_indices", "box_px", "landmarks_px", "embedding", *FLOATS, *FLAGS}
    if unknown := sorted(set(columns) - known):
        raise ValueError(f"{unknown[0]}: unknown array")

    def column(name: str, dtype: str, *shape: int) -> Array:
        if name not in columns:
            raise ValueError(f"{name}: is missing")
        try:
            return file.unpack(columns[name], dtype, shape)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    indices = column("frame_indices", "<i4", count)
    boxes = column("box_px", "<f8", count, 4)
    landmarks = column("landmarks_px", "<f4", count, LANDMARK_COUNT, 2)
    facts = {name: column(name, "<f8", count) for name in FLOATS if name in columns}
    flags = {name: column(name, "u1", count) > 0 for name in FLAGS if name in columns}
    embedding = column("embedding", "<f4", embedding_size) if "embedding" in columns else None
    own = {"embeddings": (embedding,) * count} if embed_faces and embedding is not None else {}
    faces = Faces.at(boxes, landmarks, **facts, **flags, **own)
    return Track(entry.id, entry.shot, indices.tolist(), faces, embedding)

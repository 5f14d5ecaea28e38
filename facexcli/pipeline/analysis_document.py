"""What a saved analysis looks like: plain facts that may be edited first, packed arrays last."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from facexcli.pipeline.packing import pack, unpack
from facexcli.types import LANDMARK_COUNT, Array, Face, Track

VERSION: Literal[2] = 2
HOW_TO_EDIT = (
    "rename a person: change 'name'; the name can then be used with --faces and --map",
    "drop a track: take its id out of the person's 'tracks'; move it: put it into another person's",
    'split a track: give it "split_at": [120]; "0@120" is then the id of the part of track 0 from frame 120 on',
    "make a new person: add one with a number of their own, a name and tracks",
)

_Index = Annotated[int, Field(ge=0, lt=2**31)]
_FLOATS = tuple(field.name for field in fields(Face) if field.type == "float")
_FLAGS = tuple(field.name for field in fields(Face) if field.type == "bool")
_FACE_BYTES = 4 + 4 * 8 + LANDMARK_COUNT * 2 * 4 + 8 * len(_FLOATS) + len(_FLAGS)
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
    arrays: dict[str, dict[str, str]]

    def text(self) -> str:
        """JSON with a line for each person, track and shot, so that it can be read and edited."""
        values = self.model_dump(mode="json")
        return "{\n" + ",\n".join(f' "{key}": {_laid_out(value)}' for key, value in values.items()) + "\n}\n"


def _laid_out(value: object) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"  {_json(item)}" for item in value) + "\n ]"
    if isinstance(value, dict) and value:
        return "{\n" + ",\n".join(f"  {_json(key)}: {_json(item)}" for key, item in value.items()) + "\n }"
    return _json(value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def packed_columns(track: Track) -> dict[str, str]:
    """The arrays of a track: a column for each field of its faces, and the mean identity."""
    columns: dict[str, Array] = {
        "frame_indices": np.array(track.frame_indices, "<i4"),
        "box_px": np.array([face.box_px for face in track.faces], "<f8"),
        "landmarks_px": np.array([face.landmarks_px for face in track.faces], "<f4"),
    }
    for name in _FLOATS:
        columns[name] = np.array([getattr(face, name) for face in track.faces], "<f8")
    for name in _FLAGS:
        columns[name] = np.array([getattr(face, name) for face in track.faces], "u1")
    if track.embedding is not None:
        columns["embedding"] = np.asarray(track.embedding, "<f4")
    return {name: pack(array) for name, array in columns.items()}


def check_room(document: Document, characters: int) -> None:
    """Raises ValueError where the tracks claim to hold more than a file of so many characters can."""
    claimed = sum(track.frames for track in document.tracks) * _FACE_BYTES
    if claimed > _ALWAYS_ROOM_BYTES + _BYTES_PER_CHARACTER * characters:
        raise ValueError("tracks: have more frames than the arrays of this file can hold")


def unpacked_track(entry: TrackEntry, columns: dict[str, str], embedding_size: int, embed_faces: bool) -> Track:
    """The track of one entry. A field that the file does not know has its default. Raises ValueError.

    `embed_faces`: the one face of a still carries the embedding itself, as the analysis of a still gives it.
    """
    count = entry.frames
    known = {"frame_indices", "box_px", "landmarks_px", "embedding", *_FLOATS, *_FLAGS}
    if unknown := sorted(set(columns) - known):
        raise ValueError(f"{unknown[0]}: unknown array")
    indices = _column(columns, "frame_indices", "<i4", (count,))
    boxes = _column(columns, "box_px", "<f8", (count, 4))
    landmarks = _column(columns, "landmarks_px", "<f4", (count, LANDMARK_COUNT, 2))
    numbers = {name: _column(columns, name, "<f8", (count,)).tolist() for name in _FLOATS if name in columns}
    flags = {name: _column(columns, name, "u1", (count,)) > 0 for name in _FLAGS if name in columns}
    embedding = _column(columns, "embedding", "<f4", (embedding_size,)) if "embedding" in columns else None
    facts: dict[str, list[Any]] = {**numbers, **{name: values.tolist() for name, values in flags.items()}}
    faces = tuple(
        Face(
            box_px=tuple(boxes[place].tolist()),
            landmarks_px=landmarks[place],
            embedding=embedding if embed_faces else None,
            **{name: values[place] for name, values in facts.items()},
        )
        for place in range(count)
    )
    return Track(entry.id, entry.shot, tuple(indices.tolist()), faces, embedding)


def _column(columns: dict[str, str], name: str, dtype: str, shape: tuple[int, ...]) -> Array:
    if name not in columns:
        raise ValueError(f"{name}: is missing")
    try:
        return unpack(columns[name], dtype, shape)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error

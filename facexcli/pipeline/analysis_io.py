"""Analyses as files: JSON that a person can read and edit, with the arrays packed at its end.

Nothing in a file is believed: it may have been edited, cut off, made for another clip, or made to harm.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from io import SEEK_END, BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

from pydantic import ValidationError

from facexcli.errors import InputError, UsageError
from facexcli.media.atomic import write_whole
from facexcli.media.probe import fingerprint, probe
from facexcli.pipeline.analysis_document import (
    HOW_TO_EDIT,
    VERSION,
    Document,
    PersonEntry,
    TrackEntry,
    check_room,
    unpacked_track,
)
from facexcli.pipeline.analysis_edits import check_shots, check_track, people_of, split_tracks
from facexcli.pipeline.packing import PackedFile
from facexcli.pipeline.summary import track_facts
from facexcli.settings import parse_trim
from facexcli.types import Analysis

if TYPE_CHECKING:
    from pathlib import Path

    from facexcli.types import Track

_HINT = "make it with `facex faces --save`"
_LARGEST_BYTES = 1 << 30


def save_analysis(analysis: Analysis, path: Path) -> None:
    """Write the analysis, whole or not at all. Raises OutputError."""
    write_whole(path, _document(analysis).texts(analysis.tracks))


def _document(analysis: Analysis) -> Document:
    """The plain facts of an analysis."""
    sizes = [len(track.embedding) for track in analysis.tracks if track.embedding is not None]
    return Document(
        # A name need not be text; this one is only shown.
        media=os.fsencode(analysis.media.path.name).decode("utf-8", "replace"),
        fingerprint=fingerprint(analysis.media.path),
        analyzer=analysis.analyzer,
        trim=analysis.trim,
        frame_count=analysis.frame_count,
        embedding_size=max(sizes, default=0),
        how_to_edit=list(HOW_TO_EDIT),
        people=[
            PersonEntry(number=person.number, name=person.name, tracks=list(person.track_ids))
            for person in analysis.people
        ],
        tracks=[_entry(analysis, track) for track in analysis.tracks],
        shots=[[shot.start, shot.stop] for shot in analysis.shots],
        warnings=list(analysis.warnings),
    )


def _entry(analysis: Analysis, track: Track) -> TrackEntry:
    facts = track_facts(analysis, track)
    del facts["person"]  # who has which track stands in one place, so that edits cannot contradict each other
    return TrackEntry(**facts)


def load_analysis(path: Path, media_path: Path) -> Analysis:
    """Read the analysis of `media_path`, with the changes that were made in it by hand.

    Raises InputError for a file that cannot be read or was made for another media file, UsageError for one that is no
    analysis, is of another version, or contradicts itself; the message names the place.
    """
    with ExitStack() as stack:
        file, size = _opened(path, stack)
        try:
            document = _parsed(file.text)
            if document.fingerprint != fingerprint(media_path):
                raise InputError(f"{path} was made for another file than {media_path}: for {document.media!r}",
                                 "run `facex faces --save` on this file")  # fmt: skip
            check_room(document, size)
            return _analysis(document, file, media_path)
        except ValueError as error:
            raise UsageError(f"{path}: {error}", _HINT) from error
        except OSError as error:
            raise _unreadable(path, error.strerror) from error


def _opened(path: Path, stack: ExitStack) -> tuple[PackedFile, int]:
    """The file, closed by `stack`, and how many bytes it has. Raises InputError."""
    try:
        file: BinaryIO = stack.enter_context(path.open("rb"))
        if not file.seekable():
            file = BytesIO(file.read(_LARGEST_BYTES + 1))  # a pipe, which is read but once
        size = file.seek(0, SEEK_END)
        if size > _LARGEST_BYTES:
            raise InputError(f"{path}: too large for an analysis", _HINT)
        file.seek(0)
        return PackedFile(file), size
    except OSError as error:
        raise _unreadable(path, error.strerror) from error
    except UnicodeDecodeError as error:
        raise _unreadable(path, "it is not UTF-8 text") from error


def _unreadable(path: Path, reason: str | None) -> InputError:
    return InputError(f"{path}: cannot be read: {reason}", _HINT)


def _parsed(text: str) -> Document:
    """Raises ValueError."""
    try:
        values = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise ValueError("not an analysis: nested too deeply") from error
    if not isinstance(values, dict) or "facex_analysis" not in values:
        raise ValueError("not an analysis of facex")
    version = values["facex_analysis"]
    if version != VERSION:
        raise ValueError(f"facex_analysis: version {version!r}, and this facex reads version {VERSION}")
    try:
        return Document.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise ValueError(f"{_place(problem['loc'])}: {_reason(problem['type'], problem['msg'])}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{repeated!r} stands twice in one place")
    return values


def _place(location: tuple[int | str, ...]) -> str:
    """`people[0].name`; pydantic's names for the members of a union are left out."""
    steps = [step for step in location if step not in ("int", "str")]
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def _reason(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "unknown key"
    if kind == "missing":
        return "is missing"
    message = message.removeprefix("Input ")
    return message[:1].lower() + message[1:]


def _analysis(document: Document, file: PackedFile, media_path: Path) -> Analysis:
    """Raises ValueError."""
    info = probe(media_path)
    try:
        parse_trim(document.trim)
    except ValueError as error:
        raise ValueError(f"trim: {error}") from error
    shots = check_shots(document)
    tracks = []
    for place, entry in enumerate(document.tracks):
        columns = document.arrays.get(str(entry.id))
        if columns is None:
            raise ValueError(f"arrays: those of track {entry.id} are missing")
        try:
            track = unpacked_track(entry, columns, file, document.embedding_size, info.kind == "image")
        except ValueError as error:
            raise ValueError(f"arrays.{entry.id}.{error}") from error
        check_track(track, document, place, shots, info)
        tracks.append(track)
    known = split_tracks(tracks, document)
    people = people_of(document, known)
    return Analysis(
        media=info,
        frame_count=document.frame_count,
        shots=shots,
        tracks=tuple(sorted(known.values(), key=lambda track: track.id)),
        analyzer=document.analyzer,
        warnings=tuple(document.warnings),
        people=people,
        trim=document.trim,
    )

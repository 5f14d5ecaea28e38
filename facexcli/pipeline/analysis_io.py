"""Analyses as files: JSON that a person can read and edit, with the landmark arrays packed.

A track can be renumbered or deleted by hand; `shots` and the per-track facts are plain. Arrays are base64 of
zlib-compressed little-endian float32.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from facexcli.errors import InputError, OutputError, UsageError
from facexcli.media.atomic import AtomicFile
from facexcli.media.probe import fingerprint, probe
from facexcli.types import LANDMARK_COUNT, Analysis, Array, Face, Shot, Track

if TYPE_CHECKING:
    from pathlib import Path

_FACE_COLUMNS = 8
"""x0, y0, x1, y1, score, yaw, pitch, roll."""


class _TrackFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: int
    shot: int
    first_frame: int
    last_frame: int
    measured_share: float
    frame_indices: str
    measured: str
    facts: str
    landmarks_px: str
    embedding: str | None = None


class _AnalysisFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    facex_analysis: Literal[1] = 1
    media: str
    fingerprint: str
    duration_s: str | None
    frame_count: int
    analyzer: str
    shots: list[tuple[int, int]]
    warnings: list[str] = []
    tracks: list[_TrackFile]


def save_analysis(analysis: Analysis, path: Path) -> None:
    """Write the analysis, whole or not at all. Raises OutputError."""
    duration = analysis.media.duration_s
    document = _AnalysisFile(
        media=str(analysis.media.path),
        fingerprint=fingerprint(analysis.media.path),
        duration_s=str(duration) if duration is not None else None,
        frame_count=analysis.frame_count,
        analyzer=analysis.analyzer,
        shots=[(shot.start, shot.stop) for shot in analysis.shots],
        warnings=list(analysis.warnings),
        tracks=[_packed_track(track) for track in analysis.tracks],
    )
    with AtomicFile(path) as file:
        try:
            file.temporary.write_text(document.model_dump_json(indent=1) + "\n", "utf-8")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
        file.commit()


def load_analysis(path: Path, media_path: Path) -> Analysis:
    """Read the analysis of `media_path`.

    Raises InputError for a file that cannot be read or was made for another media file, UsageError for one that is no
    analysis, or was damaged by editing.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path}: cannot be read: {reason}", "make it with `facex faces --save`") from error
    try:
        document = _AnalysisFile.model_validate_json(text)
        tracks = tuple(_unpacked_track(track) for track in document.tracks)
    except (ValidationError, ValueError, binascii.Error, zlib.error) as error:
        raise UsageError(
            f"{path}: not an analysis: {_first_line(error)}", "make it with `facex faces --save`"
        ) from error
    if document.fingerprint != fingerprint(media_path):
        raise InputError(f"{path} was made for another file than {media_path}", "run `facex faces --save` on this file")
    if len({track.id for track in tracks}) != len(tracks):
        raise UsageError(f"{path}: two tracks have the same id", "give each track an id of its own")
    return Analysis(
        media=probe(media_path),
        frame_count=document.frame_count,
        shots=tuple(Shot(*borders) for borders in document.shots),
        tracks=tracks,
        analyzer=document.analyzer,
        warnings=tuple(document.warnings),
    )


def summary(analysis: Analysis) -> dict[str, Any]:
    """What `facex faces --json` prints: plain values, no arrays."""
    rate = analysis.media.frame_rate or Fraction(1)
    return {
        "media": str(analysis.media.path),
        "analyzer": analysis.analyzer,
        "frames": analysis.frame_count,
        "shots": [[shot.start, shot.stop] for shot in analysis.shots],
        "warnings": list(analysis.warnings),
        "tracks": [_track_summary(track, rate) for track in analysis.tracks],
    }


def _track_summary(track: Track, rate: Fraction) -> dict[str, Any]:
    heights = [face.box_px[3] - face.box_px[1] for face in track.faces]
    return {
        "id": track.id,
        "shot": track.shot,
        "frames": len(track.faces),
        "interpolated": sum(not face.measured for face in track.faces),
        "start_s": round(float(track.frame_indices[0] / rate), 3),
        "end_s": round(float((track.frame_indices[-1] + 1) / rate), 3),
        "face_height_px": round(float(np.median(heights)), 1),
        **{
            angle: [round(float(bound([getattr(face, angle) for face in track.faces])), 1) for bound in (min, max)]
            for angle in ("yaw_deg", "pitch_deg", "roll_deg")
        },
    }


def _packed_track(track: Track) -> _TrackFile:
    facts = [(*face.box_px, face.score, face.yaw_deg, face.pitch_deg, face.roll_deg) for face in track.faces]
    measured = [face.measured for face in track.faces]
    return _TrackFile(
        id=track.id,
        shot=track.shot,
        first_frame=track.frame_indices[0],
        last_frame=track.frame_indices[-1],
        measured_share=round(sum(measured) / len(measured), 4),
        frame_indices=_pack(np.array(track.frame_indices, "<i8")),
        measured=_pack(np.array(measured, "u1")),
        facts=_pack(np.array(facts, "<f4")),
        landmarks_px=_pack(np.array([face.landmarks_px for face in track.faces], "<f4")),
        embedding=None if track.embedding is None else _pack(track.embedding.astype("<f4")),
    )


def _unpacked_track(packed: _TrackFile) -> Track:
    indices = _unpack(packed.frame_indices, "<i8")
    count = len(indices)
    landmarks = _unpack(packed.landmarks_px, "<f4").reshape(count, LANDMARK_COUNT, 2)
    facts = _unpack(packed.facts, "<f4").reshape(count, _FACE_COLUMNS)
    measured = _unpack(packed.measured, "u1").reshape(count)
    if not count or np.any(np.diff(indices) <= 0) or not np.isfinite(landmarks).all():
        raise ValueError(f"track {packed.id} is damaged")
    embedding = None if packed.embedding is None else _unpack(packed.embedding, "<f4")
    faces = tuple(
        Face((x0, y0, x1, y1), landmarks[i], score, embedding if i == 0 else None, yaw, pitch, roll, bool(measured[i]))
        for i, (x0, y0, x1, y1, score, yaw, pitch, roll) in enumerate(facts.tolist())
    )
    return Track(packed.id, packed.shot, tuple(indices.tolist()), faces, embedding)


def _pack(array: Array) -> str:
    return base64.b64encode(zlib.compress(array.tobytes())).decode("ascii")


def _unpack(text: str, dtype: str) -> Array:
    return np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), dtype)


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        problem = error.errors()[0]
        return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
    return str(error).splitlines()[0]

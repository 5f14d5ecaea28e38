"""An analysis in plain numbers: what `facex faces` prints, and what stands at the top of a saved file."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from facexcli.faces.select import tracks_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.types import Analysis, Array, Faces, Person, Track

_ANGLES = ("yaw_deg", "pitch_deg", "roll_deg")


def summary(analysis: Analysis) -> dict[str, Any]:
    """What `facex faces --json` prints: plain values, no arrays. Times are frame numbers over the nominal rate."""
    return {
        "media": str(analysis.media.path),
        "kind": analysis.media.kind,
        "analyzer": analysis.analyzer,
        "trim": analysis.trim,
        "frames": analysis.frame_count,
        "duration_s": seconds(analysis, analysis.frame_count),
        "shots": [[shot.start, shot.stop] for shot in analysis.shots],
        "people": [person_facts(analysis, person) for person in analysis.people],
        "tracks": [track_facts(analysis, track) for track in analysis.tracks],
        "warnings": list(analysis.warnings),
    }


def person_facts(analysis: Analysis, person: Person) -> dict[str, Any]:
    """One person over all their tracks."""
    tracks = tracks_of(analysis, [person])
    frames = sum(len(track.faces) for track in tracks)
    return {
        "number": person.number,
        "name": person.name,
        "tracks": list(person.track_ids),
        "shots": sorted({track.shot for track in tracks}),
        "on_screen_s": seconds(analysis, frames),
        "start_s": seconds(analysis, min((track.frame_indices[0] for track in tracks), default=0)),
        "end_s": seconds(analysis, max((track.frame_indices[-1] + 1 for track in tracks), default=0)),
        **_face_facts([track.faces for track in tracks]),
    }


def track_facts(analysis: Analysis, track: Track) -> dict[str, Any]:
    """One person through one shot."""
    first, last = track.frame_indices[0], track.frame_indices[-1]
    owners = [person.number for person in analysis.people if track.id in person.track_ids]
    return {
        "id": track.id,
        "person": owners[0] if owners else None,
        "shot": track.shot,
        "first_frame": first,
        "last_frame": last,
        "start_s": seconds(analysis, first),
        "end_s": seconds(analysis, last + 1),
        **_face_facts([track.faces]),
    }


def seconds(analysis: Analysis, frames: int) -> float:
    """How long so many frames last, at the nominal rate."""
    return round(float(frames / (analysis.media.frame_rate or Fraction(25))), 3)


def _face_facts(parts: Sequence[Faces]) -> dict[str, Any]:
    """Counts, size and pose range over all of them. Of no face at all: counts only."""
    counts = {
        "frames": sum(len(faces) for faces in parts),
        "measured": sum(int((faces.measured & ~faces.repaired).sum()) for faces in parts),
        "interpolated": sum(int((~faces.measured).sum()) for faces in parts),
        "repaired": sum(int((faces.measured & faces.repaired).sum()) for faces in parts),
    }
    if not counts["frames"]:
        return counts
    heights = np.concatenate([faces.box_px[:, 3] - faces.box_px[:, 1] for faces in parts])
    ranges = {name: _range([getattr(faces, name) for faces in parts]) for name in _ANGLES}
    return {**counts, "face_height_px": round(float(np.median(heights)), 1), **ranges}


def _range(parts: Sequence[Array]) -> list[float]:
    known = [values for values in parts if len(values)]
    least, most = min(values.min() for values in known), max(values.max() for values in known)
    return [round(float(least), 1), round(float(most), 1)]

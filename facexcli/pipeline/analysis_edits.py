"""What a person changed in a saved analysis: checked, and done to the tracks.

Every problem is a ValueError that begins with the place in the file.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from facexcli.faces.select import RULES, first_shared_frame
from facexcli.types import Person, Shot, Track

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.pipeline.analysis_document import Document, PersonEntry
    from facexcli.types import MediaInfo

_LONGEST_NAME = 60
_FAR = 4
"""No landmark is farther outside than this many sides of the picture."""


def check_shots(document: Document) -> tuple[Shot, ...]:
    """The shots, which follow each other without a gap over the frames that were analysed."""
    shots = tuple(Shot(start, stop) for start, stop in document.shots)
    if not shots:
        raise ValueError("shots: is empty")
    for place, shot in enumerate(shots):
        if shot.stop <= shot.start or (place and shot.start != shots[place - 1].stop):
            raise ValueError(f"shots[{place}]: {shot.start} to {shot.stop} does not follow the shot before it")
    if shots[-1].stop - shots[0].start != document.frame_count:
        raise ValueError(f"shots: are {shots[-1].stop - shots[0].start} frames long, frame_count is "
                         f"{document.frame_count}")  # fmt: skip
    return shots


def check_track(track: Track, document: Document, place: int, shots: Sequence[Shot], info: MediaInfo) -> None:
    """The frames of a track ascend inside its shot and are what its entry says; its faces lie about the picture."""
    entry = document.tracks[place]
    where = f"tracks[{place}]"
    if entry.shot >= len(shots):
        raise ValueError(f"{where}.shot: there is no shot {entry.shot}")
    indices, shot = np.array(track.frame_indices), shots[entry.shot]
    if (np.diff(indices) <= 0).any() or indices[0] < shot.start or indices[-1] >= shot.stop:
        raise ValueError(f"arrays.{entry.id}.frame_indices: not ascending frames of shot {entry.shot}")
    for name, said, true in (
        ("first_frame", entry.first_frame, int(indices[0])),
        ("last_frame", entry.last_frame, int(indices[-1])),
    ):
        if said != true:
            raise ValueError(f"{where}.{name}: {said}, but the track has {true}; cut a track with split_at")
    landmarks, boxes = track.faces.landmarks_px, track.faces.box_px
    far_px = _FAR * max(info.display_width_px, info.display_height_px)
    farthest = max(abs(edge) for values in (landmarks, boxes) for edge in (values.min(), values.max()))
    if farthest > far_px or np.ptp(landmarks, axis=1).min() <= 0:
        raise ValueError(f"arrays.{entry.id}: has a face that cannot be in this picture")


def split_tracks(tracks: Sequence[Track], document: Document) -> dict[int | str, Track]:
    """Tracks by what people may call them: 0, and "0@120" for the part of track 0 that begins with frame 120.

    The parts of a split track have no identity of their own: it was the mean over what is now apart.
    """
    known: dict[int | str, Track] = {}
    for place, (track, entry) in enumerate(zip(tracks, document.tracks, strict=True)):
        if track.id in known:
            raise ValueError(f"tracks[{place}].id: {track.id} is the id of two tracks")
        known[track.id] = track
        borders = entry.split_at
        if any(after <= before for before, after in pairwise(borders)):
            raise ValueError(f"tracks[{place}].split_at: {borders} does not ascend")
        for frame in borders:
            if not track.frame_indices[0] < frame <= track.frame_indices[-1]:
                raise ValueError(f"tracks[{place}].split_at: frame {frame} is not inside the track, "
                                 f"{track.frame_indices[0] + 1} to {track.frame_indices[-1]}")  # fmt: skip
    next_id = max((track.id for track in tracks), default=0) + 1
    for track, entry in zip(tracks, document.tracks, strict=True):
        starts = [0, *(bisect_left(track.frame_indices, frame) for frame in entry.split_at)]
        for number, (start, stop) in enumerate(zip(starts, [*starts[1:], len(track.faces)], strict=True)):
            if len(starts) == 1:
                break
            part = replace(track, frame_indices=track.frame_indices[start:stop], faces=track.faces[start:stop],
                           embedding=None)  # fmt: skip
            if number == 0:
                known[track.id] = part
            else:
                known[f"{track.id}@{entry.split_at[number - 1]}"] = replace(part, id=next_id)
                next_id += 1
    return known


def people_of(document: Document, known: dict[int | str, Track]) -> tuple[Person, ...]:
    """The people, by number. Each has a number and a name of their own, and tracks that nobody else has."""
    numbers: dict[int, int] = {}
    names: dict[str, int] = {}
    owners: dict[int, int] = {}
    people = []
    for place, entry in enumerate(document.people):
        where = f"people[{place}]"
        if other := _other(numbers, entry.number, place):
            raise ValueError(f"{where}.number: {entry.number} is also the number of {other}")
        name = _checked_name(entry.name, entry.number, f"{where}.name")
        if other := _other(names, name.casefold(), place):
            raise ValueError(f"{where}.name: {name!r} is also the name of {other}")
        tracks = _tracks_of(entry, known, f"{where}.tracks")
        for track in tracks:
            if other := _other(owners, track.id, place):
                raise ValueError(f"{where}.tracks: a track is also one of {other}")
        people.append(Person(entry.number, name, tuple(sorted(track.id for track in tracks))))
    return tuple(sorted(people, key=lambda person: person.number))


def _other(seen: dict[Any, int], key: object, place: int) -> str:
    """Where `key` was seen before, for a message; remembers it otherwise."""
    first = seen.setdefault(key, place)
    return "" if first == place else f"people[{first}]"


def _checked_name(name: str, number: int, where: str) -> str:
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise ValueError(f"{where}: must have 1 to {_LONGEST_NAME} printable characters")
    if "," in name or name.casefold() in RULES or name.isdecimal():
        raise ValueError(f"{where}: {name!r} would not be understood by --faces; use a word without a comma")
    default = re.fullmatch(r"person (\d+)", name.casefold())
    if default and int(default[1]) != number:
        raise ValueError(f"{where}: {name!r} is the name of another number")
    return name


def _tracks_of(entry: PersonEntry, known: dict[int | str, Track], where: str) -> list[Track]:
    tracks: dict[int, tuple[int | str, Track]] = {}
    for position, key in enumerate(entry.tracks):
        track = known.get(key)
        if track is None:
            hint = (
                '; a part of a track is written as "0@120", with split_at [120] in track 0' if "@" in str(key) else ""
            )
            raise ValueError(f"{where}[{position}]: there is no track {key}{hint}")
        if track.id in tracks:
            raise ValueError(f"{where}[{position}]: track {key} is there twice")
        for other, earlier in tracks.values():
            if (index := first_shared_frame(earlier, track)) is not None:
                raise ValueError(f"{where}: tracks {other} and {key} are both in frame {index}: nobody is there twice")
        tracks[track.id] = key, track
    return [track for _, track in tracks.values()]

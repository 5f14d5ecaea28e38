"""Who gets edited: tracks merged into people, and the rules that choose among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facexcli.errors import UsageError
from facexcli.faces.embed import embedding_distance, mean_embedding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from facexcli.types import Array, Track

RULES = ("largest", "all", "first")
_SAME_PERSON_DISTANCE = 0.38


def merge_people(tracks: Sequence[Track], same_person_distance: float = _SAME_PERSON_DISTANCE) -> dict[int, int]:
    """Which tracks show the same person: {track id: person id}; a person's id is its smallest track id.

    The nearest pair of groups is joined until none is nearer than `same_person_distance` (average linkage). Two tracks
    that share a frame are two people, however alike. A track without an embedding stays alone.
    """
    ordered = sorted(tracks, key=lambda track: track.id)
    groups = [[track.id] for track in ordered]
    distances = _distances(ordered)
    while distances.size and distances.min() < same_person_distance:
        first, second = sorted(int(index) for index in np.unravel_index(distances.argmin(), distances.shape))
        distances = _joined(distances, first, second, len(groups[first]), len(groups[second]))
        groups[first] += groups.pop(second)
    return {track_id: min(group) for group in groups for track_id in group}


def select_tracks(
    tracks: Sequence[Track],
    rule: str = "largest",
    min_face_px: float = 0.0,
    match: Array | None = None,
    same_person_distance: float = _SAME_PERSON_DISTANCE,
) -> list[Track]:
    """The tracks to edit, in the order of their ids.

    `largest`: the person with the largest sum of box areas over all frames and shots, in every shot where that person
    is seen; `first`: the person seen first (the larger of two in the same frame), likewise; `all`; or track ids, "0,3".
    `match`, a unit embedding (D,), keeps the tracks of the person nearest to it, in place of the rule; ids go before.

    Args:
        tracks: of one analysis.
        rule: see above.
        min_face_px: tracks whose median box is narrower are left out, unless they are named by id.
        match: of a reference still, or None.
        same_person_distance: of the analyzer that made the embeddings.
    Returns:
        possibly nothing; whether that is an error is the caller's to say.
    Raises:
        UsageError: an unknown rule, or ids that no track has.
    """
    ordered = sorted(tracks, key=lambda track: track.id)
    if rule not in RULES:
        return _by_ids(ordered, rule)
    large = [track for track in ordered if track.faces and _median_width_px(track) >= min_face_px]
    if not large:
        return []
    people = merge_people(large, same_person_distance)
    if match is not None:
        return _matching(large, people, match, same_person_distance)
    if rule == "all":
        return large
    chosen = _largest_person(large, people) if rule == "largest" else _first_person(large, people)
    return [track for track in large if people[track.id] == chosen]


def _distances(tracks: Sequence[Track]) -> Array:
    """float64 (N, N) between the tracks' embeddings; infinite where two cannot be one person."""
    frames = [frozenset(track.frame_indices) for track in tracks]
    result = np.full((len(tracks), len(tracks)), np.inf)
    for first, a in enumerate(tracks):
        for second, b in enumerate(tracks[:first]):
            if a.embedding is not None and b.embedding is not None and frames[first].isdisjoint(frames[second]):
                result[first, second] = result[second, first] = embedding_distance(a.embedding, b.embedding)
    return result


def _joined(distances: Array, first: int, second: int, first_count: int, second_count: int) -> Array:
    """The distances after group `second` has been put into `first`: means over all pairs; an infinite one stays so."""
    row = (first_count * distances[first] + second_count * distances[second]) / (first_count + second_count)
    distances[first], distances[:, first] = row, row
    distances[first, first] = np.inf
    return np.delete(np.delete(distances, second, axis=0), second, axis=1)


def _by_ids(tracks: list[Track], rule: str) -> list[Track]:
    try:
        wanted = {int(item) for item in rule.split(",")}
    except ValueError:
        raise UsageError(
            f"--faces {rule!r} is neither a rule nor a list of numbers", f"use {', '.join(RULES)} or numbers like 0,2"
        ) from None
    known = [track.id for track in tracks]
    missing = sorted(wanted.difference(known))
    if missing:
        there = f"the faces found are numbered {', '.join(map(str, known))}" if known else "no face was found"
        raise UsageError(f"no face is numbered {', '.join(map(str, missing))}", there)
    return [track for track in tracks if track.id in wanted]


def _matching(tracks: list[Track], people: dict[int, int], match: Array, limit: float) -> list[Track]:
    near: dict[int, float] = {}
    for person in set(people.values()):
        members = [track.embedding for track in tracks if people[track.id] == person and track.embedding is not None]
        mean = mean_embedding(members)
        if mean is not None:
            near[person] = embedding_distance(mean, match)
    if not near:
        return []
    best = min(near, key=lambda person: near[person])
    return [track for track in tracks if people[track.id] == best] if near[best] < limit else []


def _largest_person(tracks: list[Track], people: dict[int, int]) -> int:
    size: dict[int, float] = {}
    for track in tracks:
        size[people[track.id]] = size.get(people[track.id], 0.0) + sum(_areas_px(track))
    return max(sorted(size), key=lambda person: size[person])


def _first_person(tracks: list[Track], people: dict[int, int]) -> int:
    earliest = min(tracks, key=lambda track: (track.frame_indices[0], -next(iter(_areas_px(track)))))
    return people[earliest.id]


def _areas_px(track: Track) -> Iterable[float]:
    for face in track.faces:
        x0, y0, x1, y1 = face.box_px
        yield (x1 - x0) * (y1 - y0)


def _median_width_px(track: Track) -> float:
    return float(np.median([face.box_px[2] - face.box_px[0] for face in track.faces]))

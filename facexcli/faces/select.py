"""Who gets edited: tracks merged into people, and the rules that choose among them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from facexcli.errors import UsageError
from facexcli.faces.embed import embedding_distance, mean_embedding
from facexcli.types import Person

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from facexcli.types import Analysis, Array, Faces, Track

RULES = ("largest", "all", "first")
NAMELESS = "person "
"""Before the number, this is what somebody is called whom nobody has named."""
_SAME_PERSON_DISTANCE = 0.38


def merge_people(tracks: Sequence[Track], same_person_distance: float = _SAME_PERSON_DISTANCE) -> dict[int, int]:
    """Which tracks show the same person: {track id: group}; a group is called by its smallest track id.

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


def with_people(analysis: Analysis, same_person_distance: float = _SAME_PERSON_DISTANCE) -> Analysis:
    """The analysis with its tracks merged into people.

    They are numbered from 1 by presence, the sum of box areas over all frames, so that those whom a viewer would name
    first come first; "person 1" is a name until the user gives a better one.
    """
    group_of = merge_people(analysis.tracks, same_person_distance)
    groups: dict[int, list[Track]] = {}
    for track in sorted(analysis.tracks, key=lambda track: track.id):
        groups.setdefault(group_of[track.id], []).append(track)
    ordered = sorted(groups.values(), key=lambda tracks: -_presence(tracks))
    people = (
        Person(number, f"{NAMELESS}{number}", tuple(track.id for track in tracks))
        for number, tracks in enumerate(ordered, start=1)
    )
    return replace(analysis, people=tuple(people))


def select_tracks(
    analysis: Analysis,
    rule: str = "largest",
    min_face_px: float = 0.0,
    match: Array | None = None,
    same_person_distance: float = _SAME_PERSON_DISTANCE,
) -> list[Track]:
    """The tracks to edit, in the order of their ids.

    `largest`: the person with the largest sum of box areas over all frames and shots, in every shot where that person
    is seen; `first`: the person seen first (the larger of two in the same frame), likewise; `all`; or people by number
    or name, "1,Alice". `match`, a unit embedding (D,), keeps the person nearest to it, in place of a rule; numbers and
    names go before.

    Args:
        analysis: with its people.
        rule: see above.
        min_face_px: tracks whose median box is narrower are left out, unless their person is named.
        match: of a reference still, or None.
        same_person_distance: of the analyzer that made the embeddings.
    Returns:
        possibly nothing; whether that is an error is the caller's to say.
    Raises:
        UsageError: an unknown rule, or a number or name that nobody has.
    """
    if rule not in RULES:
        return tracks_of(analysis, people_called(analysis.people, rule)) if analysis.people else []
    large = {track.id for track in analysis.tracks if track.faces and _median_width_px(track) >= min_face_px}
    people = [replace(who, track_ids=tuple(id_ for id_ in who.track_ids if id_ in large)) for who in analysis.people]
    seen = [person for person in people if person.track_ids]
    if not seen:
        return []
    if match is not None:
        nearest = nearest_person(replace(analysis, people=tuple(seen)), match, same_person_distance)
        return tracks_of(analysis, [nearest] if nearest else [])
    if rule == "all":
        return tracks_of(analysis, seen)
    chosen = _largest(analysis, seen) if rule == "largest" else _first(analysis, seen)
    return tracks_of(analysis, [chosen])


def tracks_of(analysis: Analysis, people: Iterable[Person]) -> list[Track]:
    """Where these people are seen, in the order of the tracks' ids."""
    wanted = {track_id for person in people for track_id in person.track_ids}
    return sorted((track for track in analysis.tracks if track.id in wanted), key=lambda track: track.id)


def people_called(people: Sequence[Person], names: str) -> list[Person]:
    """The people of a list "1,Alice". Raises UsageError for one that nobody there is called."""
    return [person_called(people, name) for name in names.split(",")]


def person_called(people: Sequence[Person], who: str) -> Person:
    """The person with this number or name; capitals do not matter. Raises UsageError that says who is there."""
    wanted = who.strip().casefold()
    for person in people:
        if wanted in (str(person.number), person.name.casefold()):
            return person
    said = f"there is no person {wanted}" if wanted.isdecimal() else f"nobody is called {who.strip()!r}"
    names = {person.name.casefold(): person.name for person in people if not person.name.startswith(NAMELESS)}
    near = get_close_matches(wanted, [*RULES, *names], n=1, cutoff=0.7)
    guess = f"did you mean {names.get(near[0], near[0])!r}? " if near else ""
    hint = f"{guess}there are {who_is_there(people)}"
    raise UsageError(said, hint if people else "no face was found")


def who_is_there(people: Sequence[Person], most: int = 8) -> str:
    """ "1 (Alice), 2 (person 2)", for messages."""
    named = [
        f"{person.number} ({person.name})" if person.name != f"{NAMELESS}{person.number}" else person.name
        for person in people[:most]
    ]
    return ", ".join(named) + (f" and {len(people) - most} more" if len(people) > most else "")


def nearest_person(
    analysis: Analysis, match: Array, same_person_distance: float = _SAME_PERSON_DISTANCE
) -> Person | None:
    """The person whose mean identity is nearest to `match`, a unit embedding (D,); None where none is near enough."""
    near: dict[int, float] = {}
    for person in analysis.people:
        members = [track.embedding for track in tracks_of(analysis, [person]) if track.embedding is not None]
        mean = mean_embedding(members)
        if mean is not None:
            near[person.number] = embedding_distance(mean, match)
    best = min(near, key=lambda number: near[number], default=None)
    if best is None or near[best] >= same_person_distance:
        return None
    return next(person for person in analysis.people if person.number == best)


def first_shared_frame(one: Track, other: Track) -> int | None:
    """The first frame in which both are, or None."""
    start = max(one.frame_indices[0], other.frame_indices[0])
    stop = min(one.frame_indices[-1], other.frame_indices[-1]) + 1
    if start >= stop:
        return None
    shared = np.intersect1d(_between(one, start, stop), _between(other, start, stop), assume_unique=True)
    return int(shared[0]) if len(shared) else None


def _between(track: Track, start: int, stop: int) -> Array:
    """The frame indices in [start, stop)."""
    indices = track.frame_indices
    return np.array(indices[bisect_left(indices, start) : bisect_left(indices, stop)])


def _distances(tracks: Sequence[Track]) -> Array:
    """float64 (N, N) between the tracks' embeddings; infinite where two cannot be one person."""
    result = np.full((len(tracks), len(tracks)), np.inf)
    for first, a in enumerate(tracks):
        for second, b in enumerate(tracks[:first]):
            if a.embedding is not None and b.embedding is not None and first_shared_frame(a, b) is None:
                result[first, second] = result[second, first] = embedding_distance(a.embedding, b.embedding)
    return result


def _joined(distances: Array, first: int, second: int, first_count: int, second_count: int) -> Array:
    """The distances after group `second` has been put into `first`: means over all pairs; an infinite one stays so."""
    row = (first_count * distances[first] + second_count * distances[second]) / (first_count + second_count)
    distances[first], distances[:, first] = row, row
    distances[first, first] = np.inf
    return np.delete(np.delete(distances, second, axis=0), second, axis=1)


def _largest(analysis: Analysis, people: Sequence[Person]) -> Person:
    return max(people, key=lambda person: _presence(tracks_of(analysis, [person])))


def _first(analysis: Analysis, people: Sequence[Person]) -> Person:
    def appearance(person: Person) -> tuple[int, float]:
        return min((track.frame_indices[0], -_areas_px(track.faces[:1])[0]) for track in tracks_of(analysis, [person]))

    return min(people, key=appearance)


def _presence(tracks: Iterable[Track]) -> float:
    return sum(sum(_areas_px(track.faces)) for track in tracks)


def _areas_px(faces: Faces) -> list[float]:
    x0, y0, x1, y1 = faces.box_px.T
    areas: list[float] = ((x1 - x0) * (y1 - y0)).tolist()
    return areas


def _median_width_px(track: Track) -> float:
    return float(np.median(track.faces.box_px[:, 2] - track.faces.box_px[:, 0]))

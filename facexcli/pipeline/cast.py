"""Who gets which face: the sources of a plan, and the tracks of the people whom each is for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from facexcli.errors import NoFaceError, UsageError
from facexcli.faces.select import nearest_person, person_called, tracks_of, who_is_there
from facexcli.pipeline.people import chosen_tracks, match_embedding
from facexcli.pipeline.stills import load_still, reference_embedding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from facexcli.events import Reporter
    from facexcli.faces.base import Analyzer
    from facexcli.pipeline.inputs import InputFile, MappedPerson
    from facexcli.pipeline.plan import Plan
    from facexcli.pipeline.stills import Still
    from facexcli.settings import Settings
    from facexcli.types import Analysis, Array, Person, Track


@dataclass(frozen=True, slots=True)
class Role:
    """The stills of one identity, and whom it is for: those chosen by the settings where `mapped` is None.

    `match` is the unit embedding (D,) of the reference still of `mapped`, or of `--match`, if there is one.
    """

    paths: tuple[Path, ...]
    stills: tuple[Still, ...]
    mapped: MappedPerson | None = None
    match: Array | None = None


def load_roles(plan: Plan, analyzer: Analyzer, reporter: Reporter) -> list[Role]:
    """Read every still of the plan's sources and references. Raises InputError or NoFaceError that names the file."""
    cache_mb = plan.settings.compute.cache_mb

    def role(files: Sequence[InputFile]) -> Role:
        paths = tuple(item.path for item in files)
        return Role(paths, tuple(load_still(path, analyzer, cache_mb, reporter) for path in paths))

    if not plan.maps:
        return [replace(role(plan.sources), match=match_embedding(plan.settings, analyzer, reporter))]
    roles = []
    for row in plan.maps:
        reference = row.reference
        match = reference_embedding(reference.path, analyzer, cache_mb, reporter) if reference else None
        roles.append(replace(role(row.sources), mapped=row, match=match))
    return roles


def cast(
    roles: list[Role], analysis: Analysis, settings: Settings, analyzer: Analyzer
) -> list[tuple[Role, list[Track]]]:
    """The tracks that each role is for; possibly none, where nobody is seen at all.

    Raises UsageError for a number or name that nobody has and for two roles that are for the same person, NoFaceError
    for a reference still that shows nobody who is there.
    """
    if not analysis.people:
        return []
    taken: dict[int, MappedPerson] = {}
    result = []
    for role in roles:
        if role.mapped is None:
            tracks = chosen_tracks(analysis, settings, role.match, analyzer.same_person_distance)
        else:
            person = _person_for(role, role.mapped, analysis, analyzer)
            other = taken.setdefault(person.number, role.mapped)
            if other is not role.mapped:
                raise UsageError(
                    f"--map gives two faces to {person.name}: by {other.who} and by {role.mapped.who}",
                    f"there are {who_is_there(analysis.people)}",
                )
            tracks = tracks_of(analysis, [person])
        result.append((role, tracks))
    return result


def _person_for(role: Role, mapped: MappedPerson, analysis: Analysis, analyzer: Analyzer) -> Person:
    if role.match is None:
        return person_called(analysis.people, mapped.person)
    person = nearest_person(analysis, role.match, analyzer.same_person_distance)
    if person is None:
        raise NoFaceError(
            f"{analysis.media.path}: nobody looks like {mapped.who}",
            f"there are {who_is_there(analysis.people)}; --map SOURCE=NUMBER takes one of them",
        )
    return person

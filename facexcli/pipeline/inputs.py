"""The files that a run reads, and whom the stills of a `--map` are for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from facexcli.errors import InputError, UsageError
from facexcli.faces.select import NAMELESS, RULES
from facexcli.media.container import check_file
from facexcli.media.image import IMAGE_SUFFIXES
from facexcli.media.probe import fingerprint, probe
from facexcli.settings import parse_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.settings import PeopleSettings


class InputFile(BaseModel):
    """A file that a run reads, and the hash of its content, so that a changed file is noticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    fingerprint: str

    @classmethod
    def of(cls, path: Path) -> InputFile:
        """Raises InputError when the file cannot be read."""
        return cls(path=path, fingerprint=fingerprint(path))

    def check(self) -> None:
        """Raises InputError when the file is gone or is no longer what the plan was made for."""
        if fingerprint(self.path) != self.fingerprint:
            raise InputError(f"{self.path} has changed since the plan was made", "make the plan again with --dry-run")


def weight_files(*places: Path | None) -> tuple[InputFile, ...]:
    """The files of weights that a user named: each place is a file, a folder with all that is in it, or None.

    A place that is not there is a name, and no file of the user's. Raises InputError for one that cannot be read.
    """
    files: list[Path] = []
    for place in places:
        if place is not None and place.is_dir():
            files += sorted(path for path in place.rglob("*") if path.is_file())
        elif place is not None and place.is_file():
            files.append(place)
    return tuple(InputFile.of(path) for path in files)


def expand_stills(sources: Sequence[Path]) -> tuple[Path, ...]:
    """The stills of a person: files as given, folders as the pictures in them, by name.

    Raises InputError for a folder without pictures, UsageError for no source at all.
    """
    stills: list[Path] = []
    for source in sources:
        if not source.is_dir():
            stills.append(source)
            continue
        found = sorted(path for path in source.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise InputError(f"{source}: no pictures in this folder", "give a folder with JPEG, PNG or WebP pictures")
        stills.extend(found)
    if not stills:
        raise UsageError("no source picture was given", "facex swap SOURCE... TARGET -o OUT")
    return tuple(stills)


def check_still(path: Path) -> None:
    """Raises UsageError for anything but a picture, InputError for what cannot be read."""
    if probe(path).kind != "image":
        raise UsageError(f"{path} is not a still picture", "give a JPEG, PNG or WebP picture of the person")


class MappedPerson(BaseModel):
    """One `--map`: the stills of an identity, and who gets it, by number or name (`person`) or by a reference still."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[InputFile, ...]
    person: str = ""
    reference: InputFile | None = None

    @property
    def who(self) -> str:
        """What the user typed after the equals sign."""
        return str(self.reference.path) if self.reference else self.person

    @property
    def inputs(self) -> tuple[InputFile, ...]:
        return (*self.sources, *([self.reference] if self.reference else ()))


@dataclass(frozen=True, slots=True)
class Mapped:
    """The stills of an identity, and who gets it: a number or a name as text, or a reference still as Path."""

    sources: tuple[Path, ...]
    who: str | Path

    @classmethod
    def parse(cls, text: str) -> Mapped:
        """SOURCE=WHO as it is typed. WHO is a still where there is such a file. Raises InputError."""
        source, who = parse_map(text)
        path = Path(who)
        if path.is_file() or path.name != who or path.suffix.lower() in IMAGE_SUFFIXES:
            check_file(path)
            return cls((Path(source),), path)
        return cls((Path(source),), who)


def check_names(people: PeopleSettings, maps: Sequence[MappedPerson]) -> None:
    """Only a saved analysis has names of the user's own: elsewhere a wrong one need not wait for the analysis."""
    if people.analysis is not None:
        return
    asked = [] if people.faces in RULES else people.faces.split(",")
    for name in [*asked, *(row.person for row in maps if row.person)]:
        wanted = name.strip().casefold()
        if not re.fullmatch(rf"({NAMELESS})?[1-9]\d*", wanted, re.ASCII):
            near = get_close_matches(wanted, RULES, n=1, cutoff=0.7)
            raise UsageError(
                f"{name.strip()!r} is not the number of a person, and without --analysis nobody has a name",
                f"did you mean {near[0]!r}?" if near else "`facex faces` shows numbers; --analysis FILE knows names",
            )


def check_maps(maps: Sequence[MappedPerson], people: PeopleSettings) -> None:
    """Raises ValueError where the maps contradict each other or the settings."""
    if people.faces != "largest" or people.match is not None:
        raise ValueError(f"--map says whose faces: leave out {'--match' if people.match else '--faces'}")
    seen: dict[str, MappedPerson] = {}
    for row in maps:
        if not row.sources or bool(row.person.strip()) == (row.reference is not None):
            raise ValueError("each map has sources, and one of person and reference")
        key = row.reference.fingerprint if row.reference else _person_key(row.person)
        if key in seen:
            raise ValueError(f"--map gives two faces to {row.who}")
        seen[key] = row


def _person_key(who: str) -> str:
    """The same for 1 and "person 1"; anything else that is one person only shows when the people are known."""
    return who.strip().casefold().removeprefix(NAMELESS)

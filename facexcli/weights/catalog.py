"""What is known of public weights: names, addresses, licences, and the facts that an engine needs to run them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from facexcli.errors import WeightsError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Entry:
    """Weights that have a name.

    One of three says where they come from: `repository` and `revision` (of the Hugging Face hub), `url`, or `page`,
    where a person must register, so that nothing can be fetched, only added. `files` are what is kept; `archive` is
    the zip or tar that `url` gives and that holds them; `pickles` tells which of them are published as a pickle, and
    under which name. `sha256` and `size_bytes` are the publisher's, by published file, and lack what is not known.
    `facts` is what an engine reads: `size_px`, `template`, `mean` and `std` of RGB in 0..1, `embedding_converter` (a
    name of this catalog), and so on; `tensors` are shapes by file and name that a file must have, `part` the table of a
    pickle that is kept alone.
    """

    name: str
    kind: str
    files: tuple[str, ...]
    licence: str
    licence_url: str
    enables: str
    repository: str | None = None
    revision: str | None = None
    url: str | None = None
    page: str | None = None
    archive: str | None = None
    pickles: Mapping[str, str] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)
    size_bytes: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        origins = [origin for origin in (self.repository, self.url, self.page) if origin]
        if len(origins) != 1:
            raise ValueError(f"{self.name}: one of a repository, a url and a page, not {origins}")
        if not self.pickles.keys() <= set(self.files):
            raise ValueError(f"{self.name}: pickles of files that it does not have: {sorted(self.pickles)}")
        for file in (self.name, *self.files, *self.pickles.values(), *filter(None, [self.archive])):
            if not file or file.startswith("/") or "\\" in file or ".." in file.split("/"):
                raise ValueError(f"{self.name}: {file!r} would leave the store")


@dataclass(frozen=True, slots=True)
class Embedded:
    """Weights that come with a package that facex needs; nothing is to be pulled."""

    name: str
    package: str
    licence: str
    licence_url: str
    enables: str


EMBEDDED = (
    Embedded(
        "dlib_68_landmarks", "face_recognition_models", "300-W terms: NO commercial use",
        "https://ibug.doc.ic.ac.uk/resources/300-W/", "68 landmarks without a network",
    ),
    Embedded(
        "dlib_identity", "face_recognition_models", "CC0", "https://github.com/davisking/dlib-models",
        "identity without a network",
    ),
)  # fmt: skip


@cache
def catalog() -> Mapping[str, Entry]:
    """All entries by name, in the order of the file."""
    text = resources.files("facexcli.weights").joinpath("catalog.toml").read_text("utf-8")
    return MappingProxyType({name: _entry(name, table) for name, table in tomllib.loads(text).items()})


def entry(name: str, known: Mapping[str, Entry] | None = None) -> Entry:
    """The entry called `name`. Raises UsageError for an unknown name, with the nearest known one."""
    entries = catalog() if known is None else known
    if name not in entries:
        raise unknown_name("weights", name, entries)
    return entries[name]


def _entry(name: str, table: dict[str, Any]) -> Entry:
    try:
        return Entry(
            name=name, files=tuple(table.pop("files")), facts=MappingProxyType(table.pop("facts", {})),
            pickles=MappingProxyType(table.pop("pickles", {})),
            sha256=MappingProxyType(table.pop("sha256", {})), size_bytes=MappingProxyType(table.pop("size_bytes", {})),
            **table,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"the catalog of weights is damaged at {name}: {error}", "install facex again") from error

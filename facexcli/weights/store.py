"""The folder of weights that the user has: nothing gets in unasked, and nothing is used unverified."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from facexcli.config import data_folder
from facexcli.errors import WeightsError
from facexcli.events import Informed, SilentReporter, Warned
from facexcli.weights import archives
from facexcli.weights.catalog import Entry, catalog, entry
from facexcli.weights.convert import convert, demand_converter, is_pickle
from facexcli.weights.download import Source, Told, fetch, forget
from facexcli.weights.hashes import fingerprint, is_unaltered, remember
from facexcli.weights.kinds import reads_graphs, wrong_kind
from facexcli.weights.lock import Locked, LockedFile, exclusive, read_lock, write_lock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from facexcli.events import Reporter

HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A file that lies whole as `*.part`: from where, what its host told, and what an earlier pull recorded."""

    file: str
    origin: object
    told: Told = field(default_factory=Told)
    recorded: LockedFile | None = None


class Store:
    """Weights in `folder` (FACEX_HOME/data/weights, else the user's data folder), of the entries in `known`.

    A file is in the store once its hash stands in the lock file. Safe in several processes and threads.
    """

    def __init__(self, folder: Path | None = None, known: Mapping[str, Entry] | None = None) -> None:
        self.folder = data_folder() / "weights" if folder is None else folder
        self.known = catalog() if known is None else known

    def installed(self, name: str) -> bool:
        """Whether all files of `name` are there; their hashes are checked by `path`. Raises UsageError."""
        files = self._record(name).files
        return all(file in files and self._place(name, file).is_file() for file in entry(name, self.known).files)

    def path(self, name: str, file: str | None = None, reporter: Reporter | None = None) -> Path:
        """A verified file of `name`, the first one by default. Size and SHA-256 are checked once per file and run.

        Raises WeightsError when it is absent, or altered: then it is renamed to `*.rejected`.
        """
        item = entry(name, self.known)
        file = file or item.files[0]
        locked, place = self._record(name).files.get(file), self._place(name, file)
        if locked is None or not place.is_file():
            raise WeightsError(f"{place} is not installed", self._to_get(item))
        try:
            if locked.sha256 == item.sha256.get(file, locked.sha256) and is_unaltered(place, locked, reporter):
                return place
        except OSError as error:
            raise WeightsError(f"{place} cannot be read: {error.strerror or error}", self._to_get(item)) from error
        aside = _set_aside(place, place)
        what = "it is not used" if aside == place else f"set aside as {aside}"
        raise WeightsError(f"{place}: altered since it was taken in; {what}", self._to_get(item))

    def hashes(self, name: str) -> dict[str, str]:
        """SHA-256 (hex) by file that is there, as recorded."""
        files = self._record(name).files
        return {file: locked.sha256 for file, locked in files.items() if self._place(name, file).is_file()}

    def revision(self, name: str) -> str | None:
        """The hub's commit that later pulls ask for too, where the hub told it at the first one."""
        return self._record(name).revision

    def accepted(self, name: str) -> bool:
        """Whether the licence was accepted before."""
        return self._record(name).licence_accepted is not None

    def pull(self, name: str, reporter: Reporter | None = None, *, latest: bool = False) -> tuple[Path, ...]:
        """Fetch what is missing of `name`. The caller has shown the licence, and the user has accepted it.

        What was recorded at the first pull, the hub's commit and the hashes, holds for the later ones; with `latest`,
        all files are fetched anew as they are published today, and replace the old ones when all have come.
        Raises WeightsError.
        """
        item = entry(name, self.known)
        if latest or not self.installed(name):  # else nothing is written, also where nothing could be
            if item.page is not None:
                raise WeightsError(f"{name}: its publisher gives it only to who registers", self._by_hand(item))
            with self._changing(name):
                if latest or not self.installed(name):  # another process may have been faster
                    self._fetch_all(item, reporter or SilentReporter(), latest=latest)
        return tuple(self.path(name, file, reporter) for file in item.files)

    def add(self, name: str, path: Path, reporter: Reporter | None = None) -> tuple[Path, ...]:
        """Take in files that the user has: `path` is the file, the archive, or a folder that holds them.

        A pickle is converted where the entry wants safetensors. Raises WeightsError for a missing or wrong file.
        """
        item, tell = entry(name, self.known), reporter or SilentReporter()
        with self._changing(name):
            folder = self._place(name, "incoming")
            try:
                arrived = [self._copied(item, file, path, folder, tell) for file in item.files]
                self._take_in(item, arrived, tell)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return tuple(self.path(name, file, reporter) for file in item.files)

    def remove(self, name: str) -> int:
        """Delete the files of `name`, rejected and half-fetched ones too. Returns the bytes that became free.

        What is recorded of them stays, so that a later pull brings the same bytes.
        """
        entry(name, self.known)
        folder, freed = self.folder / name, 0
        with self._changing(name):
            if folder.is_dir():
                freed = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                shutil.rmtree(folder)
        return freed

    def _record(self, name: str) -> Locked:
        entry(name, self.known)
        return read_lock(self.folder).get(name, Locked())

    def _place(self, name: str, file: str) -> Path:
        return self.folder / name / file

    def _partial(self, name: str, file: str) -> Path:
        place = self._place(name, file)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place.with_name(f"{place.name}.part")

    def _by_hand(self, item: Entry) -> str:
        what = item.archive or ", ".join(item.pickles.get(file, file) for file in item.files)
        where = item.page or item.url or f"{HUB}/{item.repository}"
        return f"get {what} from {where} and run `facex models add {item.name} PATH`"

    def _to_get(self, item: Entry) -> str:
        return self._by_hand(item) if item.page else f"`facex models pull {item.name}`; or {self._by_hand(item)}"

    def _fetch_all(self, item: Entry, reporter: Reporter, *, latest: bool) -> None:
        record = self._record(item.name)
        files = [f for f in item.files if latest or f not in record.files or not self._place(item.name, f).is_file()]
        for file in item.pickles.keys() & set(files):
            demand_converter(item.pickles[file])
        if item.archive:
            self._fetch_archive(item, files, reporter, latest=latest)
            return
        token = os.environ.get("HF_TOKEN") if item.repository else None
        revision = item.revision if latest else record.revision or item.revision
        by_hand, arrived = self._by_hand(item), []
        if revision != item.revision:
            by_hand = f"`facex models pull {item.name} --latest` takes what is published today; or {by_hand}"
        for file in files:
            published = item.pickles.get(file, file)
            source = Source(_url(item, published, revision), by_hand, token)
            told = fetch(source, self._partial(item.name, published), reporter)
            revision = told.revision or revision  # the other files are to be of the same commit
            if published != file:
                self._convert_fetched(item, file, published, told, reporter)
                told = replace(told, sha256=None)
            told = replace(told, revision=told.revision or (None if latest else record.revision))
            arrived.append(_Arrived(file, source.url, told, None if latest else record.files.get(file)))
            if not latest:
                self._take_in(item, [arrived.pop()], reporter)
        self._take_in(item, arrived, reporter)

    def _fetch_archive(self, item: Entry, files: Sequence[str], reporter: Reporter, *, latest: bool) -> None:
        archive = item.archive or ""
        packed, unpacked = self._partial(item.name, archive), self._place(item.name, "incoming")
        source = Source(_url(item, archive, item.revision), self._by_hand(item))
        fetch(source, packed, reporter)
        recorded = {} if latest else self._record(item.name).files
        try:
            archives.extract(packed, unpacked, item.files)
            for file in files:
                os.replace(unpacked / file, self._partial(item.name, file))
            arrived = [_Arrived(file, source.url, recorded=recorded.get(file)) for file in files]
            self._take_in(item, arrived, reporter)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
        packed.unlink()

    def _copied(self, item: Entry, file: str, path: Path, folder: Path, reporter: Reporter) -> _Arrived:
        given, partial = self._found(item, file, path, folder), self._partial(item.name, file)
        forget(partial)
        if file.endswith(".safetensors") and is_pickle(given):
            wanted = item.sha256.get(item.pickles.get(file, ""))
            if wanted and fingerprint(given, reporter).sha256 != wanted:
                raise WeightsError(f"{given}: its SHA-256 is not {wanted}, as published", "it was not opened")
            self._convert(item, given, partial, reporter)
        else:
            shutil.copyfile(given, partial)
        return _Arrived(file, path)

    def _convert_fetched(self, item: Entry, file: str, published: str, told: Told, reporter: Reporter) -> None:
        """A pickle is compared with its publisher's hash before any process opens it."""
        pickle, wanted = self._partial(item.name, published), item.sha256.get(published) or told.sha256
        if wanted and fingerprint(pickle, reporter).sha256 != wanted:
            aside = _set_aside(pickle, self._place(item.name, published))
            raise WeightsError(f"{published} of {item.name}: its SHA-256 is not {wanted}", f"{aside} was not opened")
        self._convert(item, pickle, self._partial(item.name, file), reporter)
        pickle.unlink()

    def _convert(self, item: Entry, pickle: Path, safetensors: Path, reporter: Reporter) -> None:
        dropped = convert(pickle, safetensors, item.facts.get("part", ""))
        what = f"; dropped, for it is no weight: {', '.join(dropped)}"[:300] if dropped else ""
        reporter.emit(Informed(f"{pickle.name.removesuffix('.part')}: a pickle, converted to safetensors{what}"))

    def _take_in(self, item: Entry, arrived: Sequence[_Arrived], reporter: Reporter) -> None:
        """Give whole `*.part`s their names and record them, if all of them are what they say they are."""
        checked = [(one, self._checked(item, one, reporter)) for one in arrived]
        for one, found in checked:
            place = self._place(item.name, one.file)
            os.replace(self._partial(item.name, one.file), place)
            remember(place, found)
            self._write_down(item.name, one.file, found, one.told.revision)

    def _checked(self, item: Entry, one: _Arrived, reporter: Reporter) -> LockedFile:
        file, partial = one.file, self._partial(item.name, one.file)
        found = fingerprint(partial, reporter)
        # What a later torch writes of the same tensors may differ, so a converted file is not held to its record.
        pinned = one.recorded.sha256 if one.recorded and file not in item.pickles else None
        wanted = item.sha256.get(file) or pinned or one.told.sha256
        if (wanted or found.sha256) != found.sha256:
            reason = f"its SHA-256 is {found.sha256}, not {wanted}"
        elif item.size_bytes.get(file, found.size_bytes) != found.size_bytes:
            reason = "its size is wrong"
        else:
            reason = wrong_kind(item, file, partial) if wanted is None else ""
        if reason:
            hint = f"{item.name}: it was set aside as {_set_aside(partial, self._place(item.name, file))}"
            if wanted is not None and wanted == pinned:
                hint += f"; `facex models pull {item.name} --latest` takes what is published today"
            raise WeightsError(f"{one.origin}: is not the {file} of {item.name}: {reason}", hint)
        if wanted is None and file.endswith(".onnx") and not reads_graphs():
            reporter.emit(Warned(f"{file}: its hash is not known, and without onnx only its beginning was looked at"))
        return found

    def _write_down(self, name: str, file: str, found: LockedFile, revision: str | None) -> None:
        with exclusive(self.folder, "store"):
            records = read_lock(self.folder)
            old = records.get(name, Locked())
            accepted = old.licence_accepted or datetime.now(UTC).isoformat(timespec="seconds")
            records[name] = Locked({**old.files, file: found}, revision, accepted)
            write_lock(self.folder, records)

    def _found(self, item: Entry, file: str, path: Path, folder: Path) -> Path:
        """Where `file` is in what the user named."""
        if path.is_dir():
            names = (file, item.pickles.get(file, file))
            places = [path / place for name in names for place in (name, name.rsplit("/", 1)[-1])]
            near = next((place for place in places if place.is_file()), None)
            if near is None:
                raise WeightsError(f"{path} holds no {file}", f"{item.name} needs {', '.join(item.files)}")
            return near
        if not path.is_file():
            raise WeightsError(f"{path} does not exist", self._by_hand(item))
        if item.archive:
            if not folder.exists():
                archives.extract(path, folder, item.files)
            return folder / file
        if len(item.files) > 1:
            raise WeightsError(f"{path}: {item.name} has several files", "name a folder that holds them")
        return path

    @contextmanager
    def _changing(self, name: str) -> Iterator[None]:
        """One at a time, and what the system refuses in our words."""
        try:
            with exclusive(self.folder, name):
                yield
        except OSError as error:
            hint = "make room, or set FACEX_HOME to a folder that can be written"
            raise WeightsError(f"{error.filename or self.folder}: {error.strerror or error}", hint) from error


def _url(item: Entry, file: str, revision: str | None) -> str:
    if item.url:
        return item.url if file == item.archive or len(item.files) == 1 else f"{item.url.rstrip('/')}/{file}"
    hub = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    return f"{hub}/{item.repository}/resolve/{revision}/{file}"


def _set_aside(path: Path, place: Path) -> Path:
    """Rename to a free `*.rejected`; in a store that is read-only the file stays, and is still not used."""
    aside = place.with_name(f"{place.name}.rejected")
    number = 1
    while aside.exists():
        number += 1
        aside = place.with_name(f"{place.name}.{number}.rejected")
    with suppress(OSError):
        os.replace(path, aside)
        return aside
    return path

"""The folder of weights that the user has: nothing gets in unasked, and nothing is used unverified."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from facexcli.config import data_folder
from facexcli.errors import WeightsError
from facexcli.events import SilentReporter
from facexcli.weights import archives
from facexcli.weights.catalog import Entry, catalog, entry
from facexcli.weights.download import Source, Told, fetch
from facexcli.weights.lock import Locked, LockedFile, exclusive, fingerprint, read_lock, write_lock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from facexcli.events import Reporter

HUB = "https://huggingface.co"
_verified: dict[tuple[str, int, int, str], bool] = {}
_verifying = threading.Lock()


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

    def path(self, name: str, file: str | None = None) -> Path:
        """A verified file of `name`, the first one by default. Size and SHA-256 are checked once per file and run.

        Raises WeightsError when it is absent, or altered: then it is renamed to `*.rejected`.
        """
        item = entry(name, self.known)
        file = file or item.files[0]
        locked, place = self._record(name).files.get(file), self._place(name, file)
        if locked is None or not place.is_file():
            raise WeightsError(f"{place} is not installed", f"`facex models pull {name}`; or {self._by_hand(item)}")
        self._verify(item, place, locked)
        return place

    def hashes(self, name: str) -> dict[str, str]:
        """SHA-256 (hex) by file, as recorded."""
        return {file: locked.sha256 for file, locked in self._record(name).files.items()}

    def accepted(self, name: str) -> bool:
        """Whether the licence was accepted before."""
        return self._record(name).licence_accepted is not None

    def pull(self, name: str, reporter: Reporter | None = None) -> tuple[Path, ...]:
        """Fetch what is missing of `name`. The caller has shown the licence, and the user has accepted it.

        Raises WeightsError.
        """
        item = entry(name, self.known)
        with self._changing(name):
            if not self.installed(name):
                self._fetch_all(item, reporter or SilentReporter())
        return tuple(self.path(name, file) for file in item.files)

    def add(self, name: str, path: Path) -> tuple[Path, ...]:
        """Take in files that the user has: `path` is the file, the archive, or a folder that holds them.

        Raises WeightsError for a missing or wrong one.
        """
        item = entry(name, self.known)
        with self._changing(name):
            folder = self._place(name, "incoming")
            try:
                for file in item.files:
                    shutil.copyfile(self._found(item, file, path, folder), self._partial(name, file))
                    self._take_in(item, file, Told(None, None), path)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return tuple(self.path(name, file) for file in item.files)

    def remove(self, name: str) -> int:
        """Delete the files of `name`, rejected and half-fetched ones too. Returns the bytes that became free."""
        entry(name, self.known)
        folder, freed = self.folder / name, 0
        with self._changing(name):
            if folder.is_dir():
                freed = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                shutil.rmtree(folder)
            with exclusive(self.folder, "store"):
                write_lock(self.folder, {k: v for k, v in read_lock(self.folder).items() if k != name})
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
        what = item.archive or ", ".join(item.files)
        where = item.url or f"{HUB}/{item.repository}"
        return f"get {what} from {where} and run `facex models add {item.name} PATH`"

    def _fetch_all(self, item: Entry, reporter: Reporter) -> None:
        token = os.environ.get("HF_TOKEN") if item.repository else None
        missing = [
            f for f in item.files if f not in self._record(item.name).files or not self._place(item.name, f).is_file()
        ]
        if item.archive:
            packed = self._partial(item.name, item.archive)
            fetch(Source(_url(item, item.archive), self._by_hand(item)), packed, reporter)
            unpacked = self._place(item.name, "incoming")
            try:
                archives.extract(packed, unpacked, item.files)
                for file in missing:
                    os.replace(unpacked / file, self._partial(item.name, file))
                    self._take_in(item, file, Told(None, None), packed)
            finally:
                shutil.rmtree(unpacked, ignore_errors=True)
            packed.unlink()
            return
        for file in missing:
            source = Source(_url(item, file), self._by_hand(item), token)
            self._take_in(item, file, fetch(source, self._partial(item.name, file), reporter), source.url)

    def _take_in(self, item: Entry, file: str, told: Told, origin: object) -> None:
        """Give a whole `*.part` its name and record it, if it is what it says it is."""
        partial = self._partial(item.name, file)
        found = fingerprint(partial)
        wanted, size = item.sha256.get(file) or told.sha256, item.size_bytes.get(file, found.size_bytes)
        if (wanted or found.sha256) != found.sha256 or size != found.size_bytes:
            reason = f"its SHA-256 is {found.sha256}, not {wanted}" if size == found.size_bytes else "its size is wrong"
        else:
            reason = _wrong_kind(partial)
        if reason:
            aside = _set_aside(partial, self._place(item.name, file))
            raise WeightsError(f"{origin}: is not the {file} of {item.name}: {reason}", f"it was set aside as {aside}")
        os.replace(partial, self._place(item.name, file))
        with exclusive(self.folder, "store"):
            records = read_lock(self.folder)
            old = records.get(item.name, Locked())
            accepted = old.licence_accepted or datetime.now(UTC).isoformat(timespec="seconds")
            files = {**old.files, file: found}
            records[item.name] = replace(
                old, files=files, revision=told.revision or old.revision, licence_accepted=accepted
            )
            write_lock(self.folder, records)

    def _found(self, item: Entry, file: str, path: Path, folder: Path) -> Path:
        """Where `file` is in what the user named."""
        if path.is_dir():
            near = next((p for p in (path / file, path / file.rsplit("/", 1)[-1]) if p.is_file()), None)
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

    def _verify(self, item: Entry, place: Path, locked: LockedFile) -> None:
        with _verifying:
            status = place.stat()
            key = (str(place.resolve()), status.st_mtime_ns, status.st_size, locked.sha256)
            if key in _verified:
                return
            wanted = item.sha256.get(place.relative_to(self.folder / item.name).as_posix(), locked.sha256)
            if status.st_size == locked.size_bytes and fingerprint(place).sha256 == locked.sha256 == wanted:
                _verified[key] = True
                return
            aside = _set_aside(place, place)
        raise WeightsError(
            f"{place}: altered since it was taken in; set aside as {aside}", f"`facex models pull {item.name}`"
        )

    @contextmanager
    def _changing(self, name: str) -> Iterator[None]:
        """One at a time, and what the system refuses in our words."""
        try:
            with exclusive(self.folder, name):
                yield
        except OSError as error:
            hint = "make room, or set FACEX_HOME to a folder that can be written"
            raise WeightsError(f"{error.filename or self.folder}: {error.strerror or error}", hint) from error


def _url(item: Entry, file: str) -> str:
    if item.url:
        return item.url if file == item.archive or len(item.files) == 1 else f"{item.url.rstrip('/')}/{file}"
    hub = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    return f"{hub}/{item.repository}/resolve/{item.revision}/{file}"


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


def _wrong_kind(path: Path) -> str:
    """What is wrong with the beginning of a file whose hash nobody told; empty when it looks right."""
    with path.open("rb") as stream:
        head = stream.read(512)
    suffix = path.with_suffix("").suffix
    if not head:
        return "it is empty"
    if head.lstrip()[:1] == b"<" or head.startswith(b"version https://git-lfs"):
        return "it is a page or a pointer, not weights"
    if suffix == ".onnx" and head[:1] != b"\x08":  # field 1 of ModelProto, ir_version, comes first
        return "it is no ONNX graph"
    if suffix == ".safetensors" and not (
        head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size
    ):
        return "it is no safetensors file"
    return ""

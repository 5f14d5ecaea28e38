"""Takes named files out of a zip or tar that nobody has to trust."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from typing import IO, TYPE_CHECKING

from facexcli.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MOST_BYTES = 8 << 30
MOST_RATIO = 200
"""Unpacked over packed; weights hardly shrink, a bomb is a thousandfold."""
_CHUNK = 1 << 20


def extract(archive: Path, folder: Path, files: Sequence[str]) -> None:
    """Write each of `files` below `folder`, wherever in the archive it lies. Nothing else comes out of it.

    The archive's own paths are only compared, never written to; links and devices are passed over.
    Raises WeightsError for a damaged archive, a missing file, or more bytes than an honest archive holds.
    """
    limit = min(MOST_BYTES, archive.stat().st_size * MOST_RATIO)
    missing = set(files)
    try:
        for member, stream in _members(archive):
            wanted = next((f for f in sorted(missing) if member == f or member.endswith(f"/{f}")), None)
            if wanted is not None:
                limit -= _write(stream, folder / wanted, limit, archive)
                missing.discard(wanted)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError) as error:
        raise WeightsError(f"{archive}: damaged archive: {error}", "remove it, and pull again") from error
    if missing:
        raise WeightsError(f"{archive}: holds no {', '.join(sorted(missing))}", "it is not what the catalog expects")


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for item in packed.infolist():
                is_link = item.external_attr >> 16 & 0o170000 == 0o120000
                if not item.is_dir() and not is_link:
                    with packed.open(item) as stream:
                        yield item.filename, stream
        return
    with tarfile.open(archive) as rolled:
        for member in rolled:
            stream_or_none = rolled.extractfile(member) if member.isreg() else None
            if stream_or_none is not None:
                yield member.name, stream_or_none


def _write(stream: IO[bytes], path: Path, limit: int, archive: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    try:
        with path.open("xb") as file:
            while block := stream.read(_CHUNK):
                written += len(block)
                if written > limit:
                    raise WeightsError(f"{archive}: unpacks to more than it can hold", "do not use this archive")
                file.write(block)
    except WeightsError:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise
    return written

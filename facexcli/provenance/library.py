"""The C2PA library as facex uses it: imported late, bounded in memory, and without a network unless it is asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST_TYPE = "application/c2pa"
SIDECAR_SUFFIX = ".c2pa"
LARGEST_SIDECAR_BYTES = 64 << 20
"""A manifest of facex has some thousand bytes; those of others carry thumbnails, and the manifests of their parents."""
EMBEDDED_TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".gif": "image/gif",
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp",
}  # fmt: skip
"""What takes a manifest into the file. AVI could, but the library would hold the whole file in memory."""
BYTES_TYPE = "application/octet-stream"
"""What the library hashes as it is, without looking for a manifest in it."""
_STARTS = {
    b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
}  # fmt: skip
_MEMORY_MB = 8
_HASHED_PIECE_KB = 1024


def takes_manifest(path: Path) -> bool:
    """Whether facex puts the manifest into a file of this name."""
    return path.suffix.lower() in EMBEDDED_TYPES


def type_of(file: BinaryIO) -> str:
    """The media type of an open file by its first bytes: BYTES_TYPE for what carries no manifest that is read here."""
    head = file.read(16)
    file.seek(0)
    if head[4:8] == b"ftyp":
        return "video/mp4"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _STARTS.items() if head.startswith(start)), BYTES_TYPE)


def sidecar_of(path: Path) -> Path:
    """Where the manifest of a file lies that cannot carry it: its name with .c2pa in place of the suffix.

    C2PA 2.2, 11.4, and what other readers look for.
    """
    return path.with_suffix(SIDECAR_SUFFIX)


def find_sidecar(path: Path) -> Path | None:
    """The manifest beside a file: out.c2pa or out.mkv.c2pa for out.mkv; None where there is none."""
    for sidecar in (sidecar_of(path), path.with_name(path.name + SIDECAR_SUFFIX)):
        if sidecar != path and sidecar.is_file():
            return sidecar
    return None


def context(*, thumbnails: bool = False, online: bool = False, trust: str = "") -> Any:
    """A `c2pa.Context`. `online` lets it ask a time stamp authority; `trust` are PEM certificates to be believed.

    Video is hashed in pieces (C2PA 2.2, 18.6: Merkle tree), because the library would otherwise take up to 256 MB of
    it into memory at once.
    """
    import c2pa

    settings: dict[str, Any] = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": True},
        "core": {
            "backing_store_memory_threshold_in_mb": _MEMORY_MB,
            "merkle_tree_chunk_size_in_kb": _HASHED_PIECE_KB,
        },
        "builder": {"thumbnail": {"enabled": thumbnails, "long_edge": 320}},
    }
    if not online:
        settings["core"]["allowed_network_hosts"] = []
    if trust:
        settings["trust"] = {"user_anchors": trust}
    return c2pa.Context.from_dict(settings)


class AsItIs:
    """A destination for a manifest that stays outside: what is written is what is there already, and is not kept.

    The library copies its source to its destination and hashes the copy; a video needs no second copy for that.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._size = os.fstat(source.fileno()).st_size
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        self._source.seek(self._position)
        piece = self._source.read(size)
        self._position += len(piece)
        return piece

    def write(self, piece: bytes) -> int:
        self._position += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Nothing is held."""

    def rewind(self) -> None:
        """Begin again."""
        self._position = 0


class Noting:
    """A file for the library to write to. It remembers what the system said when it failed; the library does not."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, piece: bytes) -> int:
        try:
            return self._file.write(piece)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            self.error = error
            raise

    def rewind(self) -> None:
        """Begin again, with nothing written."""
        self._file.seek(0)
        self._file.truncate()

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def reason_of(error: Exception) -> str:
    """The library's sentence in one short line."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__

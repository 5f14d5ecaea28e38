"""Which code makes the frames."""

from __future__ import annotations

import hashlib
from pathlib import Path

import facexcli


def code_digest(package: Path = Path(facexcli.__file__).parent) -> str:
    """SHA-256, hexadecimal, of facex's version and of the code in the folder of its package."""
    digest = hashlib.sha256(facexcli.__version__.encode())
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()

"""The lock file of a store: which files it holds, with their hashes, and whose licences were accepted."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from facexcli.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LOCK_FILE = "lock.json"


@dataclass(frozen=True, slots=True)
class LockedFile:
    """What a file was when it was taken in."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Locked:
    """What is recorded of one name. `revision` is the hub's commit, where the hub told it."""

    files: Mapping[str, LockedFile] = field(default_factory=dict)
    revision: str | None = None
    licence_accepted: str | None = None


def read_lock(folder: Path) -> dict[str, Locked]:
    """The records by name; none where there is no lock file. Raises WeightsError for a damaged one."""
    path = folder / LOCK_FILE
    try:
        document = json.loads(path.read_text("utf-8"))
        return {name: _locked(table) for name, table in document["weights"].items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "move it away, and `facex models add` the files that you trust"
        raise WeightsError(f"{path} is damaged: {error}", hint) from error


def write_lock(folder: Path, records: Mapping[str, Locked]) -> None:
    """Replace the lock file in one step. Raises OSError."""
    temporary = folder / f".{LOCK_FILE}.{secrets.token_hex(4)}"
    text = json.dumps({"version": 1, "weights": {n: asdict(r) for n, r in sorted(records.items())}}, indent=1)
    try:
        temporary.write_text(text + "\n", "utf-8")
        os.replace(temporary, folder / LOCK_FILE)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def exclusive(folder: Path, name: str) -> Iterator[None]:
    """One process or thread at a time does what it does with `name` in this store; the others wait.

    Raises OSError where the store cannot be written.
    """
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(str(folder / f".{name}.lock")):
        yield


def _locked(table: Mapping[str, Any]) -> Locked:
    files = {name: LockedFile(str(file["sha256"]), int(file["size_bytes"])) for name, file in table["files"].items()}
    return Locked(files, table.get("revision"), table.get("licence_accepted"))

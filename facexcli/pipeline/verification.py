"""Whether a file says of itself that it is synthetic: its manifest, and tags that are not signed."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from facexcli.errors import InputError
from facexcli.media.container import check_file
from facexcli.media.probe import probe
from facexcli.provenance.reading import read_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from facexcli.provenance.reading import Finding

_SEARCHED_BYTES = 1 << 20
_TAG = re.compile(
    rb"digitalsourcetype/(compositeSynthetic|compositeWithTrainedAlgorithmicMedia|trainedAlgorithmicMedia)"
)


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found in a file.

    Attributes:
        path: the file.
        manifest: its manifest's state, and what it says.
        tagged: unsigned metadata that call the file synthetic (an IPTC digital source type), or "".
    """

    path: Path
    manifest: Finding
    tagged: str

    @property
    def is_found(self) -> bool:
        """Whether something that can be relied on says that the file is synthetic, or was edited."""
        return self.manifest.state in ("valid", "untrusted")

    @property
    def is_tampered(self) -> bool:
        return self.manifest.state == "tampered"

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `facex verify --json` prints them."""
        manifest = asdict(self.manifest) | {"run_id": self.manifest.run_id}
        return {"file": str(self.path), "manifest": manifest, "tagged": self.tagged}


def verify(path: Path, trust: Path | None = None) -> Verification:
    """Look for everything in a file that says what it is. `trust` names certificates of those who may vouch, PEM.

    Raises InputError for a file that cannot be read, or is no picture and no video.
    """
    check_file(path)
    manifest = read_manifest(path, _certificates(trust) if trust is not None else "")
    if manifest.state == "absent":
        probe(path)  # nothing was found in it: that is only said about pictures and videos
    return Verification(path, manifest, _tag(path))


def _certificates(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not PEM text"
        raise InputError(f"{path}: cannot be read: {reason}", "--trust takes certificates in PEM form") from error


def _tag(path: Path) -> str:
    """An IPTC digital source type in the beginning or the end of a file, where containers keep their metadata."""
    try:
        with path.open("rb") as file:
            for start in (0, max(0, path.stat().st_size - _SEARCHED_BYTES)):
                file.seek(start)
                if found := _TAG.search(file.read(_SEARCHED_BYTES)):
                    return found[1].decode("ascii")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    return ""

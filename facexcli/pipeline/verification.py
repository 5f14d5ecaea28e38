"""Whether a file says of itself that it is synthetic: its manifest, and tags that are not signed."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from facexcli.errors import InputError
from facexcli.media.container import check_file
from facexcli.media.probe import probe
from facexcli.provenance.reading import read_manifest
from facexcli.provenance.run_id import run_id_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from facexcli.fusion.watermark_search import Evidence
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
        watermark: what speaks for a watermark in its faces; None where nobody looked, or the pictures cannot be read.
    """

    path: Path
    manifest: Finding
    tagged: str
    watermark: Evidence | None = None

    @property
    def is_found(self) -> bool:
        """Whether something that can be relied on says that the file is synthetic, or was edited."""
        return self.manifest.state in ("valid", "untrusted") or self.is_marked

    @property
    def is_marked(self) -> bool:
        """Whether its faces bear a watermark."""
        return self.watermark is not None and self.watermark.is_found

    @property
    def marked_run(self) -> str:
        """The run that the watermark names, or ""."""
        return run_id_text(self.watermark.run_id) if self.watermark is not None and self.watermark.is_read else ""

    @property
    def is_tampered(self) -> bool:
        return self.manifest.state == "tampered"

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `facex verify --json` prints them."""
        manifest = asdict(self.manifest) | {"run_id": self.manifest.run_id}
        return {
            "file": str(self.path),
            "manifest": manifest,
            "tagged": self.tagged,
            "watermark": None if self.watermark is None else self._marked_json(self.watermark),
        }

    def _marked_json(self, evidence: Evidence) -> dict[str, Any]:
        return {
            "found": evidence.is_found,
            "log10_chance": round(evidence.log10_chance, 1),
            "run_id": self.marked_run,
            "certainty": round(evidence.certainty, 3) if evidence.is_found else 0.0,
        }


def verify(path: Path, trust: Path | None = None, keys: Sequence[bytes] = ()) -> Verification:
    """Look for everything in a file that says what it is.

    Args:
        path: a picture or a video.
        trust: certificates of those who may vouch, PEM.
        keys: of the watermarks to look for in its faces, which takes some seconds; none: nobody looks.
    Raises:
        InputError: the file cannot be read, or is no picture and no video.
    """
    check_file(path)
    manifest = read_manifest(path, _certificates(trust) if trust is not None else "")
    if manifest.state == "absent":
        probe(path)  # nothing was found in it: that is only said about pictures and videos
    return Verification(path, manifest, _tag(path), _watermark(path, keys))


def _watermark(path: Path, keys: Sequence[bytes]) -> Evidence | None:
    if not keys:
        return None
    from facexcli.pipeline.watermark import find_watermark

    try:
        return find_watermark(path, keys)
    except InputError:
        return None  # a manifest may be in order where the pictures cannot be decoded any more


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

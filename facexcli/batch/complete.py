"""Whether an output is there already, complete and from the same plan: its mere existence says nothing."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from facexcli.errors import FacexError
from facexcli.media.picture_files import PicturePattern
from facexcli.media.probe import fingerprint
from facexcli.provenance.reading import read_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from facexcli.pipeline.plan import Plan


def job_fingerprint(plan: Plan) -> str:
    """SHA-256, hexadecimal, of all that a result depends on: its plan, its marks, files that a plan only names.

    Raises InputError for a file that cannot be read.
    """
    marks = plan.settings.provenance
    facts = [plan.fingerprint, plan.output.suffix.lower(), marks.mark, marks.thumbnails, *_outside(plan)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _outside(plan: Plan) -> list[str]:
    """Contents of the files that have a say in a result and whose contents are not in the plan's own fingerprint."""
    people = plan.settings.people
    return [fingerprint(path) for path in (people.match, people.analysis) if path is not None]


def content_of(output: Path) -> str:
    """What is at an output: size and SHA-256; of a pattern all its pictures. "" for nothing."""
    pattern = PicturePattern.of(output)
    try:
        if pattern is None:
            return fingerprint(output) if output.is_file() else ""
        pictures = sorted(pattern.existing())
        parts = [f"{path.name} {fingerprint(path)}" for path in pictures]
        return f"{len(parts)}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}" if parts else ""
    except FacexError:
        return ""


def is_complete(plan: Plan, own_fingerprint: str, earlier: Mapping[str, Any]) -> bool:
    """Whether the plan's result is at its output. `own_fingerprint` is the job's, `earlier` its line in old results.

    Either the results of an earlier batch say so, and the file is still what was written then; or its manifest names
    this plan and the file is as it was signed.
    """
    if (
        earlier.get("fingerprint") == own_fingerprint
        and earlier.get("content")
        and earlier["content"] == content_of(plan.output)
    ):
        return True
    if plan.settings.provenance.mark == "off" or _outside(plan):
        return False  # the manifest does not say that
    pattern = PicturePattern.of(plan.output)
    paths = [plan.output] if pattern is None else pattern.existing()
    return bool(paths) and all(_is_signed_for(plan, path) for path in paths)


def _is_signed_for(plan: Plan, path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        finding = read_manifest(path)
    except FacexError:
        return False
    return finding.state in ("valid", "untrusted") and finding.facts.get("plan_sha256") == plan.fingerprint

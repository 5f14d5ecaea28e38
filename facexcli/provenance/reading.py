"""What a file's manifest says, and whether it can be believed. The file may be hostile: all that is read is bounded."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from facexcli.errors import InputError
from facexcli.provenance.library import (
    BYTES_TYPE,
    LARGEST_SIDECAR_BYTES,
    context,
    find_sidecar,
    reason_of,
    type_of,
)
from facexcli.provenance.manifest import RUN_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

State = Literal["valid", "untrusted", "tampered", "absent"]

_LARGEST_JSON_CHARS = 32 << 20
_LONGEST_TEXT = 300
_MOST_ITEMS = 50
_SEARCHED_BYTES = 1 << 20
_MARKER = b"jumdc2pa"  # the description box of a manifest store (C2PA 2.2, 11.1.4), wherever a container keeps it
# What is said about the signer and not about the content (C2PA 2.2, 15.2).
_ABOUT_SIGNER = ("signingCredential.", "timeStamp.", "timeOfSigning.")
_SIGNED = "claimSignature.validated"
_CONTENT_HOLDS = {f"assertion.{kind}Hash.match" for kind in ("data", "bmff", "boxes", "collection", "multiAsset")}
_CHANGED = ("assertion.dataHash.mismatch", "assertion.bmffHash.mismatch", "assertion.boxesHash.mismatch")


@dataclass(frozen=True, slots=True)
class SeenIngredient:
    """A file that the result was made from: what it is called, and the state of the manifest that it had."""

    title: str
    is_parent: bool
    state: State


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about a file's manifest.

    Attributes:
        state: valid: unchanged since it was signed by somebody who is vouched for. untrusted: unchanged, but nobody
            vouches for the signer. tampered: changed, damaged or not of this file. absent: there is none.
        place: "embedded", the path of a sidecar, or "".
        signer: the organization and the name in the certificate.
        signed_at: when, by a time stamp authority; "" without one.
        generator: the program that made the manifest.
        descriptions: what was done, as the manifest puts it.
        source_types: IPTC digital source types, without their address.
        ingredients: what it was made from.
        facts: what facex says about its run; empty for manifests of other programs.
        problems: what is wrong, a sentence each.
    """

    state: State
    place: str = ""
    signer: str = ""
    signed_at: str = ""
    generator: str = ""
    descriptions: tuple[str, ...] = ()
    source_types: tuple[str, ...] = ()
    ingredients: tuple[SeenIngredient, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def run_id(self) -> str:
        """The run id that facex wrote, as text; "" for others."""
        return str(self.facts.get("run_id", ""))


def read_manifest(path: Path, trust: str = "") -> Finding:
    """What the manifest of a file says, in it or beside it. `trust` are PEM certificates of those who may vouch.

    Raises InputError for a file that cannot be opened, and for trust that is none.
    """
    import c2pa

    try:
        settings = context(trust=trust)
    except c2pa.C2paError as error:
        raise InputError(f"the list of trusted certificates cannot be used: {reason_of(error)}",
                         "give certificates in PEM form") from error  # fmt: skip
    try:
        with path.open("rb") as file:
            return _read(path, file, settings)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _read(path: Path, file: BinaryIO, settings: Any) -> Finding:
    import c2pa

    kind = type_of(file)
    if kind != BYTES_TYPE:
        try:
            with c2pa.Reader(kind, file, context=settings) as reader:
                return _found(reader, "embedded")
        except c2pa.C2paError.ManifestNotFound:
            file.seek(0)
        except c2pa.C2paError as error:
            if _has_marker(file):
                return _damaged("embedded", reason_of(error))
            return Finding("absent", problems=(f"the file is damaged: {_plain(reason_of(error))}",))
    sidecar = find_sidecar(path)
    return Finding("absent") if sidecar is None else _beside(sidecar, file, settings)


def _beside(sidecar: Path, file: BinaryIO, settings: Any) -> Finding:
    import c2pa

    if sidecar.stat().st_size > LARGEST_SIDECAR_BYTES:
        return _damaged(str(sidecar), f"it is larger than {LARGEST_SIDECAR_BYTES >> 20} MB")
    file.seek(0)
    try:
        with c2pa.Reader(type_of(file), file, sidecar.read_bytes(), settings) as reader:
            return _found(reader, str(sidecar))
    except c2pa.C2paError as error:
        return _damaged(str(sidecar), reason_of(error))


def _damaged(place: str, reason: str) -> Finding:
    return Finding("tampered", place, problems=(f"the manifest is damaged: {_plain(reason)}",))


def _has_marker(file: BinaryIO) -> bool:
    size = file.seek(0, os.SEEK_END)
    for start in (0, max(0, size - _SEARCHED_BYTES)):
        file.seek(start)
        if _MARKER in file.read(_SEARCHED_BYTES):
            return True
    return False


def _found(reader: Any, place: str) -> Finding:
    text = reader.json()
    if len(text) > _LARGEST_JSON_CHARS:
        return _damaged(place, f"it says more than {_LARGEST_JSON_CHARS >> 20} million characters")
    try:
        store = json.loads(text)
    except (ValueError, RecursionError) as error:
        return _damaged(place, f"it cannot be understood ({type(error).__name__})")
    manifest = _dict(_dict(store.get("manifests")).get(str(store.get("active_manifest"))))
    results = _dict(_dict(store.get("validation_results")).get("activeManifest"))
    codes = _codes(results, "failure")
    state = state_of(str(store.get("validation_state")), codes, _codes(results, "success"))
    signature = _dict(manifest.get("signature_info"))
    actions = _actions(manifest)
    return Finding(
        state=state,
        place=place,
        signer=", ".join(_plain(signature[key]) for key in ("issuer", "common_name") if signature.get(key)),
        signed_at=_plain(signature.get("time") or ""),
        generator=" ".join(_plain(part) for part in _generator(manifest)),
        descriptions=tuple(dict.fromkeys(_plain(each["description"]) for each in actions if each.get("description"))),
        source_types=tuple(dict.fromkeys(_source_types(actions))),
        ingredients=tuple(sorted(map(_seen, _dicts(manifest.get("ingredients"))), key=lambda each: not each.is_parent)),
        facts=_facts(manifest),
        problems=tuple(dict.fromkeys(problem for code in codes if (problem := _problem(code)))),
    )


def state_of(validation_state: str, failures: Iterable[str], successes: Iterable[str]) -> State:
    """The state by the library's own word and the codes of what failed and of what held (C2PA 2.2, 15.2).

    A certificate that nobody vouches for, or that has ended since, takes away trust; it is no sign of a change, as long
    as the signature and the hash of the content were checked all the same and hold.
    """
    held = set(successes)
    if any(not code.startswith(_ABOUT_SIGNER) for code in failures) or _SIGNED not in held or not held & _CONTENT_HOLDS:
        return "tampered"
    return "valid" if validation_state == "Trusted" else "untrusted"


def _codes(results: Mapping[str, Any], outcome: str) -> list[str]:
    found = results.get(outcome)
    return [str(each.get("code")) for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _problem(code: str) -> str:
    if code in _CHANGED:
        return "the file was changed after it was signed, or the manifest is that of another file"
    if code == "signingCredential.untrusted":
        return ""  # what the state says already
    if code == "signingCredential.expired":
        return "the signer's certificate has ended, and no time stamp says that it was signed before"
    if code.startswith("claimSignature."):
        return "the signature does not fit the manifest"
    if code.startswith("assertion.") or code.startswith("claim."):
        return f"a part of the manifest was changed, or is missing ({_plain(code)})"
    return _plain(code)


def _seen(ingredient: Mapping[str, Any]) -> SeenIngredient:
    state: State = "absent"
    if ingredient.get("active_manifest"):
        results = _dict(_dict(ingredient.get("validation_results")).get("activeManifest"))
        state = state_of("Valid", _codes(results, "failure"), _codes(results, "success"))
    return SeenIngredient(_plain(ingredient.get("title") or "?"), ingredient.get("relationship") == "parentOf", state)


def _generator(manifest: Mapping[str, Any]) -> Sequence[Any]:
    for info in _dicts(manifest.get("claim_generator_info")):
        return [info.get("name") or "", info.get("version") or ""]
    return [manifest.get("claim_generator") or ""]


def _actions(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for assertion in _dicts(manifest.get("assertions")):
        if str(assertion.get("label")).startswith("c2pa.actions"):
            found += _dicts(_dict(assertion.get("data")).get("actions"))
    return found[:_MOST_ITEMS]


def _source_types(actions: Iterable[Mapping[str, Any]]) -> list[str]:
    return [_plain(each["digitalSourceType"]).rpartition("/")[2] for each in actions if each.get("digitalSourceType")]


def _facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What facex wrote, with text of a bounded length only."""
    for assertion in _dicts(manifest.get("assertions")):
        if assertion.get("label") == RUN_LABEL:
            return {
                str(key)[:_LONGEST_TEXT]: _bounded(value) for key, value in list(_dict(assertion.get("data")).items())
            }
    return {}


def _bounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(key): _bounded(part) for key, part in list(value.items())[:_MOST_ITEMS]}
    if isinstance(value, list):
        return [_bounded(part) for part in value[:_MOST_ITEMS]]
    return value if value is None or isinstance(value, (bool, int, float)) else _plain(value)


def _plain(value: Any) -> str:
    """Text for a terminal: no control characters, and not without end."""
    text = str(value)[: _LONGEST_TEXT + 1]
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value[:_MOST_ITEMS] if isinstance(each, dict)] if isinstance(value, list) else []

"""Puts a signed manifest into a finished file, or makes one to lie beside it."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any

from facexcli import journal
from facexcli.errors import FacexError, InputError, OutputError
from facexcli.provenance.library import (
    BYTES_TYPE,
    EMBEDDED_TYPES,
    LARGEST_SIDECAR_BYTES,
    MANIFEST_TYPE,
    AsItIs,
    Noting,
    context,
    find_sidecar,
    reason_of,
    type_of,
)
from facexcli.provenance.manifest import CANVAS_LABEL, CLAIM_GENERATOR, definition, ingredient_label

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

    from facexcli.provenance.identity import Identity
    from facexcli.provenance.manifest import Ingredient, Statement

_HINT = "the options under Provenance in `facex swap --help` say who signs; --provenance off leaves the manifest out"
_PARENT = "parent"
# The smallest PNG: one grey pixel.
_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c63680000008200"
    "81775c8d250000000049454e44ae426082"
)


def check_identity(identity: Identity) -> None:
    """Sign a picture of one pixel, in memory. What cannot sign is known before hours of work.

    Raises InputError for a certificate that C2PA does not take, OutputError for a command or a time stamp authority
    that fails.
    """
    import c2pa

    claim = {"claim_generator_info": [{"name": CLAIM_GENERATOR}]}
    with c2pa.Builder(claim, context(online=bool(identity.timestamp))) as builder:
        builder.set_intent(c2pa.C2paBuilderIntent.CREATE, c2pa.C2paDigitalSourceType.COMPOSITE_SYNTHETIC)
        try:
            _sign(builder, identity, "image/png", BytesIO(_PIXEL), BytesIO(), identity.timestamp)
        except c2pa.C2paError as error:
            if identity.timestamp:
                raise OutputError(f"{identity.timestamp} or the certificate {identity.origin}: {reason_of(error)}",
                                  "try without --timestamp to see which of them it is") from error  # fmt: skip
            hint = "it wants one that is for signing documents and not self-signed (C2PA 2.2, 14.5.1)"
            reason = f"C2PA does not take this certificate: {reason_of(error)}"
            raise InputError(f"{identity.origin}: {reason}", hint) from error


class ManifestMaker:
    """Makes the manifests of one run: of one file, or of all pictures of a sequence.

    What the canvas carries already is kept as the parent's manifest. Stills of other people are named by their hash
    alone: their own manifests stay out, as these may hold small pictures of them, unless `thumbnails` are wanted.
    `warnings` tells what went otherwise than asked for.
    """

    def __init__(self, statement: Statement, identity: Identity, *, thumbnails: bool = False) -> None:
        self._statement, self._identity, self._thumbnails = statement, identity, thumbnails
        self._context = context(thumbnails=thumbnails, online=bool(identity.timestamp))
        self._archive: bytes | None = None
        self._warnings: dict[str, None] = {}

    @property
    def warnings(self) -> list[str]:
        return list(self._warnings)

    def embed(self, path: Path, named: Path) -> None:
        """Put the manifest into a finished file, whose suffix says its kind; it will be `named`.

        Raises OutputError; the file is as it was then.
        """
        signed = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}.part{path.suffix}")
        journal.half_written(signed)
        try:
            with path.open("rb") as source, signed.open("x+b") as file:
                self._make(EMBEDDED_TYPES[path.suffix.lower()], source, Noting(file), named)
            os.replace(signed, path)
        except OSError as error:
            raise OutputError(f"{named} cannot be signed: {error.strerror or error}", _HINT) from error
        finally:
            with suppress(OSError):
                signed.unlink(missing_ok=True)

    def detached(self, path: Path, named: Path) -> bytes:
        """The manifest of a finished file that does not carry one itself; it will be `named`. Raises OutputError."""
        try:
            with path.open("rb") as source, path.open("rb") as same:
                return self._make(BYTES_TYPE, source, AsItIs(same), named, embed=False)
        except OSError as error:
            raise OutputError(f"{named} cannot be signed: {error.strerror or error}", _HINT) from error

    def _make(self, kind: str, source: BinaryIO, target: AsItIs | Noting, named: Path, *, embed: bool = True) -> bytes:
        import c2pa

        try:
            return self._signed(kind, source, target, embed, self._identity.timestamp)
        except c2pa.C2paError as error:
            failed: OSError | None = getattr(target, "error", None)
            if failed is not None:
                raise failed from error
            if not self._identity.timestamp:
                raise OutputError(f"{named} cannot be signed: {reason_of(error)}", _HINT) from error
            self._warnings[f"signed without a time stamp: {self._identity.timestamp}: {reason_of(error)}"] = None
        source.seek(0)
        target.rewind()
        try:
            return self._signed(kind, source, target, embed, "")
        except c2pa.C2paError as error:
            raise OutputError(f"{named} cannot be signed: {reason_of(error)}", _HINT) from error

    def _signed(self, kind: str, source: BinaryIO, target: Any, embed: bool, timestamp: str) -> bytes:
        with self._builder() as builder:
            if not embed:
                builder.set_no_embed()
            return _sign(builder, self._identity, kind, source, target, timestamp)

    def _builder(self) -> Any:
        """A new builder with everything said. The canvas is read only for the first one."""
        import c2pa

        if self._archive is None:
            with self._described() as builder:
                kept = BytesIO()
                builder.to_archive(kept)
                self._archive = kept.getvalue()
        return c2pa.Builder({}, self._context).with_archive(BytesIO(self._archive))

    def _described(self) -> Any:
        import c2pa

        canvas = self._statement.canvas
        try:
            return self._with_canvas(canvas)
        except (c2pa.C2paError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else reason_of(error)
            self._warnings[f"{canvas.path}: its own manifest is damaged, and left out: {reason}"] = None
        return self._completed(self._with_ingredients([_json(canvas, CANVAS_LABEL)]))

    def _with_canvas(self, canvas: Ingredient) -> Any:
        if canvas.path.is_dir():
            return self._completed(self._with_ingredients([_json(canvas, CANVAS_LABEL)]))
        with canvas.path.open("rb") as file:
            kind = type_of(file)
            if kind != BYTES_TYPE:
                builder = self._with_ingredients([])
                builder.add_ingredient(_json(canvas, CANVAS_LABEL), kind, file)
                return self._completed(builder)
            sidecar = find_sidecar(canvas.path)
            if sidecar is None or sidecar.stat().st_size > LARGEST_SIDECAR_BYTES:
                return self._completed(self._with_ingredients([_json(canvas, CANVAS_LABEL)]))
            return self._completed(self._with_sidecar(canvas, file, sidecar.read_bytes()))

    def _with_sidecar(self, canvas: Ingredient, file: BinaryIO, manifest: bytes) -> Any:
        import c2pa

        with c2pa.Reader(BYTES_TYPE, file, manifest, self._context) as reader:
            label, results = _active(reader), reader.get_validation_results()
        carried = {"active_manifest": label, "validation_results": results,
                   "manifest_data": {"format": MANIFEST_TYPE, "identifier": _PARENT}}  # fmt: skip
        builder = self._with_ingredients([_json(canvas, CANVAS_LABEL) | carried])
        builder.add_resource(_PARENT, BytesIO(manifest))
        return builder

    def _with_ingredients(self, canvas: list[dict[str, Any]]) -> Any:
        import c2pa

        others = [] if self._thumbnails else self._others()
        return c2pa.Builder(definition(self._statement) | {"ingredients": [*canvas, *others]}, self._context)

    def _others(self) -> list[dict[str, Any]]:
        return [_json(each, ingredient_label(number)) for number, each in enumerate(self._statement.others)]

    def _completed(self, builder: Any) -> Any:
        """With the other inputs from their files, where these may be shown."""
        if self._thumbnails:
            for each, described in zip(self._statement.others, self._others(), strict=True):
                self._add(builder, each, described)
        return builder

    def _add(self, builder: Any, each: Ingredient, described: dict[str, Any]) -> None:
        import c2pa

        if not each.path.is_dir():
            try:
                with each.path.open("rb") as file:
                    builder.add_ingredient(described, type_of(file), file)
                return
            except (c2pa.C2paError, OSError) as error:
                self._warnings[f"{each.path}: no small picture of it: {reason_of(error)}"] = None
        builder.add_ingredient(described, BYTES_TYPE, BytesIO(b"\0"))


def _json(each: Ingredient, label: str) -> dict[str, Any]:
    relationship = "parentOf" if label == CANVAS_LABEL else "componentOf"
    return {"title": each.role, "relationship": relationship, "label": label}


def _active(reader: Any) -> str:
    manifest = reader.get_active_manifest() or {}
    return str(manifest.get("label", ""))


def _sign(builder: Any, identity: Identity, kind: str, source: Any, target: Any, timestamp: str) -> bytes:
    """The manifest, signed and written. Raises c2pa.C2paError, and the FacexError of a command that does not sign."""
    import c2pa

    if not identity.command:
        info = c2pa.C2paSignerInfo(identity.algorithm, identity.chain, identity.key, timestamp or None)
        with c2pa.Signer.from_info(info) as signer:
            return bytes(builder.sign(signer, kind, source, target))
    told: list[FacexError] = []
    algorithm = getattr(c2pa.C2paSigningAlg, identity.algorithm.upper())
    certificates = identity.chain.decode("ascii")
    with c2pa.Signer.from_callback(_telling(identity.sign, told), algorithm, certificates, timestamp or None) as signer:
        try:
            return bytes(builder.sign(signer, kind, source, target))
        except c2pa.C2paError:
            if told:
                raise told[0] from None
            raise


def _telling(sign: Callable[[bytes], bytes], told: list[FacexError]) -> Callable[[bytes], bytes]:
    """`sign` for a library that swallows exceptions: they are kept in `told`, and nothing is signed."""

    def signed(claim: bytes) -> bytes:
        try:
            return sign(claim)
        except FacexError as error:
            told.append(error)
            return b""

    return signed

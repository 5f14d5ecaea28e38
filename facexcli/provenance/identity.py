"""Who signs: a certificate with its key, a certificate with a program that signs, or facex's own local authority."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facexcli.errors import InputError, OutputError, UsageError
from facexcli.provenance.authority import CERT_NAME, KEY_NAME, local_authority

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from facexcli.settings import ProvenanceSettings

_COMMAND_TIMEOUT_S = 60
_LARGEST_PEM_BYTES = 1 << 20
_READABLE_BY_OTHERS = 0o077
_SMALLEST_RSA_BITS = 2048
ALGORITHM_VARIABLE = "FACEX_SIGN_ALGORITHM"
"""Tells a signing command what is wanted: es256, es384, es512, ps256 or ed25519."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate chain and what signs for it.

    Attributes:
        chain: PEM, the signing certificate first.
        algorithm: es256, es384, es512, ps256 or ed25519 (C2PA 2.2, 13.2).
        key: PEM, PKCS#8; empty where `command` signs.
        command: a program and its arguments. It gets what is to be signed on standard input, and writes the signature.
        is_local: nobody vouches for the certificate.
        timestamp: address of an RFC 3161 time stamp authority, or "".
        origin: the certificate's file.
    """

    chain: bytes
    algorithm: str
    key: bytes
    command: tuple[str, ...]
    is_local: bool
    timestamp: str
    origin: Path

    def sign(self, claim: bytes) -> bytes:
        """The command's signature as COSE has it (RFC 9053, 2.1). Raises OutputError where there is none."""
        return _in_cose(_run(self.command, self.algorithm, claim), self.algorithm)


def identity_of(settings: ProvenanceSettings, data_folder: Path, now: datetime | None = None) -> Identity:
    """Who signs, by the settings; nobody but the local authority under `data_folder` when they name none.

    Raises UsageError for settings that contradict each other, InputError for a certificate or a key that cannot be used
    (unreadable, damaged, readable by others, not belonging together, not valid now).
    """
    now = now or datetime.now(UTC)
    if settings.key is not None and settings.signer:
        raise UsageError("--signing-key and --signing-command are two ways to sign", "leave one of them out")
    if settings.cert is None:
        if settings.key is not None or settings.signer:
            raise UsageError("a signing key or command needs its certificate", "name it with --signing-cert")
        folder = local_authority(data_folder)
        cert, key = folder / CERT_NAME, folder / KEY_NAME
        hint = f"move the folder {folder} away, and facex makes a new one"
        return _with_key(cert, key, settings.timestamp, now, is_local=True, hint=hint)
    if settings.signer:
        chain = _chain(settings.cert, now, "")
        algorithm = _algorithm(chain[0].public_key(), settings.cert)
        return Identity(_pem(chain), algorithm, b"", settings.signer, False, settings.timestamp, settings.cert)
    if settings.key is None:
        raise UsageError(f"{settings.cert}: a certificate alone cannot sign",
                         "name its key with --signing-key, or a program with --signing-command")  # fmt: skip
    return _with_key(settings.cert, settings.key, settings.timestamp, now, is_local=False, hint="")


def _with_key(cert: Path, key: Path, timestamp: str, now: datetime, *, is_local: bool, hint: str) -> Identity:
    from cryptography.hazmat.primitives import serialization

    chain, private = _chain(cert, now, hint), _private_key(key, hint)
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*spki) != chain[0].public_key().public_bytes(*spki):
        raise InputError(f"{key} is not the key of the certificate {cert}",
                         hint or "the signing certificate has to be the first in its file")  # fmt: skip
    algorithm = _algorithm(chain[0].public_key(), cert)
    pkcs8 = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Identity(_pem(chain), algorithm, private.private_bytes(*pkcs8), (), is_local, timestamp, cert)


def _chain(path: Path, now: datetime, hint: str) -> list[Certificate]:
    from cryptography import x509

    try:
        chain = x509.load_pem_x509_certificates(_read(path, "certificate", hint))
    except ValueError as error:
        raise InputError(f"{path}: no certificate in PEM form", hint or "give a file with BEGIN CERTIFICATE") from error
    signing = chain[0]
    if now < signing.not_valid_before_utc:
        start = f"{signing.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        clock = f"{now:%Y-%m-%d %H:%M} UTC"
        raise InputError(f"{path}: the certificate begins on {start}, and this computer's clock says {clock}",
                         "set the clock, or use a certificate that has begun")  # fmt: skip
    for each in chain:
        if now > each.not_valid_after_utc:
            raise InputError(f"{path}: the certificate ended on {each.not_valid_after_utc:%Y-%m-%d}",
                             hint or "renew it, or leave --signing-cert out")  # fmt: skip
    return chain


def refuse_shared(path: Path) -> None:
    """Raises InputError for a secret's file that others than its owner may read; OSError for one that is gone."""
    if os.name == "posix" and path.stat().st_mode & _READABLE_BY_OTHERS:
        raise InputError(f"{path}: others may read this key", f"chmod 600 {path}, or better make a new key")


def _private_key(path: Path, hint: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    content = _read(path, "key", hint)
    refuse_shared(path)
    try:
        return serialization.load_pem_private_key(content, None)
    except TypeError as error:
        raise InputError(f"{path}: the key has a passphrase", "let a program sign: --signing-command") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path}: no private key that can be read", hint or "give PKCS#8 in PEM form") from error


def _read(path: Path, what: str, hint: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_PEM_BYTES + 1)
    except OSError as error:
        reason = error.strerror or "it is no file"
        raise InputError(f"{path}: the signing {what} cannot be read: {reason}", hint or "check the path") from error
    if len(content) > _LARGEST_PEM_BYTES:
        raise InputError(f"{path}: too large for a signing {what}", hint or "check the path")
    return content


def _algorithm(public_key: Any, path: Path) -> str:
    """What C2PA calls the algorithm of a key. Raises InputError for one that C2PA does not have."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(public_key, ec.EllipticCurvePublicKey):
        names = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
        if name := names.get(public_key.curve.name):
            return name
    elif isinstance(public_key, ed25519.Ed25519PublicKey):
        return "ed25519"
    elif isinstance(public_key, rsa.RSAPublicKey) and public_key.key_size >= _SMALLEST_RSA_BITS:
        return "ps256"
    raise InputError(f"{path}: C2PA does not sign with this kind of key",
                     "use P-256, P-384, P-521, Ed25519, or RSA of 2048 bits and more")  # fmt: skip


def _pem(chain: list[Certificate]) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return b"".join(each.public_bytes(Encoding.PEM) for each in chain)


def _run(command: tuple[str, ...], algorithm: str, claim: bytes) -> bytes:
    hint = "try the command by hand: it gets bytes on standard input, and writes nothing but the signature"
    try:
        done = subprocess.run(
            command, input=claim, capture_output=True, timeout=_COMMAND_TIMEOUT_S, check=False,
            env={**os.environ, ALGORITHM_VARIABLE: algorithm},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise OutputError(f"signing command {command[0]}: no answer in {_COMMAND_TIMEOUT_S} s", hint) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"signing command {command[0]} cannot be started: {reason}", hint) from error
    if done.returncode or not done.stdout:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = f": {lines[-1][:200]}" if lines else ""
        ended = f"ended with {done.returncode}" if done.returncode else "gave no signature"
        raise OutputError(f"signing command {command[0]} {ended}{reason}", hint)
    return done.stdout


def _in_cose(signature: bytes, algorithm: str) -> bytes:
    """r and s side by side, where OpenSSL and key stores write ECDSA signatures as DER."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    side = {"es256": 32, "es384": 48, "es512": 66}.get(algorithm)
    if side is None or len(signature) == 2 * side:
        return signature
    try:
        r, s = decode_dss_signature(signature)
        return r.to_bytes(side, "big") + s.to_bytes(side, "big")
    except (ValueError, OverflowError) as error:
        raise OutputError(f"the signing command wrote {len(signature)} bytes, which are no {algorithm} signature",
                          "it has to write r and s, or DER, and no line end") from error  # fmt: skip

"""A certificate of one's own, made once, for whoever has no other. Nobody vouches for it, and its name says so."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from facexcli.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.x509 import Certificate, Name

LOCAL_AUTHORITY = "facex local authority, not verified"
"""The organization that stands in these certificates: what every reader of a manifest shows as its signer."""
FOLDER_NAME = "authority"
CERT_NAME, KEY_NAME = "certificate.pem", "key.pem"
_VALID_FOR = timedelta(days=5 * 365)
_CLOCKS_DIFFER = timedelta(days=1)
# C2PA 2.2, 14.5.1: a signing certificate is good for claims, or for e-mail in readers of older versions.
_CLAIM_SIGNING = "1.3.6.1.4.1.62558.2.1"


def local_authority(folder: Path, now: datetime | None = None) -> Path:
    """The folder with certificate.pem and key.pem under the data folder `folder`; both are made where there are none.

    Only the user may read them. The key of the authority itself is thrown away once it has signed the one certificate,
    so that it never signs another. Raises OutputError where they cannot be written.
    """
    own = folder / FOLDER_NAME
    if not own.is_dir():
        try:
            _make(own, now or datetime.now(UTC))
        except OSError as error:
            reason = error.strerror or str(error)
            hint = "set FACEX_HOME to a folder that you may write, or use --provenance off"
            raise OutputError(f"{own}: facex cannot keep its signing key there: {reason}", hint) from error
    return own


def _make(folder: Path, now: datetime) -> None:
    """All at once: of two runs that make one at the same time, the first wins."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    work.mkdir(mode=0o700)
    try:
        chain, key = _certificates(now)
        _write_private(work / KEY_NAME, key)
        _write_private(work / CERT_NAME, chain)
        with suppress(OSError):  # told below, unless another run was faster
            os.rename(work, folder)
        if not folder.is_dir():
            raise OSError(None, "the folder cannot be renamed")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)


def _certificates(now: datetime) -> tuple[bytes, bytes]:
    """The chain, the signing certificate first, and its key, both PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = _name("facex local root")
    root = _certificate(root_name, root_name, root_key.public_key(), root_key, now, is_root=True)
    # A random name: not the user's, nor that of the machine.
    leaf_name = _name(f"facex {secrets.token_hex(4)}")
    leaf = _certificate(leaf_name, root_name, key.public_key(), root_key, now, is_root=False)
    pem = serialization.Encoding.PEM
    chain = leaf.public_bytes(pem) + root.public_bytes(pem)
    return chain, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _name(common_name: str) -> Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, LOCAL_AUTHORITY)
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject: Name,
    issuer: Name,
    public_key: EllipticCurvePublicKey,
    signed_by: EllipticCurvePrivateKey,
    now: datetime,
    is_root: bool,
) -> Certificate:
    """An X.509 certificate as C2PA 2.2, 14.5.1 wants it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID

    usage = x509.KeyUsage(
        digital_signature=not is_root, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=is_root, crl_sign=is_root, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_by.public_key())
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + _VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=0 if is_root else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(above, critical=False)
    )
    if not is_root:
        purposes = [x509.ObjectIdentifier(_CLAIM_SIGNING), ExtendedKeyUsageOID.EMAIL_PROTECTION]
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return builder.sign(signed_by, hashes.SHA256())

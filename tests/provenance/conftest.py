"""Small files of every kind, certificates of every kind, and manifests made of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from facexcli.media.frames import frame_from_rgb
from facexcli.media.image import write_image
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.provenance.identity import Identity, identity_of
from facexcli.provenance.manifest import Ingredient, Statement
from facexcli.settings import ProvenanceSettings

NOW = datetime.now(UTC)
MakeFile = Callable[[str], Path]


@pytest.fixture
def media(tmp_path: Path) -> MakeFile:
    """Makes a small file of the kind that a suffix says."""

    def make(suffix: str) -> Path:
        path = tmp_path / f"made{suffix}"
        noise = np.random.default_rng(1).integers(0, 256, (64, 96, 3), np.uint8)
        if suffix in (".png", ".jpg", ".webp"):
            write_image(path, noise)
            return path
        codec = {".webm": "vp9", ".gif": "gif"}.get(suffix, "h264")
        video = VideoFormat(96, 64, "rgb24" if suffix == ".gif" else "yuv420p", Fraction(1, 25))
        with VideoWriter(path, video, EncodeOptions(codec)) as writer:
            for index in range(6):
                writer.write(frame_from_rgb(np.roll(noise, 8 * index, 1), index, index, Fraction(1, 25), 1))
        return path

    return make


@pytest.fixture
def statement(media: MakeFile) -> Statement:
    canvas = Ingredient("target", media(".png"), f"10-{'a' * 64}")
    source = Ingredient("source 1", canvas.path, f"11-{'b' * 64}")
    return Statement("swap", canvas, (source,), "mesh", False, "c" * 64, 0xCCCCCCCC, perception=("dlib",))


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    """The local authority, made anew."""
    return identity_of(ProvenanceSettings(), tmp_path / "data")


class Studio:
    """A certificate with its authority, as a studio would have them. `root` is the authority's certificate in PEM."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._root_key = ec.generate_private_key(ec.SECP256R1())
        self._root = self._certificate(
            "Studio Root", self._root_key.public_key(), timedelta(days=-9), timedelta(days=9)
        )
        self.root = folder / "root.pem"
        self.root.write_bytes(self._root.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        name: str = "studio",
        kind: str = "es256",
        start: timedelta = timedelta(days=-1),
        end: timedelta = timedelta(days=1),
        **flaws: bool,
    ) -> tuple[Path, Path]:
        """Files of a certificate chain and its key. Times are from now. `flaws`: `for_nothing` has no purpose."""
        key = _key(kind)
        leaf = self._certificate(name, key.public_key(), start, end, leaf=True, **flaws)
        pem = serialization.Encoding.PEM
        cert_path, key_path = self._folder / f"{name}.cert.pem", self._folder / f"{name}.key.pem"
        cert_path.write_bytes(leaf.public_bytes(pem) + self._root.public_bytes(pem))
        key_path.touch(0o600)
        key_path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return cert_path, key_path

    def _certificate(
        self,
        name: str,
        public_key: Any,
        start: timedelta,
        end: timedelta,
        *,
        leaf: bool = False,
        for_nothing: bool = False,
    ) -> x509.Certificate:
        usage = {"digital_signature": leaf, "key_cert_sign": not leaf, "crl_sign": not leaf}
        others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
                  "decipher_only")  # fmt: skip
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name("Studio Root"))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + start)
            .not_valid_after(NOW + end)
            .add_extension(x509.BasicConstraints(not leaf, None), critical=True)
            .add_extension(x509.KeyUsage(**usage, **dict.fromkeys(others, False)), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._root_key.public_key()), critical=False
            )
        )
        if leaf and not for_nothing:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
            )
        return builder.sign(self._root_key, hashes.SHA256())


def _name(common: str) -> x509.Name:
    names = [(NameOID.ORGANIZATION_NAME, "Example Studio"), (NameOID.COMMON_NAME, common)]
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in names])


def _key(kind: str) -> Any:
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))
    curves = {"es256": ec.SECP256R1, "es384": ec.SECP384R1, "es512": ec.SECP521R1, "bitcoin": ec.SECP256K1}
    return ec.generate_private_key(curves[kind]())


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    folder = tmp_path / "studio"
    folder.mkdir()
    return Studio(folder)

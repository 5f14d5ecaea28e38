"""Who signs, and who may not."""

from __future__ import annotations

import os
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from facexcli.errors import FacexError, InputError, OutputError, UsageError
from facexcli.provenance.authority import LOCAL_AUTHORITY, local_authority
from facexcli.provenance.identity import identity_of
from facexcli.provenance.manifest import Statement
from facexcli.provenance.reading import read_manifest
from facexcli.provenance.signing import ManifestMaker, check_identity
from facexcli.settings import ProvenanceSettings
from tests.provenance.conftest import MakeFile, Studio

KINDS = ("es256", "es384", "es512", "ed25519", "rsa2048")


def settings(
    cert: Path | None = None, key: Path | None = None, *signer: str, timestamp: str = ""
) -> ProvenanceSettings:
    return ProvenanceSettings(cert=cert, key=key, signer=signer, timestamp=timestamp)


def test_the_local_authority_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    folder = local_authority(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"certificate.pem", "key.pem"}, "the authority's own key is not kept"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert {path.name: path.read_bytes() for path in local_authority(tmp_path).iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_the_local_certificate_says_that_nobody_vouches_and_names_nobody(tmp_path: Path) -> None:
    found = identity_of(settings(), tmp_path)
    assert found.is_local
    leaf = x509.load_pem_x509_certificates(found.chain)[0]
    assert LOCAL_AUTHORITY in leaf.subject.rfc4514_string().replace("\\", "")
    for secret in (os.uname().nodename, os.environ.get("USER", "root")):
        assert secret not in leaf.subject.rfc4514_string()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_key_that_c2pa_has_signs(
    kind: str, studio: Studio, statement: Statement, media: MakeFile, tmp_path: Path
) -> None:
    identity = identity_of(settings(*studio.issue(kind=kind)), tmp_path)
    check_identity(identity)
    path = media(".jpg")
    ManifestMaker(statement, identity).embed(path, path)
    assert read_manifest(path).state == "untrusted"
    found = read_manifest(path, studio.root.read_text())
    assert (found.state, found.signer) == ("valid", "Example Studio, studio")


@pytest.mark.parametrize("kind", ["bitcoin", "rsa1024"])
def test_other_keys_are_refused(kind: str, studio: Studio, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this kind of key"):
        identity_of(settings(*studio.issue(kind=kind)), tmp_path)


def test_a_certificate_that_has_ended_is_refused(studio: Studio, tmp_path: Path) -> None:
    cert, key = studio.issue(start=timedelta(days=-3), end=timedelta(days=-2))
    with pytest.raises(InputError, match=r"studio\.cert\.pem: the certificate ended on"):
        identity_of(settings(cert, key), tmp_path)


def test_a_clock_before_the_certificates_start_is_told(studio: Studio, tmp_path: Path) -> None:
    cert, key = studio.issue()
    with pytest.raises(InputError, match=r"begins on .* and this computer's clock says 2001-01-01") as caught:
        identity_of(settings(cert, key), tmp_path, now=datetime(2001, 1, 1, tzinfo=UTC))
    assert "clock" in caught.value.hint


def test_an_ended_local_authority_says_how_to_get_a_new_one(tmp_path: Path) -> None:
    local_authority(tmp_path)
    with pytest.raises(InputError, match="ended on") as caught:
        identity_of(settings(), tmp_path, now=datetime.now(UTC) + timedelta(days=3000))
    assert str(tmp_path / "authority") in caught.value.hint


def test_a_key_of_another_certificate_is_refused(studio: Studio, tmp_path: Path) -> None:
    cert, _ = studio.issue("one")
    _, key = studio.issue("other")
    with pytest.raises(InputError, match=r"other\.key\.pem is not the key of the certificate .*one\.cert\.pem"):
        identity_of(settings(cert, key), tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_may_read_or_write_is_refused(mode: int, studio: Studio, tmp_path: Path) -> None:
    cert, key = studio.issue()
    key.chmod(mode)
    with pytest.raises(InputError, match="others may read") as caught:
        identity_of(settings(cert, key), tmp_path)
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize(
    "content", [b"", b"no key\n", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_key_that_is_none_is_refused(content: bytes, studio: Studio, tmp_path: Path) -> None:
    cert, key = studio.issue()
    key.write_bytes(content)
    with pytest.raises(InputError, match=r"studio\.key\.pem: no private key"):
        identity_of(settings(cert, key), tmp_path)


def test_what_is_not_there_is_named(studio: Studio, tmp_path: Path) -> None:
    cert, key = studio.issue()
    with pytest.raises(InputError, match=r"gone\.pem: the signing key cannot be read: No such file"):
        identity_of(settings(cert, tmp_path / "gone.pem"), tmp_path)
    with pytest.raises(InputError, match=r"gone\.pem: the signing certificate cannot be read"):
        identity_of(settings(tmp_path / "gone.pem", key), tmp_path)
    with pytest.raises(InputError, match="no certificate in PEM form"):
        identity_of(settings(key, key), tmp_path)


def test_settings_that_cannot_be_meant(studio: Studio, tmp_path: Path) -> None:
    cert, key = studio.issue()
    for wrong in (settings(cert), settings(None, key), settings(cert, key, "sign"), settings(None, None, "sign")):
        with pytest.raises(UsageError):
            identity_of(wrong, tmp_path)


def test_a_certificate_that_c2pa_does_not_take_is_known_before_the_work(studio: Studio, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="C2PA does not take this certificate"):
        check_identity(identity_of(settings(*studio.issue(for_nothing=True)), tmp_path))


_SIGNER = """
import os, sys
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
key = serialization.load_pem_private_key(open(sys.argv[1], "rb").read(), None)
assert os.environ["FACEX_SIGN_ALGORITHM"] == "es256"
sys.stdout.buffer.write(key.sign(sys.stdin.buffer.read(), ec.ECDSA(hashes.SHA256())))
"""


def test_a_program_signs(studio: Studio, statement: Statement, media: MakeFile, tmp_path: Path) -> None:
    cert, key = studio.issue()
    identity = identity_of(settings(cert, None, sys.executable, "-c", _SIGNER, str(key)), tmp_path)
    check_identity(identity)
    path = media(".png")
    ManifestMaker(statement, identity).embed(path, path)
    assert read_manifest(path, studio.root.read_text()).state == "valid"


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("import sys; sys.exit('no token in the slot')", "ended with 1: no token in the slot"),
        ("pass", "gave no signature"),
        ("print('signed')", "are no es256 signature"),
    ],
)
def test_a_program_that_does_not_sign_is_told(program: str, told: str, studio: Studio, tmp_path: Path) -> None:
    cert, _ = studio.issue()
    with pytest.raises(OutputError, match=told):
        check_identity(identity_of(settings(cert, None, sys.executable, "-c", program), tmp_path))


def test_a_program_that_is_not_there_is_named(studio: Studio, tmp_path: Path) -> None:
    cert, _ = studio.issue()
    with pytest.raises(OutputError, match="no-such-program cannot be started"):
        check_identity(identity_of(settings(cert, None, "no-such-program"), tmp_path))


def test_a_program_with_another_key_is_found_out(studio: Studio, tmp_path: Path) -> None:
    cert, _ = studio.issue("one")
    _, key = studio.issue("other")
    with pytest.raises(FacexError):
        check_identity(identity_of(settings(cert, None, sys.executable, "-c", _SIGNER, str(key)), tmp_path))


def test_a_time_stamp_authority_that_does_not_answer_is_known_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"http://127\.0\.0\.1:9/tsa"):
        check_identity(identity_of(settings(timestamp="http://127.0.0.1:9/tsa"), tmp_path))

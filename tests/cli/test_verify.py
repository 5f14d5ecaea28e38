"""`facex verify`: exit codes and words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from facexcli.cli.verify import EXIT_NOTHING_FOUND, EXIT_TAMPERED, _lines
from facexcli.fusion.watermark_search import Evidence
from facexcli.pipeline.verification import verify
from facexcli.provenance.identity import identity_of
from facexcli.provenance.manifest import Ingredient, Statement
from facexcli.provenance.signing import ManifestMaker
from facexcli.settings import ProvenanceSettings
from tests.cli.conftest import Facex
from tests.provenance.conftest import MakeFile, Studio, media, studio

__all__ = ["media", "studio"]


@pytest.fixture
def signed(media: MakeFile, studio: Studio, tmp_path: Path) -> Path:
    """A picture, signed by a studio."""
    path = media(".jpg")
    cert, key = studio.issue()
    canvas = Ingredient("target", path, f"9-{'0a' * 32}")
    statement = Statement("swap", canvas, (), "mesh", False, "c" * 64, 0xCCCCCCCC, label="AI-generated")
    ManifestMaker(statement, identity_of(ProvenanceSettings(cert=cert, key=key), tmp_path)).embed(path, path)
    return path


def test_a_journalist_is_told_what_was_done_and_who_says_so(facex: Facex, signed: Path) -> None:
    done = facex("verify", signed)
    text = " ".join(done.stdout.split())
    assert done.code == 0 and done.stderr == ""
    assert "signed, and unchanged since; nobody vouches for who signed it" in text
    assert "The face of a person was replaced by that of another." in text
    assert "Example Studio" in text and "Anybody can make such a certificate" in text
    assert "AI-generated" in text and "cccccccc" in text and "0a0a0a0a0a0a0a0a" in text
    assert max(len(line) for line in done.stdout.splitlines()[1:]) <= 80


def test_a_signer_who_is_vouched_for_is_named_as_such(facex: Facex, signed: Path, studio: Studio) -> None:
    done = facex("verify", signed, "--trust", studio.root, "--json")
    assert done.code == 0
    told = json.loads(done.stdout)
    assert told["manifest"]["state"] == "valid"
    assert told["manifest"]["run_id"] == "cccccccc"
    assert told["manifest"]["signer"] == "Example Studio, studio"


def test_a_changed_file_ends_with_9(facex: Facex, signed: Path) -> None:
    content = bytearray(signed.read_bytes())
    content[-40] ^= 1
    signed.write_bytes(content)
    done = facex("verify", signed)
    assert done.code == EXIT_TAMPERED == 9
    assert "NOT as it was signed" in done.stdout and "changed after it was signed" in " ".join(done.stdout.split())
    assert json.loads(facex("verify", signed, "--json").stdout)["manifest"]["state"] == "tampered"


def test_a_file_that_says_nothing_ends_with_1(facex: Facex, media: MakeFile) -> None:
    done = facex("verify", media(".mp4"))
    assert done.code == EXIT_NOTHING_FOUND == 1
    assert "does not say that it is genuine" in " ".join(done.stdout.split())


def test_what_cannot_be_read_ends_with_3(facex: Facex, tmp_path: Path, media: MakeFile) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    broken = media(".png")
    broken.write_bytes(broken.read_bytes()[:20])
    for name in ("text.mp4", "empty.mp4", "gone.mp4", broken.name, ""):
        done = facex("verify", tmp_path / name)
        assert (done.code, done.stdout) == (3, ""), name
        assert len(done.stderr.splitlines()) == 2


def test_a_trust_list_that_is_none_is_named(facex: Facex, signed: Path, tmp_path: Path) -> None:
    (tmp_path / "list.pem").write_text("nobody\n")
    for name in ("list.pem", "gone.pem"):
        done = facex("verify", signed, "--trust", tmp_path / name)
        assert done.code == 3 and "certificates" in done.stderr


def test_what_is_said_of_a_watermark_is_no_more_than_is_known(signed: Path) -> None:
    def told(evidence: Evidence | None) -> str:
        found = replace(verify(signed), watermark=evidence)
        return " ".join(" ".join(_lines(found)).split())

    assert "none found in its faces. Small faces" in told(Evidence(3.9))
    assert "below 1 in 10^12" in told(Evidence(12.7, 0xCCCCCCCC, 0.99))
    assert "run cccccccc, as the manifest does" in told(Evidence(12.7, 0xCCCCCCCC, 0.99))
    assert "NOT that of the manifest" in told(Evidence(12.7, 0xDDDDDDDD, 0.99))
    assert "can no longer be read" in told(Evidence(5.0, 0xCCCCCCCC, 0.3))
    assert "watermark" not in told(None)


def test_a_watermark_alone_is_a_find(signed: Path) -> None:
    found = verify(signed)
    lost = replace(found, manifest=replace(found.manifest, state="absent", facts={}))
    assert not lost.is_found
    marked = replace(lost, watermark=Evidence(5.0, 0xCCCCCCCC, 0.99))
    assert marked.is_found and "It names run cccccccc" in " ".join(" ".join(_lines(marked)).split())


def test_a_watermarks_key_has_to_be_there(facex: Facex, signed: Path, tmp_path: Path) -> None:
    assert facex("verify", signed, "--watermark-key", tmp_path / "missing").code == 3
    assert facex("verify", signed, "--no-watermark").code == 0
    assert json.loads(facex("verify", signed, "--no-watermark", "--json").stdout)["watermark"] is None

"""Manifests on real files: they are valid, they say what they should and no more, and any change shows."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import c2pa
import pytest
from PIL import Image, ImageSequence

from facexcli.errors import InputError, OutputError
from facexcli.evaluate.manifests import media_parts
from facexcli.provenance.identity import Identity, identity_of
from facexcli.provenance.library import BYTES_TYPE, EMBEDDED_TYPES, LARGEST_SIDECAR_BYTES, sidecar_of, takes_manifest
from facexcli.provenance.manifest import Ingredient, Statement
from facexcli.provenance.reading import read_manifest, state_of
from facexcli.provenance.signing import ManifestMaker
from facexcli.provenance.tags import COMPOSITE_SYNTHETIC, COMPOSITE_TRAINED, digital_source_type
from facexcli.settings import ProvenanceSettings
from tests.provenance.conftest import MakeFile, Studio

KINDS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif", ".png", ".jpg", ".webp")


def sign(path: Path, statement: Statement, identity: Identity, **options: bool) -> Path:
    """The file, signed as a run signs it."""
    maker = ManifestMaker(statement, identity, **options)
    if takes_manifest(path):
        maker.embed(path, path)
    else:
        sidecar_of(path).write_bytes(maker.detached(path, path))
    assert maker.warnings == []
    return path


def whole_manifest(path: Path) -> dict[str, Any]:
    """The library's own view of all manifests of a file."""
    if takes_manifest(path):
        with c2pa.Reader(str(path)) as reader:
            return dict(json.loads(reader.detailed_json()))
    with path.open("rb") as file, c2pa.Reader(BYTES_TYPE, file, sidecar_of(path).read_bytes()) as reader:
        return dict(json.loads(reader.detailed_json()))


@pytest.mark.parametrize("suffix", KINDS)
def test_a_signed_file_is_intact_and_says_what_was_done(
    suffix: str, media: MakeFile, statement: Statement, identity: Identity
) -> None:
    path = sign(media(suffix), statement, identity)
    found = read_manifest(path)
    assert (found.state, found.problems) == ("untrusted", ())
    assert "not verified" in found.signer
    assert found.source_types == ("compositeSynthetic",)
    assert found.run_id == "cccccccc"
    assert found.facts["engine"] == "mesh"
    assert [item["sha256"] for item in found.facts["inputs"]] == ["a" * 64, "b" * 64]
    assert [(each.title, each.is_parent, each.state) for each in found.ingredients] == [
        ("target", True, "absent"),
        ("source 1", False, "absent"),
    ]
    hidden = [item.name for item in path.parent.iterdir() if item.name.startswith(".")]
    assert hidden == []


@pytest.mark.parametrize("suffix", [kind for kind in KINDS if kind not in EMBEDDED_TYPES])
def test_what_carries_no_manifest_is_not_touched(
    suffix: str, media: MakeFile, statement: Statement, identity: Identity
) -> None:
    path = media(suffix)
    before = path.read_bytes()
    sign(path, statement, identity)
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_signing_changes_no_packet(suffix: str, media: MakeFile, statement: Statement, identity: Identity) -> None:
    def packets(path: Path) -> list[tuple[int | None, int | None, bytes]]:
        with av.open(str(path)) as container:
            return [(packet.pts, packet.dts, bytes(packet)) for packet in container.demux() if packet.size]

    path = media(suffix)
    before = packets(path)
    assert packets(sign(path, statement, identity)) == before


@pytest.mark.parametrize("suffix", [".gif", ".png", ".jpg", ".webp"])
def test_signing_changes_no_pixel(suffix: str, media: MakeFile, statement: Statement, identity: Identity) -> None:
    def pictures(path: Path) -> list[tuple[object, bytes]]:
        with Image.open(path) as file:
            return [(each.info.get("duration"), each.convert("RGB").tobytes()) for each in ImageSequence.Iterator(file)]

    path = media(suffix)
    before = pictures(path)
    assert pictures(sign(path, statement, identity)) == before


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".png", ".jpg"])
def test_every_changed_byte_shows(suffix: str, media: MakeFile, statement: Statement, identity: Identity) -> None:
    path = sign(media(suffix), statement, identity)
    content = path.read_bytes()
    places = [place for part in media_parts(suffix, content) for place in part]
    draw = random.Random(7)
    for place in draw.sample(places, 50):
        changed = bytearray(content)
        changed[place] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        assert read_manifest(path).state == "tampered", f"byte {place} of {len(content)}"


def test_bytes_at_the_end_show_too(media: MakeFile, statement: Statement, identity: Identity) -> None:
    path = sign(media(".png"), statement, identity)
    path.write_bytes(path.read_bytes() + b"more")
    assert read_manifest(path).state == "tampered"


def test_a_manifest_of_another_file_does_not_fit(media: MakeFile, statement: Statement, identity: Identity) -> None:
    path = sign(media(".mkv"), statement, identity)
    sign(media(".webm"), statement, identity)  # which puts its manifest where that of the other was
    found = read_manifest(path)
    assert found.state == "tampered"
    assert "another file" in found.problems[0]


def test_an_independent_reader_agrees(media: MakeFile, statement: Statement, identity: Identity) -> None:
    """The library alone, in a fresh process and with its own settings, finds the sidecar by itself."""
    paths = [sign(media(suffix), statement, identity) for suffix in (".mp4", ".png", ".mkv")]
    script = (
        "import c2pa, sys\n"
        "for name in sys.argv[1:]:\n"
        "    print(c2pa.Reader(name).get_validation_state() if not name.endswith('.mkv') else c2pa.Reader(\n"
        "        'application/octet-stream', open(name, 'rb'), open(name[:-3] + 'c2pa', 'rb').read()\n"
        "    ).get_validation_state())"
    )
    done = subprocess.run([sys.executable, "-c", script, *map(str, paths)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Valid", "Valid", "Valid"]


def test_names_places_and_pictures_of_the_inputs_stay_private(
    media: MakeFile, statement: Statement, identity: Identity, tmp_path: Path
) -> None:
    path = sign(media(".mkv"), statement, identity)
    manifest = sidecar_of(path).read_bytes()
    for secret in (b"made.png", str(tmp_path).encode(), tmp_path.name.encode()):
        assert secret not in manifest
    assert b"JFIF" not in manifest and b"\x89PNG" not in manifest
    assert len(manifest) < 10_000


def test_a_time_stamp_authority_that_fails_at_the_end_costs_the_stamp_and_not_the_work(
    media: MakeFile, statement: Statement, identity: Identity
) -> None:
    for suffix in (".mp4", ".mkv"):
        maker = ManifestMaker(statement, replace(identity, timestamp="http://127.0.0.1:9/tsa"))
        path = media(suffix)
        if takes_manifest(path):
            maker.embed(path, path)
        else:
            sidecar_of(path).write_bytes(maker.detached(path, path))
        assert read_manifest(path).state == "untrusted"
        assert "without a time stamp" in maker.warnings[0]


def test_a_folder_and_a_damaged_still_have_no_thumbnail_and_do_no_harm(
    media: MakeFile, statement: Statement, identity: Identity, tmp_path: Path
) -> None:
    still = sign(media(".jpg"), statement, identity)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(truncated_manifest(sign(media(".png"), statement, identity).read_bytes()))
    others = (Ingredient("driving video", tmp_path, "5-00"), Ingredient("source 1", damaged, "5-01"))
    maker = ManifestMaker(replace(statement, others=others), identity, thumbnails=True)
    maker.embed(still, still)
    assert [each.title for each in read_manifest(still).ingredients] == ["target", "driving video", "source 1"]
    assert [str(damaged) in warning for warning in maker.warnings if "small picture" in warning] == [True]


def test_thumbnails_only_where_they_are_wanted(media: MakeFile, statement: Statement, identity: Identity) -> None:
    path = sign(media(".mkv"), statement, identity, thumbnails=True)
    assert b"JFIF" in sidecar_of(path).read_bytes()
    assert read_manifest(path).state == "untrusted"


@pytest.mark.parametrize("suffix", [".jpg", ".mp4", ".mkv"])
def test_a_manifest_of_the_target_is_kept_as_the_parents(
    suffix: str, media: MakeFile, statement: Statement, identity: Identity, studio: Studio, tmp_path: Path
) -> None:
    cert, key = studio.issue()
    theirs = identity_of(ProvenanceSettings(cert=cert, key=key), tmp_path / "data")
    canvas = sign(media(suffix).rename(tmp_path / f"canvas{suffix}"), statement, theirs)
    result = sign(media(".mov"), _on(canvas, statement), identity)
    parent = read_manifest(result).ingredients[0]
    assert (parent.title, parent.is_parent, parent.state) == ("target", True, "untrusted")
    assert len(whole_manifest(result)["manifests"]) == 2
    assert b"Example Studio" in result.read_bytes()


def test_a_tampered_target_is_told_of(media: MakeFile, statement: Statement, identity: Identity) -> None:
    canvas = sign(media(".jpg"), statement, identity)
    canvas.write_bytes(canvas.read_bytes() + b"more")
    result = sign(media(".mp4"), _on(canvas, statement), identity)
    found = read_manifest(result)
    assert found.state == "untrusted", "the result itself is intact"
    assert found.ingredients[0].state == "tampered"


def test_a_damaged_manifest_of_the_target_is_left_out_with_a_warning(
    media: MakeFile, statement: Statement, identity: Identity
) -> None:
    canvas = sign(media(".png"), statement, identity)
    canvas.write_bytes(truncated_manifest(canvas.read_bytes()))
    maker = ManifestMaker(_on(canvas, statement), identity)
    path = media(".jpg")
    maker.embed(path, path)
    assert read_manifest(path).state == "untrusted"
    assert [str(canvas) in warning and "damaged" in warning for warning in maker.warnings] == [True]


def test_all_pictures_of_a_sequence_get_a_manifest(media: MakeFile, statement: Statement, identity: Identity) -> None:
    maker = ManifestMaker(statement, identity)
    path = media(".png")
    plain = path.read_bytes()
    for _ in range(3):
        path.write_bytes(plain)
        maker.embed(path, path)
        assert read_manifest(path).state == "untrusted"


def test_a_full_disk_is_told_and_leaves_the_file(media: MakeFile, statement: Statement, identity: Identity) -> None:
    path = media(".mp4")
    before = path.read_bytes()
    script = (
        "import resource, sys, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script + _SIGN_HERE, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"OutputError {path} cannot be signed: File too large"), done.stdout + done.stderr
    assert path.read_bytes() == before


_SIGN_HERE = """
from pathlib import Path
from facexcli.errors import FacexError
from facexcli.provenance.identity import identity_of
from facexcli.provenance.manifest import Ingredient, Statement
from facexcli.provenance.signing import ManifestMaker
from facexcli.settings import ProvenanceSettings
path = Path(sys.argv[1])
canvas = Ingredient("target", path, "1-00")
statement = Statement("swap", canvas, (), "mesh", False, "c" * 64, 1)
try:
    ManifestMaker(statement, identity_of(ProvenanceSettings(), path.parent / "data")).embed(path, path)
except FacexError as error:
    print(type(error).__name__, error.message)
"""


def truncated_manifest(png: bytes) -> bytes:
    """A PNG whose manifest ends in its middle, in a chunk that is right by itself."""
    at = png.index(b"caBX")
    size = int.from_bytes(png[at - 4 : at], "big")
    return _with_manifest(png[: at - 4] + png[at + 8 + size :], png[at + 4 : at + 4 + size // 2])


def _with_manifest(png: bytes, manifest: bytes) -> bytes:
    chunk = b"caBX" + manifest
    made = len(manifest).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    return png[:33] + made + png[33:]


def nested(depth: int) -> bytes:
    """A manifest store with boxes inside boxes."""
    inner = b""
    description = b"\0\0\0\x1ejumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71\x03c2pa\0"
    for _ in range(depth):
        inner = (len(description) + len(inner) + 8).to_bytes(4, "big") + b"jumb" + description + inner
    return inner


@pytest.mark.parametrize("manifest", [b"", b"\0" * 9, b"\xff" * 100_000, nested(1), nested(5000)], ids=len)
def test_hostile_manifests_are_called_damaged(manifest: bytes, media: MakeFile) -> None:
    path = media(".mkv")
    sidecar_of(path).write_bytes(manifest)
    assert read_manifest(path).state == "tampered"


def test_a_truncated_manifest_in_a_picture_is_called_damaged(
    media: MakeFile, statement: Statement, identity: Identity
) -> None:
    path = sign(media(".png"), statement, identity)
    path.write_bytes(truncated_manifest(path.read_bytes()))
    found = read_manifest(path)
    assert (found.state, found.place) == ("tampered", "embedded")
    assert "the manifest is damaged" in found.problems[0]


def test_a_gigantic_sidecar_is_not_read(media: MakeFile) -> None:
    path = media(".mkv")
    with sidecar_of(path).open("wb") as file:
        file.truncate(LARGEST_SIDECAR_BYTES + 1)
    assert "larger than" in read_manifest(path).problems[0]


def test_json_that_is_too_deep_or_full_of_escapes_does_no_harm(
    media: MakeFile, statement: Statement, identity: Identity
) -> None:
    """Facts of facex that somebody else wrote: deep, long and with sequences that a terminal would obey."""
    deep: Any = "\x1b[2Jend"
    for _ in range(90):
        deep = [deep]
    forged = Statement("swap", statement.canvas, (), "\x1b]0;owned\x07" * 999, False, "c" * 64, 1, weights={"x": deep})
    path = sign(media(".jpg"), forged, identity)
    found = read_manifest(path)
    assert found.state == "untrusted"
    assert "\x1b" not in str(found.facts) and len(found.facts["engine"]) < 400


def test_files_without_a_manifest(media: MakeFile) -> None:
    for suffix in KINDS:
        assert read_manifest(media(suffix)).state == "absent"


def test_trust_that_is_none_is_an_error(media: MakeFile) -> None:
    with pytest.raises(InputError, match="trusted certificates"):
        read_manifest(media(".png"), "no certificate")


def test_the_state_follows_what_failed_and_what_held() -> None:
    held = ["claimSignature.validated", "assertion.dataHash.match"]
    assert state_of("Trusted", [], held) == "valid"
    assert state_of("Valid", ["signingCredential.untrusted"], held) == "untrusted"
    assert state_of("Invalid", ["signingCredential.untrusted", "signingCredential.expired"], held) == "untrusted"
    assert state_of("Invalid", ["signingCredential.untrusted", "assertion.dataHash.mismatch"], held) == "tampered"
    assert state_of("Trusted", ["claimSignature.mismatch"], held) == "tampered"
    for missing in held:  # what was not checked does not hold
        assert (
            state_of("Invalid", ["signingCredential.invalid"], [code for code in held if code != missing]) == "tampered"
        )


def test_only_pixels_of_a_trained_model_are_called_so() -> None:
    assert digital_source_type(generated=False) == COMPOSITE_SYNTHETIC
    assert digital_source_type(generated=True) == COMPOSITE_TRAINED


def test_a_place_that_cannot_be_written_is_told(media: MakeFile, statement: Statement, identity: Identity) -> None:
    with pytest.raises(OutputError, match=r"named\.mp4 cannot be signed"):
        ManifestMaker(statement, identity).embed(Path("/nonexistent/x.mp4"), Path("named.mp4"))


def _on(canvas: Path, statement: Statement) -> Statement:
    return replace(statement, canvas=Ingredient("target", canvas, "9-00"))

"""Every result says what it is, from the command to the check; what was not edited says nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facexcli.api import reenact, swap
from facexcli.config import resolve
from facexcli.errors import InputError, OutputError, UsageError
from facexcli.media.image import read_image, write_image
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.pipeline.marking import OFF_WARNING
from facexcli.pipeline.plan import Plan
from facexcli.pipeline.planning import plan_swap
from facexcli.pipeline.verification import verify
from facexcli.settings import ProvenanceSettings, Settings
from facexcli.types import Array


def with_flags(**flags: object) -> Settings:
    nowhere = Path("/nonexistent")
    return resolve({"trim": "#0..#4", **flags}, cwd=nowhere, home=nowhere)


def lumas(path: Path) -> list[Array]:
    with FrameReader(path, probe(path)) as reader:
        return [frame.planes[0].copy() for frame in reader]


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
def test_a_swap_is_signed(name: str, talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    output = tmp_path / name
    result = swap(portrait, talking_clip, output, settings=with_flags(), overwrite=True)
    found = verify(output)
    assert found.manifest.state == "untrusted" and found.is_found
    assert found.manifest.run_id == result.provenance["run_id"] == f"{result.plan.run_id:08x}"
    assert found.manifest.facts["plan_sha256"] == result.plan.fingerprint
    assert [item["sha256"] for item in found.manifest.facts["inputs"]] == [
        result.plan.canvas.fingerprint.partition("-")[2],
        result.plan.sources[0].fingerprint.partition("-")[2],
    ]
    assert found.tagged == "compositeSynthetic"
    names = {name, "out.c2pa"} if name == "out.mkv" else {name}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_reenactment_is_signed_and_its_portrait_is_the_parent(
    talking_clip: Path, portrait: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    reenact(portrait, talking_clip, output, settings=with_flags())
    found = verify(output).manifest
    assert found.state == "untrusted"
    assert [(each.title, each.is_parent) for each in found.ingredients] == [
        ("portrait", True),
        ("driving video", False),
    ]


@pytest.mark.parametrize("name", ["out.png", "out.jpg"])
def test_pictures_are_signed(name: str, portrait: Path, eval_data: Path, tmp_path: Path) -> None:
    other = eval_data / "london" / "011_neutral.jpg"
    swap(other, portrait, tmp_path / name, settings=with_flags(trim=None))
    assert verify(tmp_path / name).manifest.state == "untrusted"


def test_every_picture_of_a_sequence_is_signed(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    swap(portrait, talking_clip, tmp_path / "frames" / "%03d.png", settings=with_flags())
    pictures = sorted((tmp_path / "frames").iterdir())
    assert [path.name for path in pictures] == ["001.png", "002.png", "003.png", "004.png"]
    assert {verify(path).manifest.state for path in pictures} == {"untrusted"}


def test_a_result_that_is_edited_again_keeps_its_history(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    swap(portrait, talking_clip, tmp_path / "one.mkv", settings=with_flags())
    swap(portrait, tmp_path / "one.mkv", tmp_path / "two.mp4", settings=with_flags(trim=None))
    parent = verify(tmp_path / "two.mp4").manifest.ingredients[0]
    assert (parent.title, parent.state) == ("target", "untrusted")


def test_what_was_not_edited_is_not_signed(portrait: Path, tmp_path: Path) -> None:
    landscape = tmp_path / "landscape.png"
    write_image(landscape, np.tile(np.linspace(40, 200, 320).astype(np.uint8)[None, :, None], (240, 1, 3)))
    flags = with_flags(trim=None, no_face="pass", label="AI-generated")
    result = swap(portrait, landscape, tmp_path / "out.png", settings=flags)
    assert not result.provenance
    assert verify(tmp_path / "out.png").manifest.state == "absent"
    assert np.array_equal(read_image(tmp_path / "out.png"), read_image(landscape))


def test_marking_can_be_left_out_and_the_result_says_so(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    result = swap(portrait, talking_clip, output, settings=with_flags(provenance="off"))
    assert result.provenance == {"marked": "off"}
    assert OFF_WARNING in result.warnings and "article 50" in OFF_WARNING
    found = verify(output)
    assert (found.manifest.state, found.tagged) == ("absent", "")


def test_the_same_plan_has_the_same_run_id_wherever_its_files_lie(
    talking_clip: Path, portrait: Path, tmp_path: Path
) -> None:
    def planned(folder: str, **flags: object) -> Plan:
        (tmp_path / folder).mkdir(exist_ok=True)
        copies = [tmp_path / folder / path.name for path in (portrait, talking_clip)]
        for origin, copy in zip((portrait, talking_clip), copies, strict=True):
            copy.write_bytes(origin.read_bytes())
        return plan_swap(copies[:1], copies[1], tmp_path / f"{folder}.mp4", with_flags(**flags))

    one = planned("a")
    assert one.run_id == planned("b", progress="plain", provenance_thumbnails="on").run_id
    assert one.run_id != planned("b", feather=0.3).run_id
    assert 0 <= one.run_id < 2**32


def test_a_saved_plan_does_not_say_who_signs(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    secrets = {"signing_cert": "my.cert", "signing_command": ["my-signer"], "timestamp": "http://my.tsa"}
    plan = plan_swap([portrait], talking_clip, tmp_path / "out.mp4", with_flags(**secrets))
    text = plan.model_dump_json()
    assert not any(secret in text for secret in ("my.cert", "my-signer", "my.tsa"))
    (tmp_path / "plan.json").write_text(text)
    loaded = Plan.load(tmp_path / "plan.json")
    assert loaded.settings.provenance == ProvenanceSettings()
    assert loaded.signed_as(plan.settings.provenance) == plan
    hostile = json.loads(text)
    hostile["settings"]["provenance"]["signer"] = ["rm", "-rf", "/"]
    (tmp_path / "plan.json").write_text(json.dumps(hostile))
    assert Plan.load(tmp_path / "plan.json").signed_as(ProvenanceSettings()).settings.provenance.signer == ()


@pytest.mark.parametrize("table", ['signer = ["sign"]', 'timestamp = "http://x"'])
def test_projects_and_presets_start_no_program_and_call_nobody(table: str, tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    for folder, name in ((home, "config.toml"), (project, "facex.toml")):
        folder.mkdir()
        (folder / name).write_text(f"[provenance]\n{table}\n")
    with pytest.raises(UsageError, match=r"facex\.toml: provenance\.\w+ is not taken from projects"):
        resolve(cwd=project, home=tmp_path)
    with pytest.raises(UsageError, match="not taken from projects and presets"):
        resolve(preset=str(project / "facex.toml"), cwd=tmp_path, home=tmp_path)
    assert resolve(cwd=tmp_path, home=home).provenance != ProvenanceSettings()


def test_a_key_that_cannot_be_used_stops_the_run_before_its_work(
    talking_clip: Path, portrait: Path, tmp_path: Path
) -> None:
    flags = with_flags(signing_cert=tmp_path / "gone.pem", signing_key=tmp_path / "gone.key")
    with pytest.raises(InputError, match=r"gone\.pem"):
        swap(portrait, talking_clip, tmp_path / "out.mp4", settings=flags)
    assert list(tmp_path.iterdir()) == []


def test_a_sidecar_that_is_there_is_not_replaced_unasked(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    sidecar = tmp_path / "out.c2pa"
    sidecar.write_text("of another file")
    with pytest.raises(OutputError, match=r"out\.c2pa exists"):
        swap(portrait, talking_clip, tmp_path / "out.mkv", settings=with_flags())
    assert [path.name for path in tmp_path.iterdir()] == ["out.c2pa"]
    swap(portrait, talking_clip, tmp_path / "out.mkv", settings=with_flags(), overwrite=True)
    assert verify(tmp_path / "out.mkv").manifest.state == "untrusted"


def test_an_old_sidecar_beside_an_unmarked_result_is_told_of(
    talking_clip: Path, portrait: Path, tmp_path: Path
) -> None:
    (tmp_path / "out.c2pa").write_text("of another file")
    result = swap(portrait, talking_clip, tmp_path / "out.mkv", settings=with_flags(provenance="off"))
    assert any("out.c2pa is the manifest of another file" in warning for warning in result.warnings)


def test_a_pipe_gets_tags_and_a_warning(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "facexcli",
        "swap",
        str(portrait),
        str(talking_clip),
        "-o",
        "-",
        "--trim",
        "#0..#3",
    ]
    done = subprocess.run(command, capture_output=True, check=True)
    assert b"cannot be signed" in done.stderr
    (tmp_path / "piped.mkv").write_bytes(done.stdout)
    found = verify(tmp_path / "piped.mkv")
    assert (found.manifest.state, found.tagged) == ("absent", "compositeSynthetic")


def test_a_label_is_seen_for_as_long_as_it_is_wanted(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    """Lossless: what is not below the label or the face stays as it was."""
    flags = {"codec": "ffv1", "trim": "#0..#4", "watermark": "off"}  # a label makes it another run
    swap(portrait, talking_clip, tmp_path / "plain.mkv", settings=with_flags(**flags))
    labelled = with_flags(**flags, label="AI-generated", label_seconds=0.08, label_position="top-right")
    swap(portrait, talking_clip, tmp_path / "labelled.mkv", settings=labelled)
    changed = [
        np.argwhere(with_label != without)
        for with_label, without in zip(lumas(tmp_path / "labelled.mkv"), lumas(tmp_path / "plain.mkv"), strict=True)
    ]
    assert [len(places) > 0 for places in changed] == [True, True, False, False]
    height, width = lumas(tmp_path / "plain.mkv")[0].shape
    assert changed[0][:, 0].max() < height / 4 and changed[0][:, 1].min() > width / 2
    lettered = lumas(tmp_path / "labelled.mkv")[0][tuple(changed[0].T)]
    assert lettered.max() > 200 and np.median(lettered) < 128
    assert verify(tmp_path / "labelled.mkv").manifest.facts["label"] == "AI-generated"


def test_a_label_can_stay_out_of_the_picture(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    for name, flags in (("plain", {}), ("labelled", {"label": "AI-generated", "label_as": "metadata"})):
        settings = with_flags(codec="ffv1", watermark="off", **flags)
        swap(portrait, talking_clip, tmp_path / f"{name}.mkv", settings=settings, overwrite=True)
    for one, other in zip(lumas(tmp_path / "plain.mkv"), lumas(tmp_path / "labelled.mkv"), strict=True):
        assert np.array_equal(one, other)
    assert b"AI-generated" in (tmp_path / "labelled.mkv").read_bytes()


def test_a_label_in_marks_that_are_switched_off_is_refused(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    flags = with_flags(label="AI-generated", label_as="metadata", provenance="off")
    with pytest.raises(UsageError, match="--label-as metadata"):
        swap(portrait, talking_clip, tmp_path / "out.mp4", settings=flags)


def test_letters_that_cannot_be_drawn_are_told_before_the_work(
    talking_clip: Path, portrait: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no font here has"):
        swap(portrait, talking_clip, tmp_path / "out.mp4", settings=with_flags(label="合成"))
    assert list(tmp_path.iterdir()) == []

"""The commands that show something: faces, engines, presets, doctor."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from facexcli.media.image import read_image

if TYPE_CHECKING:
    from conftest import Facex

Photographs = tuple[Path, Path]


def test_faces_lists_draws_and_saves(facex: Facex, photographs: Photographs) -> None:
    shown = facex("faces", photographs[1], "--sheet", "sheet.png", "--save", "faces.json", "-q")
    assert shown.code == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0].endswith("1 person")
    assert lines[3].split()[:3] == ["1", "person", "1"]
    assert lines[6].split()[:3] == ["0", "1", "0"]
    assert read_image(Path("sheet.png")).std() > 20, "there is a picture on the sheet"
    assert json.loads(Path("faces.json").read_text())["frame_count"] == 1


def test_people_are_renamed_in_the_saved_file(facex: Facex, photographs: Photographs) -> None:
    """What is edited is shown again, and its names are understood."""
    facex("faces", photographs[1], "--save", "faces.json")
    text = Path("faces.json").read_text()
    Path("faces.json").write_text(text.replace('"person 1"', '"Grace"'))
    shown = facex("faces", photographs[1], "--analysis", "faces.json", "--sheet", "sheet.png")
    assert "Grace" in shown.stdout
    mapped = ("--map", f"{photographs[0]}=grace", "--analysis", "faces.json")
    done = facex("swap", photographs[1], *mapped, "-o", "out.png", "--json")
    (person,) = json.loads(done.stdout)["people"]
    assert (person["name"], person["swap_rate"]) == ("Grace", 1)
    Path("faces.json").write_text(text.replace('"person 1"', '"all"'))
    broken = facex("faces", photographs[1], "--analysis", "faces.json")
    assert broken.code == 2
    assert "faces.json: people[0].name: 'all'" in broken.stderr


def test_the_second_look_at_a_clip_is_out_of_the_cache(facex: Facex, photographs: Photographs) -> None:
    first = facex("faces", photographs[1])
    again = facex("faces", photographs[1])
    assert first.stdout == again.stdout
    assert "known from an earlier run" not in first.stderr
    assert "known from an earlier run" in again.stderr
    assert "known from" not in facex("faces", photographs[1], "--cache", "0").stderr
    kept = json.loads(facex("doctor", "--cache", "--json").stdout)
    assert [entry["media"] for entry in kept["entries"]] == [photographs[1].name]
    assert kept["folder"].startswith(str(Path("../home").resolve()))
    shown = facex("doctor", "--cache").stdout
    assert photographs[1].name in shown
    assert max(len(line) for line in shown.splitlines() if "home" not in line) <= 80
    assert "1 analysis" in facex("doctor", "--clear-cache").stdout
    assert json.loads(facex("doctor", "--cache", "--json").stdout)["entries"] == []
    assert "known from" not in facex("faces", photographs[1]).stderr


def test_a_sheet_without_a_place_is_refused_before_any_work(facex: Facex, photographs: Photographs) -> None:
    shown = facex("faces", photographs[1], "--sheet", "no/such/folder/sheet.png")
    assert (shown.code, "no folder no/such/folder" in shown.stderr) == (7, True)


def test_a_saved_analysis_is_used(facex: Facex, photographs: Photographs) -> None:
    facex("faces", photographs[1], "--save", "faces.json")
    shown = facex("swap", *photographs, "-o", "out.png", "--analysis", "faces.json")
    assert shown.code == 0, shown.stderr
    assert "faces.json" in shown.stderr, "the run says where the faces come from"
    other = facex("swap", photographs[1], photographs[0], "-o", "other.png", "--analysis", "faces.json")
    assert other.code == 3
    assert "another file" in other.stderr


def test_faces_as_json(facex: Facex, photographs: Photographs) -> None:
    found = json.loads(facex("faces", photographs[1], "--json").stdout)
    (track,) = found["tracks"]
    # dlib finds the chin and the brows of this photograph between 150 and 250 pixels apart.
    assert 150 < track["face_height_px"] < 250
    assert -20 < track["yaw_deg"][0] <= track["yaw_deg"][1] < 20


def test_faces_does_not_replace_a_file(facex: Facex, photographs: Photographs) -> None:
    Path("sheet.png").write_bytes(b"precious")
    assert facex("faces", photographs[1], "--sheet", "sheet.png").code == 7
    assert Path("sheet.png").read_bytes() == b"precious"


def test_engines(facex: Facex) -> None:
    shown = facex("engines")
    assert shown.code == 0
    assert "mesh: available\n" in shown.stdout
    (mesh,) = [row for row in json.loads(facex("engines", "--json").stdout)["engines"] if row["engine"] == "mesh"]
    assert mesh["licence"] == "Apache-2.0" and mesh["available"]
    (own,) = [row for row in json.loads(facex("engines", "--json").stdout)["engines"] if row["engine"] == "facex"]
    assert not own["available"] and "--weights" in own["reason"] and "swap" in own["tasks"]
    assert f"facex: {own['reason']}\n" in shown.stdout
    assert {"swap", "reenact"} <= set(mesh["tasks"])


def test_presets(facex: Facex) -> None:
    listed = facex("presets", "list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["balanced", "fast", "quality"]
    assert set(json.loads(facex("presets", "list", "--json").stdout)) == {"balanced", "fast", "quality"}
    shown = facex("presets", "show", "quality").stdout
    assert tomllib.loads(shown)["output"]["encoder_preset"] == "slow"
    Path("mine.toml").write_text(shown)
    assert facex("presets", "show", "mine.toml").stdout == shown, "what is shown is a preset again"


def test_doctor_tells_what_a_report_needs(facex: Facex) -> None:
    shown = facex("doctor")
    assert shown.code == 0, shown.stderr
    for word in ("PyAV", "libx264", "300-W", "CC0", "device: ", "config.toml", "Python 3."):
        assert word in shown.stdout
    # Only what this machine is called, and where its folders are, may be longer.
    lines = [line for line in shown.stdout.splitlines() if not re.search(r"/\S*/|^facex ", line)]
    assert max(len(line) for line in lines) <= 80
    found = json.loads(facex("doctor", "--json").stdout)
    assert found["problems"] == []
    assert {each["codec"]: each["problem"] for each in found["encoders"]}["ffv1"] == ""
    assert {each["codec"]: each["problem"] for each in found["decoders"]}["h264"] == ""
    assert {each["purpose"]: each["problem"] for each in found["folders"]}["temporary"] == ""
    assert "mesh" in found["engines"]
    assert all(model["size_bytes"] > 0 for model in found["models"])


def test_doctor_says_in_a_line_why_a_hardware_encoder_cannot_be_used(facex: Facex) -> None:
    found = json.loads(facex("doctor", "--json").stdout)["hardware_encoders"]
    shown = facex("doctor").stdout
    assert {"h264_nvenc", "hevc_vaapi", "av1_qsv", "h264_videotoolbox", "hevc_amf"} <= {each["name"] for each in found}
    for each in found:
        assert (each["problem"] or "works") in " ".join(shown.split())


def test_doctor_says_which_folder_cannot_be_written(facex: Facex, monkeypatch, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("facexcli.doctor.TemporaryFile", refuse)
    assert "cannot be written: permission denied" in facex("doctor").stdout


def test_doctor_ends_with_an_error_where_the_models_are_missing(facex: Facex, monkeypatch, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("facexcli.doctor.weights_folder", lambda: tmp_path)
    shown = facex("doctor")
    assert shown.code == 5
    assert "shape_predictor_68_face_landmarks.dat is missing" in shown.stderr
    assert "missing" in shown.stdout

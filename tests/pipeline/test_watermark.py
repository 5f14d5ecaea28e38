"""The watermark from a run to the search in its result, re-encoded; by whom it is found and by whom not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facexcli.api import swap
from facexcli.config import resolve
from facexcli.errors import InputError
from facexcli.fusion.watermark_waves import PUBLIC_KEY
from facexcli.media.image import read_image
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.pipeline.run import RunResult
from facexcli.pipeline.verification import verify
from facexcli.pipeline.watermark import find_watermark, watermark_key
from facexcli.settings import ProvenanceSettings, Settings

if TYPE_CHECKING:
    from tests.conftest import SmallStill

OWN_KEY = b"nobody else has this secret"


def with_flags(**flags: object) -> Settings:
    nowhere = Path("/nonexistent")
    return resolve(flags, cwd=nowhere, home=nowhere)


def encoded_again(origin: Path, output: Path, crf: int) -> Path:
    info = probe(origin)
    with (
        FrameReader(origin, info) as reader,
        VideoWriter(output, VideoFormat.from_media(info), EncodeOptions(codec="h264", crf=crf)) as writer,
    ):
        for frame in reader:
            writer.write(frame)
    return output


@pytest.fixture(scope="module")
def marked(eval_data: Path, small_still: SmallStill, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A swap of 24 frames, marked with everybody's key."""
    output = tmp_path_factory.mktemp("marked") / "out.mp4"
    target = eval_data / "talking" / "grid_swiz3n.mpg"
    return swap(small_still("011_neutral"), target, output, settings=with_flags(trim="#0..#24"))


def test_a_mark_is_found_where_the_manifest_is_lost(marked: RunResult, tmp_path: Path) -> None:
    again = encoded_again(marked.output, tmp_path / "again.mp4", crf=28)
    found = verify(again, keys=[PUBLIC_KEY])
    assert found.manifest.state == "absent"
    assert found.is_found and found.is_marked
    assert found.marked_run in ("", f"{marked.plan.run_id:08x}")
    assert found.as_json()["watermark"]["log10_chance"] >= 4
    assert not verify(again).is_found, "nobody looked"


def test_a_fresh_mark_names_the_run_of_the_manifest(marked: RunResult) -> None:
    found = verify(marked.output, keys=[OWN_KEY, PUBLIC_KEY])
    assert found.is_marked and found.marked_run in ("", found.manifest.run_id)
    assert found.watermark is not None and found.watermark.run_id == marked.plan.run_id


def test_another_key_finds_nothing(marked: RunResult) -> None:
    assert not find_watermark(marked.output, [OWN_KEY]).is_found


def test_a_video_without_a_mark_has_none(talking_clip: Path) -> None:
    assert not find_watermark(talking_clip).is_found


def test_a_picture_has_a_mark_unless_nobody_wants_one(portrait: Path, small_still: SmallStill, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(OWN_KEY + b"\n")
    secret.chmod(0o600)
    source = small_still("011_neutral")
    results = {}
    for name, flags in {
        "own": {"watermark_key": secret},
        "off": {"watermark": "off"},
        "unmarked": {"provenance": "off"},
    }.items():
        results[name] = swap(source, portrait, tmp_path / f"{name}.png", settings=with_flags(**flags))
    pictures = {name: read_image(result.output) for name, result in results.items()}
    assert (pictures["off"] == pictures["unmarked"]).all()
    assert (pictures["off"] != pictures["own"]).any()
    assert find_watermark(results["own"].output, [OWN_KEY]).is_found
    assert not find_watermark(results["own"].output).is_found
    assert not find_watermark(results["off"].output).is_found
    assert OWN_KEY.decode() not in json.dumps(results["own"].plan.model_dump(mode="json"))


def test_a_file_without_faces_has_no_mark(tmp_path: Path, eval_data: Path) -> None:
    landscape = tmp_path / "landscape.png"
    from facexcli.media.image import write_image

    write_image(landscape, read_image(eval_data / "london" / "011_neutral.jpg")[:60, :60])
    assert find_watermark(landscape).log10_chance == 0


def test_keys_that_are_none_are_refused(tmp_path: Path) -> None:
    assert watermark_key(ProvenanceSettings()) == PUBLIC_KEY
    with pytest.raises(InputError, match="cannot be read"):
        watermark_key(ProvenanceSettings(watermark_key=tmp_path / "missing"))
    short = tmp_path / "short"
    short.write_bytes(b"1234\n")
    short.chmod(0o600)
    with pytest.raises(InputError, match="8 to 4096 bytes"):
        watermark_key(ProvenanceSettings(watermark_key=short))
    shared = tmp_path / "shared"
    shared.write_bytes(OWN_KEY)
    shared.chmod(0o644)
    with pytest.raises(InputError, match="others may read"):
        watermark_key(ProvenanceSettings(watermark_key=shared))

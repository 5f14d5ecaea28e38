"""The script of a nightly batch: a night, the night after it, a failure, a mistake."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.skipif(shutil.which("sh") is None, reason="a shell script")


@pytest.fixture
def place(eval_data: Path, tmp_path: Path) -> Path:
    """The folder that the example's jobs expect, with tiny clips."""
    from facexcli.media.probe import probe
    from facexcli.media.reader import FrameReader
    from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter

    shutil.copy(EXAMPLES / "nightly.toml", tmp_path / "nightly.toml")
    for folder in ("people", "clips"):
        (tmp_path / folder).mkdir()
    shutil.copy(eval_data / "london" / "087_neutral.jpg", tmp_path / "people" / "anna.jpg")
    origin = eval_data / "talking" / "grid_brbk7n.mpg"
    with FrameReader(origin, probe(origin), stop=6) as reader:
        frames = list(reader)
        video = VideoFormat.from_media(reader.info)
    with VideoWriter(tmp_path / "clips" / "one.mp4", video, EncodeOptions(codec="h264")) as writer:
        for frame in frames:
            writer.write(frame)
    shutil.copy(tmp_path / "clips" / "one.mp4", tmp_path / "presenter.mp4")
    program = tmp_path / "facex"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m facexcli "$@"\n', "utf-8")
    program.chmod(0o755)
    return tmp_path


def _night(place: Path) -> tuple[int, list[str]]:
    environment = {**os.environ, "FACEX": str(place / "facex"), "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(["sh", str(EXAMPLES / "nightly.sh"), str(place / "nightly.toml")],
                          capture_output=True, text=True, env=environment)  # fmt: skip
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def test_a_night_and_the_nights_after_it(place: Path) -> None:
    code, told = _night(place)
    assert (code, told) == (0, ["nightly.toml: complete: 2 done, 0 were there already"])
    assert (place / "results" / "anna" / "one.mp4").is_file() and (place / "results" / "anna-presenter.mp4").is_file()
    assert (place / "nightly.outputs").read_text("utf-8").count(".mp4") == 2

    # The night after it there is a new portrait, on which nobody is seen.
    from PIL import Image

    Image.new("RGB", (320, 320), (90, 120, 90)).save(place / "people" / "wall.jpg")
    code, told = _night(place)
    assert code == 8
    assert told[0] == "nightly.toml: 2 failed, 0 done; the others are not affected"
    assert [line.split(": ")[0].strip() for line in told[1:]] == [
        str(place / "results" / "wall" / "one.mp4"), str(place / "results" / "wall-presenter.mp4"),
    ]  # fmt: skip
    assert all("no face found" in line for line in told[1:])
    assert not (place / "results" / "wall-presenter.mp4").exists()

    jobs = place / "nightly.toml"
    jobs.write_text(jobs.read_text("utf-8").replace("driving", "drivign"), "utf-8")
    code, told = _night(place)
    assert (code, told[0]) == (2, "nightly.toml: nothing was started, the jobs have mistakes:")
    assert "unknown key 'drivign'" in told[1] and "did you mean 'driving'?" in told[2]


def test_the_script_is_for_any_shell() -> None:
    script = EXAMPLES / "nightly.sh"
    text = script.read_text("utf-8")
    assert text.startswith("#!/bin/sh\n") and "set -u" in text and os.access(script, os.X_OK)
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
    if checker := shutil.which("shellcheck"):
        assert subprocess.run([checker, str(script)], check=False).returncode == 0

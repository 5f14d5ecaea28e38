"""`-` on the command line, as shells use it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from facexcli.media.encoders import EncodeOptions, VideoFormat
from facexcli.media.frames import frame_from_rgb
from facexcli.media.image import read_image
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.writer import VideoWriter

if TYPE_CHECKING:
    from conftest import Facex

Photographs = tuple[Path, Path]
FRAMES = 3


@pytest.fixture(scope="module")
def clip(photographs: Photographs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The admiral, keeping still."""
    rgb = read_image(photographs[1])
    rgb = np.ascontiguousarray(rgb[: rgb.shape[0] // 2 * 2, : rgb.shape[1] // 2 * 2])
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    video = VideoFormat(rgb.shape[1], rgb.shape[0], "rgb24", Fraction(1, 25))
    with VideoWriter(path, video, EncodeOptions("h264")) as writer:
        for index in range(FRAMES):
            writer.write(frame_from_rgb(rgb, index, index, Fraction(1, 25), 1))
    return path


@pytest.fixture(autouse=True)
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where standard input is kept while it is worked on; empty after every test."""
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield folder
    assert list(folder.iterdir()) == []


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def feed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


def frame_count(path: Path) -> int:
    with FrameReader(path, probe(path)) as reader:
        return len(list(reader))


def test_a_target_can_come_from_a_pipe(
    facex: Facex, photographs: Photographs, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(monkeypatch, clip.read_bytes())
    shown = facex("swap", photographs[0], "-", "-o", "out.mp4", "--progress", "none")
    assert (shown.code, shown.stdout) == (0, "out.mp4\n"), shown.stderr
    assert frame_count(Path("out.mp4")) == FRAMES


def test_faces_of_a_pipe_are_called_standard_input(facex: Facex, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, clip.read_bytes())
    shown = facex("faces", "-", "--json")
    assert json.loads(shown.stdout)["media"] == "standard input"


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [(b"", 3, "nothing came on standard input"), (b"no video\n" * 99, 3, "standard input is not a media file")],
)
def test_a_pipe_without_a_video_is_one_clear_line(
    facex: Facex, photographs: Photographs, monkeypatch: pytest.MonkeyPatch, content: bytes, code: int, said: str,
    spool: Path,
) -> None:  # fmt: skip
    feed(monkeypatch, content)
    shown = facex("swap", photographs[0], "-", "-o", "out.mp4", "--progress", "none")
    assert (shown.code, said in shown.stderr) == (code, True), shown.stderr
    assert str(spool) not in shown.stderr
    assert not Path("out.mp4").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("swap", "a.jpg", "-", "-o", "out.mp4"), "which is a terminal"),
        (("reenact", "a.jpg", "--driving", "-", "-o", "out.mp4"), "which is a terminal"),
        (("faces", "-"), "which is a terminal"),
        (("swap", "a.jpg", "b.mp4", "-o", "-"), "which is a terminal"),
        (("swap", "a.jpg", "b.mp4", "-o", "-", "--json"), "both want standard output"),
        (("swap", "-", "b.mp4", "-o", "out.mp4"), "SOURCE cannot come from standard input"),
        (("reenact", "-", "--driving", "b.mp4", "-o", "out.mp4"), "SOURCE cannot come from standard input"),
        (("swap", "a.jpg", "-", "-o", "out.mp4", "--dry-run"), "plan cannot come from standard input"),
    ],
)
def test_what_a_pipe_cannot_do_is_a_usage_error(
    facex: Facex, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr("sys.stdin", _Terminal())
    if "terminal" in said and arguments[-1] == "-" and arguments[0] == "swap":
        monkeypatch.setattr("facexcli.cli.piping.sys.stdout", _Terminal())
    shown = facex(*arguments)
    assert (shown.code, said in shown.stderr) == (2, True), shown.stderr


def shell(arguments: list[str], content: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "facexcli", *arguments]
    return subprocess.run(command, input=content, capture_output=True, timeout=120, check=False)


def test_from_a_pipe_into_a_pipe(photographs: Photographs, clip: Path, tmp_path: Path) -> None:
    done = shell(["swap", str(photographs[0]), "-", "-o", "-", "--progress", "none"], clip.read_bytes())
    assert done.returncode == 0, done.stderr
    (tmp_path / "out.mkv").write_bytes(done.stdout)  # not a byte of anything else
    assert frame_count(tmp_path / "out.mkv") == FRAMES
    assert probe(tmp_path / "out.mkv").container.startswith("matroska")


def test_a_reader_that_leaves_ends_the_run_in_one_line(photographs: Photographs, clip: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [
        sys.executable,
        "-m",
        "facexcli",
        "swap",
        str(photographs[0]),
        str(clip),
        "-o",
        "-",
        "--progress",
        "none",
    ]
    with os.fdopen(write_end, "wb") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, timeout=120, check=False)
    errors = [line for line in done.stderr.decode().splitlines() if "error" in line]
    assert (done.returncode, errors) == (7, ["facex: error: nobody reads standard output any more"])


def test_pictures_are_named_by_their_pattern(facex: Facex, photographs: Photographs, clip: Path) -> None:
    shown = facex("swap", photographs[0], clip, "-o", "frames/", "--progress", "none")
    assert (shown.code, Path(shown.stdout.strip())) == (0, Path("frames/%05d.png")), shown.stderr
    assert len(list(Path("frames").iterdir())) == FRAMES
    again = facex("swap", photographs[0], clip, "-o", "frames/", "--progress", "none")
    assert (again.code, "--overwrite" in again.stderr) == (7, True)
    shown = facex("faces", "frames", "--fps", "10", "--json")
    assert json.loads(shown.stdout)["duration_s"] == pytest.approx(FRAMES / 10)
    plan = facex("swap", photographs[0], "frames", "-o", "-", "--fps", "10", "--dry-run")
    assert json.loads(plan.stdout)["output"] == "-"

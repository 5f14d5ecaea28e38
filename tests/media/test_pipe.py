"""Standard input as a file, and a video to standard output."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from facexcli.errors import InputError, OutputError
from facexcli.media.pipe import container_suffix, spooled


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where standard input is kept."""
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def test_a_stream_is_a_file_as_long_as_the_block_lasts(spool: Path) -> None:
    content = bytes(range(256)) * 20000
    with spooled(io.BytesIO(content)) as path:
        assert path.is_relative_to(spool)
        assert path.read_bytes() == content
        assert path.parent.stat().st_mode & 0o077 == 0, "faces are nobody else's business"
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_file_is_gone_after_any_failure(spool: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), spooled(io.BytesIO(b"x")):
        raise error
    assert list(spool.iterdir()) == []


def test_an_empty_stream_is_an_input_error(spool: Path) -> None:
    with pytest.raises(InputError, match="nothing came"), spooled(io.BytesIO()):
        pass
    assert list(spool.iterdir()) == []


def test_a_full_disk_is_an_output_error_that_names_tmpdir(spool: Path) -> None:
    class Full(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="no space left") as caught, spooled(Full()):
        pass
    assert "TMPDIR" in caught.value.hint
    assert list(spool.iterdir()) == []


def test_the_stream_is_copied_in_pieces(spool: Path) -> None:
    sizes = []

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            sizes.append(size)
            return super().read(size)

    with spooled(Watched(bytes(5 << 20))):
        pass
    assert len(sizes) > 5
    assert all(size is not None and 0 < size <= 1 << 20 for size in sizes)


def test_what_goes_to_standard_output_is_matroska() -> None:
    assert (container_suffix(Path("-")), container_suffix(Path("A.MP4"))) == (".mkv", ".mp4")


_WRITE = """
import os, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from facexcli.errors import FacexError
from facexcli.media.encoders import EncodeOptions, VideoFormat
from facexcli.media.frames import frame_from_rgb
from facexcli.media.writer import VideoWriter
noise = np.random.default_rng(0)
try:
    with VideoWriter(Path("-"), VideoFormat(64, 48, "rgb24", Fraction(1, 25)), EncodeOptions("ffv1")) as writer:
        for index in range(int(sys.argv[1])):
            print("not for the pipe")
            os.write(1, b"nor this")
            rgb = noise.integers(0, 255, (48, 64, 3), np.uint8)
            writer.write(frame_from_rgb(rgb, index, index, Fraction(1, 25), 1))
except FacexError as error:
    sys.stderr.write(error.message)
    sys.exit(error.exit_code)
"""


def test_only_the_video_goes_to_standard_output(tmp_path: Path) -> None:
    from facexcli.media.probe import probe
    from facexcli.media.reader import FrameReader

    done = subprocess.run([sys.executable, "-c", _WRITE, "30"], capture_output=True, check=True)
    path = tmp_path / "out"
    path.write_bytes(done.stdout)
    assert done.stdout.startswith(b"\x1a\x45\xdf\xa3"), "EBML"
    assert b"not for the pipe" not in done.stdout
    with FrameReader(path, probe(path)) as reader:
        assert len(list(reader)) == 30
    assert done.stderr.count(b"nor this") == done.stderr.count(b"not for the pipe") == 30


def test_frames_are_sent_as_they_are_encoded() -> None:
    process = subprocess.Popen([sys.executable, "-c", _WRITE, "100000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert len(process.stdout.read(200_000)) == 200_000  # long before the last frame
        process.stdout.close()
        assert process.stderr.read().endswith(b"nobody reads standard output any more")
        assert process.wait(20) == OutputError.exit_code
    finally:
        process.kill()
        process.stderr.close()
        process.wait()

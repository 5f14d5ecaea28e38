"""A file is whole, or is not there; one that was there before stays until then."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import pytest

from facexcli.errors import OutputError
from facexcli.media.atomic import write_whole


def test_text_and_bytes_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_whole(path, "ä\n")
    assert path.read_bytes() == b"\xc3\xa4\n"
    seen: list[bytes] = []
    write_whole(path, b"\x00", lambda unnamed: seen.append(unnamed.read_bytes() + path.read_bytes()))
    write_whole(path, iter(["a", "ö"]))
    assert path.read_bytes() == b"a\xc3\xb6"
    write_whole(path, b"\x00")
    assert seen == [b"\x00\xc3\xa4\n"] and path.read_bytes() == b"\x00"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    path.write_text("before")

    class FullDisk(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda self, mode: FullDisk())
    with pytest.raises(OutputError, match=r"file\.json cannot be written: no space left"):
        write_whole(path, "after")
    monkeypatch.undo()
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]

"""Whether signed results hold: every kind of file, by facex and by an independent reader, and after single changes."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facexcli.config import resolve
from facexcli.evaluate.bench import talking_clips
from facexcli.pipeline.planning import plan_reenact, plan_swap
from facexcli.pipeline.run import run
from facexcli.provenance.library import sidecar_of
from facexcli.provenance.reading import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facexcli.pipeline.plan import Plan

CHANGES = 50
_RANGE = "0..1"
_VIDEOS = ("mp4", "mov", "mkv", "webm")
# Boxes that are no part of the hash of a video (C2PA 2.2, 18.6.2): kind, padding, and the manifest itself.
_BOXES_NOT_HASHED = (b"ftyp", b"free", b"skip", b"mfra", b"uuid")
# The library alone, in a process without facex: "Valid" is intact and by a signer for whom nobody vouches.
_INDEPENDENT = """
import c2pa, sys
name, sidecar = sys.argv[1:]
with open(name, "rb") as file:
    if sidecar:
        reader = c2pa.Reader("application/octet-stream", file, open(sidecar, "rb").read())
    else:
        reader = c2pa.Reader(file)
    print(reader.get_validation_state())
"""


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One signed result.

    Attributes:
        name: task and kind of file.
        place: "embedded" or "sidecar".
        state: what facex says.
        independent: what the C2PA library says, alone and in a process of its own.
        detected: of the changes of a single byte, how many were found.
        changes: how many were tried.
    """

    name: str
    place: str
    state: str
    independent: str
    detected: int
    changes: int


def bench_manifests(data: Path, changes: int = CHANGES) -> Iterator[ManifestRow]:
    """A swap in every kind of file and a reenactment; one row each, as it is done. Raises InputError without data."""
    clip = talking_clips(data)[0]
    stills = [data / "london" / f"{name}_neutral.jpg" for name in ("087", "009")]
    settings = resolve({"trim": _RANGE})
    with tempfile.TemporaryDirectory(prefix="facex-bench-") as name:
        folder = Path(name)
        for suffix in _VIDEOS:
            yield _row(f"swap {suffix}", plan_swap(stills[:1], clip, folder / f"{suffix}.{suffix}", settings), changes)
        for suffix in ("png", "jpg"):
            plan = plan_swap(stills[:1], stills[1], folder / f"still.{suffix}", resolve({}))
            yield _row(f"swap {suffix}", plan, changes)
        yield _row("reenact mp4", plan_reenact(stills[0], clip, folder / "moved.mp4", settings), changes)


def _row(name: str, plan: Plan, changes: int) -> ManifestRow:
    result = run(plan, overwrite=True)
    found = read_manifest(result.output)
    sidecar = "" if found.place == "embedded" else found.place
    done = subprocess.run(
        [sys.executable, "-c", _INDEPENDENT, str(result.output), sidecar], capture_output=True, text=True, check=False
    )
    return ManifestRow(
        name=name,
        place="sidecar" if sidecar else found.place,
        state=found.state,
        independent=done.stdout.strip() or "no answer",
        detected=sum(_shows(result.output, change) for change in range(changes)),
        changes=changes,
    )


def _shows(path: Path, change: int) -> bool:
    """Whether one bit that differs in a copy of the file is found out; `change` is the seed of its place."""
    content = bytearray(path.read_bytes())
    draw = random.Random(change)
    parts = media_parts(path.suffix.lower(), bytes(content))
    place = draw.choice(draw.choices(parts, [len(part) for part in parts])[0])
    content[place] ^= 1 << draw.randrange(8)
    copy = path.with_name(f"changed{path.suffix}")
    try:
        copy.write_bytes(content)
        if sidecar_of(path).exists():
            sidecar_of(copy).write_bytes(sidecar_of(path).read_bytes())
        return read_manifest(copy).state == "tampered"
    finally:
        copy.unlink(missing_ok=True)
        sidecar_of(copy).unlink(missing_ok=True)


def media_parts(suffix: str, content: bytes) -> list[range]:
    """Where in a signed file the media lie: all of it but the manifest, and in MP4 what the standard does not hash."""
    if suffix in (".mp4", ".m4v", ".mov"):
        return _between(_boxes(content), len(content))
    if suffix == ".png":
        at = content.index(b"caBX") - 4
        return _between([range(at, at + 12 + int.from_bytes(content[at : at + 4], "big"))], len(content))
    if suffix in (".jpg", ".jpeg"):
        return _between(_jpeg_segments(content), len(content))
    return [range(len(content))]


def _boxes(content: bytes) -> list[range]:
    """The boxes of the file's own level that are not hashed (ISO/IEC 14496-12, 4.2)."""
    found, at = [], 0
    while at + 8 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(content[at + 8 : at + 16], "big")
        size = size or len(content) - at
        if content[at + 4 : at + 8] in _BOXES_NOT_HASHED:
            found.append(range(at, at + size))
        at += size
    return found


def _jpeg_segments(content: bytes) -> list[range]:
    """The segments APP11, which hold the manifest (C2PA 2.2, 11.3), before the first scan."""
    found, at = [], 2
    while content[at] == 0xFF and content[at + 1] != 0xDA:
        size = 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if content[at + 1] == 0xEB:
            found.append(range(at, at + size))
        at += size
    return found


def _between(left_out: list[range], length: int) -> list[range]:
    edges = [0, *(edge for part in left_out for edge in (part.start, part.stop)), length]
    return [range(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if stop > start]

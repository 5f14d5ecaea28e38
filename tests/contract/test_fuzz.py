"""Damaged files end in a result or in one clear line: no traceback, no hang, no partial output, no silent crash.

FACEX_FUZZ_MUTATIONS (200) and FACEX_FUZZ_SEED (0) make a longer campaign of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="each case is a fork")

MUTATIONS = int(os.environ.get("FACEX_FUZZ_MUTATIONS", "200"))
SEED = int(os.environ.get("FACEX_FUZZ_SEED", "0"))
WORKERS = 2
# Name and length in seconds; None for the file as it is. One for each container, and the richest of them.
FILES = (
    ("h265_video.mp4", None), ("dolbyVision-hdr.MOV", None), ("sample_fragmented.mp4", 0.4), ("nasa_13013.mp4", 1.5),
    ("bear-vp9-odd-dimensions.webm", None), ("av1_video.mkv", 1.0), ("sample_h265.ts", None), ("sample_h263.ts", None),
    ("sample-with-key-frame-index.flv", None), ("sample.avi", 0.6),
)  # fmt: skip
MAX_BYTES = 300_000


def shortened(path: Path, length_s: float | None, folder: Path) -> bytes:
    """The file, or its first packets in a container of the same kind."""
    if length_s is None:
        return path.read_bytes()
    target = folder / path.name
    with av.open(str(path)) as source, av.open(str(target), "w") as made:
        streams = {stream.index: made.add_stream_from_template(stream, opaque=True) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None and packet.dts * packet.time_base < length_s:
                packet.stream = streams[packet.stream_index]
                made.mux(packet)
    return target.read_bytes()


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes flipped, a run zeroed, the end cut off, or two blocks exchanged; every other time near the header."""
    spoiled = np.frombuffer(data, np.uint8).copy()
    size = len(spoiled) if rng.random() < 0.5 else min(len(spoiled), 2048)
    kind = rng.integers(4)
    if kind == 0:
        places = rng.integers(0, size, int(rng.integers(1, 33)))
        spoiled[places] = rng.integers(0, 256, len(places), np.uint8)
    elif kind == 1:
        first = int(rng.integers(0, size))
        spoiled[first : first + int(rng.integers(1, 513))] = 0
    elif kind == 2:
        spoiled = spoiled[: int(rng.integers(1, len(spoiled)))]
    else:
        length = int(rng.integers(1, max(2, min(4096, size // 3))))
        one, other = sorted(int(place) for place in rng.integers(0, size - length, 2))
        other = min(max(other, one + length), len(spoiled) - length)
        spoiled[one : one + length], spoiled[other : other + length] = (
            spoiled[other : other + length].copy(), spoiled[one : one + length].copy(),
        )  # fmt: skip
    return spoiled.tobytes()


class Worker:
    """A process that takes cases, one after the other."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._out = folder / "out"
        self._out.mkdir()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fuzz_worker.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def run(self, name: str, data: bytes) -> dict[str, Any]:
        path = self._folder / name
        path.write_bytes(data)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"path": str(path), "out": str(self._out / "out.mkv")}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


@contextmanager
def workers(folder: Path) -> Iterator[list[Worker]]:
    made = [Worker(folder / f"worker{number}") for number in range(WORKERS)]
    try:
        yield made
    finally:
        for worker in made:
            worker.process.communicate()


def fault(name: str, answer: dict[str, Any]) -> str:
    """What is wrong with how a case ended; '' for nothing."""
    code, lines = answer["code"], answer["stderr"].splitlines()
    if code is None:
        return "hangs"
    if "Traceback" in answer["stderr"] or "internal error" in answer["stderr"]:
        return "internal error"
    if answer["rss_mib"] > 1500:
        return f"takes {answer['rss_mib']} MiB"
    if code == 0:
        return "" if len(answer["left"]) == 1 and answer["left"][0].startswith("out.") else "leaves things behind"
    if code != 3:
        return f"exit code {code}"
    if answer["left"]:
        return f"leaves {answer['left']} behind"
    errors = [line for line in lines if not line.startswith("facex: warning: ")]
    if len(errors) != 2 or not errors[0].startswith("facex: error: ") or not errors[1].startswith("hint: "):
        return "is not told in two lines"
    return "" if name in errors[0] else "does not name the file"


def test_damaged_files_end_in_a_result_or_in_one_clear_line(eval_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "whole"
    folder.mkdir()
    whole = {name: shortened(eval_data / "media" / name, length_s, folder) for name, length_s in FILES}
    assert all(len(data) < MAX_BYTES for data in whole.values())
    cases = list(islice(cycle(whole), MUTATIONS))

    def share(worker: Worker, number: int) -> list[str]:
        faults = []
        for case in range(number, len(cases), WORKERS):
            name = cases[case]
            data = damaged(whole[name], np.random.default_rng((SEED, case)))
            answer = worker.run(name, data)
            codes.append(answer["code"])
            if wrong := fault(name, answer):
                faults.append(f"case {case} of seed {SEED}, {name}: {wrong}: {answer}")
                keep(name, case, data)
        return faults

    codes: list[int] = []
    with workers(tmp_path) as made, ThreadPoolExecutor(WORKERS) as pool:
        faults = [fault for each in pool.map(share, made, range(WORKERS)) for fault in each]
    assert not faults, "\n".join(faults)
    assert 0.2 < codes.count(0) / len(codes) < 0.95, "some are still readable, and some are not"


def keep(name: str, case: int, data: bytes) -> None:
    """For whoever looks into it, where FACEX_FUZZ_KEEP names a folder."""
    if folder := os.environ.get("FACEX_FUZZ_KEEP"):
        Path(folder, f"{SEED}-{case}-{name}").write_bytes(data)

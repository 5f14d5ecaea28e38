"""The benches behind the figures in README: real clips through the real pipeline, judged from the files."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facexcli.errors import InputError
from facexcli.evaluate.quality import Judge, ReenactQuality, SwapQuality
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.writer import VideoFormat, VideoWriter
from facexcli.pipeline.planning import plan_reenact, plan_swap
from facexcli.pipeline.run import run
from facexcli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

SWAP_SOURCES = ("009", "033", "087", "120")
REENACT_SOURCES = ("009", "087")


@dataclass(frozen=True, slots=True)
class SwapRow:
    source: str
    target: str
    quality: SwapQuality


@dataclass(frozen=True, slots=True)
class ReenactRow:
    source: str
    driving: str
    quality: ReenactQuality


def talking_clips(data: Path) -> list[Path]:
    """The GRID clips of the evaluation data. Raises InputError where they are not."""
    return found_clips(data, "talking/grid_*.mpg")


def bench_swap(data: Path, settings: Settings, keep: Path | None = None) -> Iterator[SwapRow]:
    """Four people into the six talking clips, one row a pair, as each is done; results are kept in `keep` if given."""
    judge = Judge()
    with tempfile.TemporaryDirectory(prefix="facex-bench-") as folder:
        for target in talking_clips(data):
            for name in SWAP_SOURCES:
                source = data / "london" / f"{name}_neutral.jpg"
                output = (keep or Path(folder)) / f"swap_{name}_{target.stem}.mp4"
                run(plan_swap([source], target, output, settings), overwrite=True)
                yield SwapRow(name, target.stem, judge.swap(output, target, source))


def bench_judge(data: Path) -> Iterator[tuple[str, float, float]]:
    """For each talking clip the judge's own repeatability: (clip, eyes, mouth) after re-encoding without a swap."""
    judge = Judge()
    with tempfile.TemporaryDirectory(prefix="facex-bench-") as folder:
        for target in talking_clips(data):
            info, output = probe(target), Path(folder) / f"{target.stem}.mp4"
            with FrameReader(target, info) as reader, VideoWriter(output, VideoFormat.from_media(info)) as writer:
                for frame in reader:
                    writer.write(frame)
            yield target.stem, *judge.repeatability(output, target)


def bench_reenact(data: Path, settings: Settings, keep: Path | None = None) -> Iterator[ReenactRow]:
    """Two portraits driven by the six talking clips and the two head-pose clips."""
    judge = Judge()
    with tempfile.TemporaryDirectory(prefix="facex-bench-") as folder:
        for driving in (*talking_clips(data), *found_clips(data, "talking/head-pose-*.gif")):
            for name in REENACT_SOURCES:
                source = data / "london" / f"{name}_neutral.jpg"
                output = (keep or Path(folder)) / f"reenact_{name}_{driving.stem}.mp4"
                run(plan_reenact(source, driving, output, settings), overwrite=True)
                yield ReenactRow(name, driving.stem, judge.reenact(output, source, driving))


def found_clips(data: Path, pattern: str) -> list[Path]:
    """The files of the evaluation data with names like `pattern`, by name. Raises InputError where there are none."""
    paths = sorted(data.glob(pattern))
    if not paths:
        raise InputError(f"{data}: no {pattern} there", "give the folder of the evaluation data with --data")
    return paths

"""The bench of people and time: does everybody keep the face that was meant for them, in every frame, steadily?"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facexcli.evaluate.bench import found_clips, talking_clips
from facexcli.evaluate.couples import make_couple
from facexcli.evaluate.evaluation import evaluate
from facexcli.evaluate.media import face_height_px
from facexcli.evaluate.speed import make_clip
from facexcli.events import SilentReporter
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.embed import identity_distance
from facexcli.faces.source import find_source_face
from facexcli.media.color import rgb_roi
from facexcli.media.image import read_image
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.pipeline.analyse import analyse_media
from facexcli.pipeline.inputs import Mapped
from facexcli.pipeline.parallel import single_threaded_kernels
from facexcli.pipeline.planning import plan_mapped_swap, plan_swap
from facexcli.pipeline.run import run
from facexcli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facexcli.evaluate.couples import Couple
    from facexcli.evaluate.evaluation import Evaluation
    from facexcli.pipeline.result import RunResult
    from facexcli.types import Array

PAIRS = (("grid_brbk7n.mpg", "grid_sbia1a.mpg"), ("grid_lbax4n.mpg", "grid_swiz3n.mpg"))
"""A woman and a man; two men. The second passes in front."""
PAIR_SOURCES = ("087_neutral.jpg", "009_neutral.jpg")
CLIP_SOURCE = "087_neutral.jpg"
LEAST_VISIBLE = 0.75
"""A face of which less is seen, behind the other person, is not judged: the descriptor would be of both."""
HEIGHT_PX = 1080
_BESIDE, _CROSSING = "beside", "crossing"


@dataclass(frozen=True, slots=True)
class CoupleRow:
    """One person of a made clip, given one source by a reference still.

    frames: those in which the face is to be seen. kept: the share of them whose face is nearer to that source than to
    the other source and to both people's own faces.
    """

    clip: str
    person: str
    source: str
    frames: int
    kept: float


@dataclass(frozen=True, slots=True)
class ClipRow:
    """A clip that was swapped, by `facexcli.evaluate`: see its metrics of these names. NaN where it has no figure.

    weaker: frames in which the run painted a face weaker, for want of a view of its pose. full_steadiness: standard
    deviation of the distance to the source in the other frames.
    """

    clip: str
    frames: int
    weaker: int
    swap_rate: float
    flicker_ratio: float
    distance_steadiness: float
    full_steadiness: float


@dataclass(frozen=True, slots=True)
class AnalysisRow:
    """How fast faces are found and followed in a made clip with one face: medians over the repeats."""

    height_px: int
    frames: int
    frames_per_s: float
    cpu_ms_per_frame: float


def bench_couples(data: Path, keep: Path | None = None) -> Iterator[CoupleRow]:
    """Two people at once, side by side and crossing; results are kept in `keep` if given."""
    dlib = DlibAnalyzer()
    with closing(dlib), tempfile.TemporaryDirectory(prefix="facex-bench-") as name:
        folder = keep or Path(name)
        sources = [data / "london" / source for source in PAIR_SOURCES]
        for clips in PAIRS:
            paths = (data / "talking" / clips[0], data / "talking" / clips[1])
            for crossing in (False, True):
                who = "-".join(path.stem.removeprefix("grid_") for path in paths)
                title = f"{_CROSSING if crossing else _BESIDE}-{who}"
                couple = make_couple(paths, folder, title, crossing, dlib)
                output = folder / f"{title}-swapped.mkv"
                rows = [Mapped((source,), one.still) for source, one in zip(sources, couple.people, strict=True)]
                run(plan_mapped_swap(rows, couple.path, output, Settings()), overwrite=True)
                kept = kept_shares(couple, output, sources, dlib)
                for path, source, one, share in zip(paths, PAIR_SOURCES, couple.people, kept, strict=True):
                    count = int((one.visible >= LEAST_VISIBLE).sum())
                    yield CoupleRow(title, path.stem, source, count, share)


def kept_shares(couple: Couple, result: Path, sources: list[Path], dlib: DlibAnalyzer) -> list[float]:
    """For each person the share of the frames in which the face, where it is known to be, is that of the own source."""
    known = [_descriptor(path, dlib) for path in (*sources, *(one.still for one in couple.people))]
    hits: list[list[bool]] = [[], []]
    info = probe(result)
    with FrameReader(result, info) as reader:
        for place, frame in enumerate(reader):
            rgb = rgb_roi(frame, (0, 0, info.display_width_px, info.display_height_px))
            for own, one in enumerate(couple.people):
                if one.visible[place] >= LEAST_VISIBLE:
                    seen = dlib.descriptor(rgb, one.landmarks_px[place])
                    hits[own].append(int(np.argmin([identity_distance(seen, other) for other in known])) == own)
    return [float(np.mean(own)) for own in hits]


def _descriptor(still: Path, dlib: DlibAnalyzer) -> Array:
    rgb = read_image(still)
    return dlib.descriptor(rgb, find_source_face(rgb, dlib).landmarks_px)


def bench_clips(data: Path, keep: Path | None = None) -> Iterator[ClipRow]:
    """One person into every talking, signing and turning clip, each as it is done."""
    source = data / "london" / CLIP_SOURCE
    with tempfile.TemporaryDirectory(prefix="facex-bench-") as name:
        for pattern in ("talking/grid_*.mpg", "talking/asl_*.mkv", "talking/head-pose-*.gif"):
            for target in found_clips(data, pattern):
                output = (keep or Path(name)) / f"people_{target.stem}.mp4"
                result = run(plan_swap([source], target, output, Settings()), overwrite=True)
                yield _clip_row(target.stem, result, evaluate(output, [source], target))


def _clip_row(clip: str, result: RunResult, found: Evaluation) -> ClipRow:
    weaker = {int(index) for item in result.presences.values() for index in item.frame_indices[item.turned]}
    distances = [
        float(distance)
        for person in found.people
        for index, distance in zip(person.frame_indices, person.values["identity_distance"], strict=True)
        if np.isfinite(distance) and int(index) not in weaker
    ]
    figures = {name: metric.value for name, metric in found.metrics.items()}
    return ClipRow(
        clip=clip,
        frames=found.frame_count,
        weaker=len(weaker),
        swap_rate=figures.get("swap_rate", math.nan),
        flicker_ratio=figures.get("flicker_ratio", math.nan),
        distance_steadiness=figures.get("distance_steadiness", math.nan),
        full_steadiness=float(np.std(distances)) if distances else math.nan,
    )


def bench_analysis(data: Path, seconds: float, repeats: int) -> AnalysisRow:
    """Analyse a clip of 1080 lines with one face of a third of its height, in this process."""
    origin = talking_clips(data)[0]
    with tempfile.TemporaryDirectory(prefix="facex-bench-") as name, single_threaded_kernels():
        clip = Path(name) / "clip.mp4"
        make_clip(origin, clip, HEIGHT_PX, seconds, (face_height_px(origin), HEIGHT_PX / 3))
        info, dlib = probe(clip), DlibAnalyzer()
        walls, cpus, count = [], [], 0
        with closing(dlib):
            for _ in range(repeats + 1):
                start = time.perf_counter(), time.process_time()
                count = analyse_media(info, dlib, Settings().look.smooth, SilentReporter(), "analyse").frame_count
                walls.append(time.perf_counter() - start[0])
                cpus.append(time.process_time() - start[1])
    # The first time is for loading the models.
    wall_s, cpu_s = statistics.median(walls[1:]), statistics.median(cpus[1:])
    return AnalysisRow(info.display_height_px, count, count / wall_s, 1000 * cpu_s / count)


@dataclass(frozen=True, slots=True)
class Figure:
    """One of the figures that are promised: the worst that was measured.

    is_least: `limit` is the least that is right, and not the most.
    """

    name: str
    value: float
    limit: float
    is_least: bool

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.is_least else self.value <= self.limit


def figures_of(couples: Sequence[CoupleRow], clips: Sequence[ClipRow], analysis: AnalysisRow) -> list[Figure]:
    """The worst of everything, beside its target. NaN meets no target."""
    beside = [row.kept for row in couples if not row.clip.startswith(_CROSSING)]
    crossing = [row.kept for row in couples if row.clip.startswith(_CROSSING)]
    return [
        Figure("identity kept, side by side", min(beside), 0.99, True),
        Figure("identity kept, crossing", min(crossing), 0.99, True),
        Figure("frames swapped", float(np.min([row.swap_rate for row in clips])), 0.99, True),
        Figure("flicker, times the input's", float(np.max([row.flicker_ratio for row in clips])), 1.1, False),
        Figure("identity steadiness", float(np.max([row.full_steadiness for row in clips])), 0.04, False),
        Figure(f"analysis of {HEIGHT_PX}p, frames/s", analysis.frames_per_s, 60, True),
    ]


def as_json(
    couples: Sequence[CoupleRow], clips: Sequence[ClipRow], analysis: AnalysisRow, figures: Sequence[Figure]
) -> dict[str, Any]:
    """Everything that was measured, in plain values. JSON has no NaN: null."""
    return {
        "couples": [_plain(row) for row in couples],
        "clips": [_plain(row) for row in clips],
        "analysis": _plain(analysis),
        "figures": [_plain(figure) | {"met": figure.met} for figure in figures],
    }


def _plain(row: CoupleRow | ClipRow | AnalysisRow | Figure) -> dict[str, Any]:
    return {
        name: (None if math.isnan(value) else round(value, 4)) if isinstance(value, float) else value
        for name, value in asdict(row).items()
    }

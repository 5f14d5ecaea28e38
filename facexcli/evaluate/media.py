"""What each stage of a render costs, and a whole render beside a plain transcode of the same file.

The faces are known beforehand (`facex faces --save`), as this is about what happens to pictures: decoding, cutting
crops, the engine, laying its answer over the canvas, pasting, encoding.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from facexcli.engines.registry import open_engine
from facexcli.evaluate.speed import RATE, ProcessCost, median_cost, process_cost, transcode_arguments
from facexcli.events import SilentReporter
from facexcli.fusion.compose import Look
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.pipeline.analyse import motion_of
from facexcli.pipeline.analysis_io import save_analysis
from facexcli.pipeline.occlusion import occlusion_model
from facexcli.pipeline.painter import CanvasFace, CropShape, Job, Painter
from facexcli.pipeline.parallel import StageClock, single_threaded_kernels
from facexcli.pipeline.people import crop_px_for, find_people
from facexcli.pipeline.perception import choose_analyzer
from facexcli.pipeline.stills import load_still
from facexcli.recipes import recipe_named
from facexcli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from facexcli.engines.base import Engine
    from facexcli.types import Analysis, Track

RENDERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "media alone": ("--engine", "unchanged", "--occlusion", "off"),
        "unchanged": ("--engine", "unchanged"),
        "mesh": ("--engine", "mesh"),
    }
)
"""What is timed beside a transcode. Where occlusion is looked for, a face is learnt first, and judged in each frame."""
_STAGED = ("unchanged", "mesh")
_ENCODE = EncodeOptions(codec="h264", crf=18, preset="veryfast")
_FRAMES_BYTES = 600_000_000
"""What the frames of a stage-by-stage pass, decoded and painted, may take."""


@dataclass(frozen=True, slots=True)
class MediaRow:
    """A clip, transcoded by ffmpeg (None where it is not installed) and rendered in each way of `RENDERS`: medians.

    stages: CPU milliseconds a frame by engine and stage, each stage by itself. ratio: wall time over ffmpeg's, the
    median over the rounds of what was measured in the same round.
    """

    frames: int
    height_px: int
    transcode: ProcessCost | None
    renders: Mapping[str, ProcessCost]
    ratios: Mapping[str, float]
    stages: Mapping[str, Mapping[str, float]]


def face_height_px(clip: Path) -> float:
    """Median height of the largest face of a clip."""
    return statistics.median(face.box_px[3] - face.box_px[1] for face in _largest(_people(clip)).faces)


def bench_media(source: Path, clip: Path, folder: Path, repeats: int) -> MediaRow:
    """Measure one clip. `source` is a still with a face. Raises DeviceError when a command fails."""
    info = probe(clip)
    analysis = _people(clip)
    faces = folder / "clip.faces.json"
    save_analysis(analysis, faces)
    ffmpeg = shutil.which("ffmpeg")
    rounds: list[dict[str, ProcessCost]] = []
    for _ in range(repeats):
        costs = {name: process_cost(_render_command(source, clip, folder, faces, name)) for name in RENDERS}
        if ffmpeg:
            costs["ffmpeg"] = process_cost([ffmpeg, *transcode_arguments(clip, folder / "transcode.mp4")])
        rounds.append(costs)
    medians = {name: median_cost([costs[name] for costs in rounds]) for name in rounds[0]}
    ratios = {
        name: statistics.median(costs[name].wall_s / costs["ffmpeg"].wall_s for costs in rounds)
        for name in RENDERS
        if ffmpeg
    }
    stages = {name: stage_costs(source, clip, analysis, name, folder) for name in _STAGED}
    return MediaRow(
        info.frame_count_from_header or 0,
        info.display_height_px,
        medians.pop("ffmpeg", None),
        medians,
        ratios,
        stages,
    )


def stage_costs(source: Path, clip: Path, analysis: Analysis, engine_name: str, folder: Path) -> Mapping[str, float]:
    """CPU milliseconds a frame of each stage, over the first frames of a clip, one stage after the other."""
    info = probe(clip)
    count = max(8, min(60, _FRAMES_BYTES // (3 * info.width_px * info.height_px)))
    clock, engine = _CpuClock(), open_engine(engine_name, "swap").engine
    with single_threaded_kernels():
        painter, faces = _painter(engine, source, analysis, clock)
        start = time.process_time()
        with FrameReader(clip, info, stop=count) as reader:
            frames = list(reader)
        decoded = time.process_time()
        painted = [painter.paint([Job(frame, faces.get(frame.index, ()))])[0].frame for frame in frames]
        ready = time.process_time()
        with VideoWriter(folder / "stages.mp4", VideoFormat.from_media(info), _ENCODE) as writer:
            for frame in painted:
                writer.write(frame)
        encoded = time.process_time()
    engine.close()
    seconds = {"decode": decoded - start, **clock.seconds(), "encode": encoded - ready}
    return {stage: 1000 * value / len(frames) for stage, value in seconds.items()}


class _CpuClock(StageClock):
    """Counts the time that a thread works, not the time that goes by while others do."""

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        start = time.thread_time()
        try:
            yield
        finally:
            self.add(name, time.thread_time() - start)


def _people(clip: Path) -> Analysis:
    analyzer, _ = choose_analyzer("auto")
    try:
        return find_people(probe(clip), Settings(), analyzer, SilentReporter())
    finally:
        analyzer.close()


def _largest(analysis: Analysis) -> Track:
    return max(analysis.tracks, key=lambda each: each.faces[0].box_px[3] - each.faces[0].box_px[1])


def _painter(
    engine: Engine, source: Path, analysis: Analysis, clock: StageClock
) -> tuple[Painter, Mapping[int, list[CanvasFace]]]:
    """A painter with the default settings, and the largest person's faces by frame."""
    settings, info = Settings(), analysis.media
    analyzer, _ = choose_analyzer("auto")
    track = _largest(analysis)
    size_px = crop_px_for([track], "ffhq", info, engine.spec.crop_sizes_px, settings.engine.detail)
    identity = engine.prepare([load_still(source, analyzer).crop("ffhq", size_px)], motion_of(track, info))
    analyzer.close()
    shape = CropShape.of(info, "ffhq", size_px)
    placed = shape.place([track], info.frame_rate or RATE, settings.look.smooth)
    faces = {index: [CanvasFace(face, identity) for face in here] for index, here in placed.items()}
    occlusion = occlusion_model(info, placed, shape, settings.compute.device, SilentReporter())
    return Painter(engine, recipe_named("swap"), Look(), shape, clock, occlusion=occlusion), faces


def _render_command(source: Path, clip: Path, folder: Path, faces: Path, name: str) -> list[str]:
    files = [str(source), str(clip), "-o", str(folder / "render.mp4"), "--analysis", str(faces)]
    encode = ["--codec", "h264", "--crf", str(_ENCODE.crf), "--encoder-preset", _ENCODE.preset]
    quiet = ["--overwrite", "--progress", "none"]
    return [sys.executable, "-m", "facexcli", "swap", *files, *RENDERS[name], *encode, *quiet]

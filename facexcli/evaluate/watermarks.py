"""Whether the watermark of a result is found after what happens to videos, and nowhere else."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.config import resolve
from facexcli.evaluate.bench import found_clips, talking_clips
from facexcli.faces.choose import choose_analyzer
from facexcli.fusion.mask import face_outline, fill
from facexcli.fusion.watermark_search import Evidence
from facexcli.fusion.watermark_waves import PUBLIC_KEY
from facexcli.media.color import rgb_roi
from facexcli.media.encoders import EncodeOptions, VideoFormat
from facexcli.media.frames import frame_from_rgb
from facexcli.media.image import read_image
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.scan import read_frames_rgb
from facexcli.media.writer import VideoWriter
from facexcli.pipeline.planning import plan_reenact, plan_swap
from facexcli.pipeline.run import run
from facexcli.pipeline.watermark import find_watermark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facexcli.faces.base import Analyzer
    from facexcli.pipeline.plan import Plan
    from facexcli.types import Array, Box

_PORTRAITS = ("087", "009", "011", "016", "018")
_OTHER_KEY = b"the key of somebody else"
_PSNR_RANGE = "0..0.4"
_UNMARKED_FRAMES = 8
_LARGEST_PX = 720
_RENDER_STAGES = ("crop", "engine", "fusion", "paste")


@dataclass(frozen=True, slots=True)
class Attack:
    """What happens to a video: encoded at `crf`, after its size, its part and its frame rate were changed."""

    name: str
    crf: int = 18
    scale: float = 1.0
    kept: float = 1.0
    rate: float = 1.0


ATTACKS = (
    Attack("crf 28", crf=28),
    Attack("half size", scale=0.5),
    Attack("cropped", kept=0.8**0.5),
    Attack("slower", rate=0.8),
    Attack("all four", crf=28, scale=0.5, kept=0.8**0.5, rate=0.8),
)
"""A crop to 80 per cent of the area; four of five frames a second, as from 30 to 24 or from 25 to 20."""


@dataclass(frozen=True, slots=True)
class MarkRow:
    """One result.

    Attributes:
        name: task, portrait and clip.
        face_px: the height of its face in the frame.
        psnr_db: of the marked against the unmarked face.
        cost: time for the mark, as a share of that for the rest of the render: crop, engine, fusion and paste.
        log10_chance: as made, and after each attack, by its name; see `Evidence`.
        is_found, is_read: where the mark was found, and where the right run was named.
        wrong: whether another run was named somewhere, or another key found something.
    """

    name: str
    face_px: float
    psnr_db: float
    cost: float
    log10_chance: dict[str, float]
    is_found: dict[str, bool]
    is_read: dict[str, bool]
    wrong: bool


def bench_marks(data: Path, count: int) -> Iterator[MarkRow]:
    """So many results, swaps and reenactments in turn; one row each, as it is done. Raises InputError without data."""
    clips = talking_clips(data) + found_clips(data, "talking/asl_*.mkv")
    pairs = [(portrait, clip) for portrait, clip in product(_PORTRAITS, clips)]
    analyzer, _ = choose_analyzer("auto")
    try:
        for number, (portrait, clip) in islice(enumerate(pairs), count):
            with tempfile.TemporaryDirectory(prefix="facex-bench-") as folder:
                still = data / "london" / f"{portrait}_neutral.jpg"
                yield _row("reenact" if number % 3 == 2 else "swap", still, clip, Path(folder), analyzer)
    finally:
        analyzer.close()


def _row(task: str, still: Path, clip: Path, folder: Path, analyzer: Analyzer) -> MarkRow:
    plan = _plan(task, still, clip, folder / "made.mp4")
    spent_s = run(plan, overwrite=True).stage_s
    found = {"as made": find_watermark(plan.output, analyzer=analyzer)}
    for attack in ATTACKS:
        changed = folder / "changed.mp4"
        attacked(plan.output, changed, attack)
        found[attack.name] = find_watermark(changed, analyzer=analyzer)
    other = find_watermark(plan.output, [_OTHER_KEY], analyzer)
    psnr_db, face_px = _visibility(task, still, clip, folder, analyzer)
    return MarkRow(
        name=f"{task} {still.stem.partition('_')[0]} {clip.stem}",
        face_px=face_px,
        psnr_db=psnr_db,
        cost=spent_s["watermark"] / sum(spent_s[stage] for stage in _RENDER_STAGES),
        log10_chance={name: each.log10_chance for name, each in found.items()},
        is_found={name: each.is_found for name, each in found.items()},
        is_read={name: each.is_read and each.run_id == plan.run_id for name, each in found.items()},
        wrong=other.is_found or any(each.is_read and each.run_id != plan.run_id for each in found.values()),
    )


def _plan(task: str, still: Path, clip: Path, output: Path, **flags: object) -> Plan:
    settings = resolve(flags)
    return plan_swap([still], clip, output, settings) if task == "swap" else plan_reenact(still, clip, output, settings)


def attacked(origin: Path, output: Path, attack: Attack) -> None:
    """Write a changed copy of a video, H.264."""
    info = probe(origin)
    box = (0, 0, info.display_width_px, info.display_height_px)
    with FrameReader(origin, info) as reader:
        pictures = [_changed(rgb_roi(frame, box), attack) for frame in reader]
    count = int(len(pictures) * attack.rate)
    rate = (info.frame_rate or Fraction(25)) * Fraction(attack.rate).limit_denominator(100)
    _write([pictures[round(index / attack.rate)] for index in range(count)], output, attack.crf, rate)


def _write(pictures: list[Array], output: Path, crf: int, rate: Fraction = Fraction(25)) -> None:
    height, width = pictures[0].shape[:2]
    video = VideoFormat(width, height, "yuv420p", 1 / rate, rate)
    with VideoWriter(output, video, EncodeOptions(codec="h264", crf=crf, preset="medium")) as writer:
        for index, rgb in enumerate(pictures):
            writer.write(frame_from_rgb(rgb, index, index, 1 / rate, 1))


def _changed(rgb: Array, attack: Attack) -> Array:
    height, width = rgb.shape[:2]
    if attack.scale != 1:
        size = (round(width * attack.scale), round(height * attack.scale))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        width, height = size
    kept = (int(height * attack.kept) // 2 * 2, int(width * attack.kept) // 2 * 2)
    top, left = (height - kept[0]) // 2, (width - kept[1]) // 2
    return np.ascontiguousarray(rgb[top : top + kept[0], left : left + kept[1]])


def _visibility(task: str, still: Path, clip: Path, folder: Path, analyzer: Analyzer) -> tuple[float, float]:
    """PSNR of the marked against the unmarked face, and the face's height; before the result is encoded."""
    seen = []
    for watermark in ("on", "off"):
        output = folder / f"{watermark}.mkv"
        flags = {"watermark": watermark, "codec": "ffv1", "trim": _PSNR_RANGE}
        run(_plan(task, still, clip, output, **flags), overwrite=True)
        with FrameReader(output, info := probe(output)) as reader:
            seen.append([rgb_roi(frame, (0, 0, info.display_width_px, info.display_height_px)) for frame in reader])
    errors, heights = [], []
    for one, other in zip(*seen, strict=True):
        if boxes := [found.box_px for found in analyzer.detect(one)]:
            points = analyzer.landmarks(one, max(boxes, key=_height)).landmarks_px
            inside = fill(face_outline(points), (one.shape[1], one.shape[0])) > 0
            errors.append(float(np.mean((one[inside].astype(np.float64) - other[inside]) ** 2)))
            heights.append(float(np.ptp(points[:, 1])))
    error = max(float(np.mean(errors)), 1e-9)
    return float(10 * np.log10(255**2 / error)), float(np.mean(heights))


def _height(box: Box) -> float:
    return box[3] - box[1]


def bench_unmarked(data: Path, count: int) -> Iterator[Evidence]:
    """What is found in so many videos without a mark: parts of clips and stills, cropped, scaled and encoded by lot."""
    clips = talking_clips(data) + found_clips(data, "talking/asl_*.mkv")
    stills = sorted((data / "london").glob("*.jpg")) + sorted((data / "portraits").glob("*.jpg"))
    analyzer, _ = choose_analyzer("auto")
    draw = random.Random(0)
    try:
        with tempfile.TemporaryDirectory(prefix="facex-bench-") as folder:
            for number in range(count):
                output = Path(folder) / f"{number}.mp4"
                _write_unmarked(stills[number // 2 % len(stills)] if number % 2 else draw.choice(clips), output, draw)
                yield find_watermark(output, [PUBLIC_KEY], analyzer)
                output.unlink()
    finally:
        analyzer.close()


def _write_unmarked(origin: Path, output: Path, draw: random.Random) -> None:
    info = probe(origin)
    if info.kind == "image":
        pictures = [read_image(origin)]
    else:
        count = int((info.duration_s or 0) * (info.frame_rate or 25)) - 1
        first = draw.randrange(max(1, count - _UNMARKED_FRAMES))
        pictures = read_frames_rgb(origin, range(first, min(count, first + _UNMARKED_FRAMES)))
    scale = draw.uniform(0.5, 1.0) * min(1.0, _LARGEST_PX / max(*pictures[0].shape[:2]))
    attack = Attack("", draw.randrange(16, 33), scale, draw.uniform(0.85, 1.0))
    _write([_changed(rgb, attack) for rgb in pictures], output, attack.crf)

"""A demonstration that needs nothing: two photographs out of installed packages, a clip made of one, and two edits.

The clip is a portrait brought to life by a script: landmarks that nod, turn, blink and speak, put on the photograph by
the embedded engine, seen by a camera that drifts. A hum follows the mouth. So the clip has what an edit has to keep:
motion, and sound that must stay in step.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from facexcli.affine import resample
from facexcli.config import resolve
from facexcli.engines.registry import open_engine
from facexcli.errors import InputError, OutputError
from facexcli.events import StageFinished, StageStarted
from facexcli.faces.choose import choose_analyzer
from facexcli.fusion.compose import Look
from facexcli.geometry.model3d import Pose, fit_pose, personal_shape, project, rotation_matrix
from facexcli.media.atomic import AtomicFile
from facexcli.media.color import rgb_roi
from facexcli.media.frames import frame_from_rgb
from facexcli.media.image import read_image, write_image
from facexcli.media.scan import read_frames_rgb
from facexcli.pipeline.painter import CanvasFace, CropShape, Job, Painter
from facexcli.pipeline.parallel import StageClock, ordered_map
from facexcli.pipeline.placing import PlacedFace
from facexcli.pipeline.planning import plan_reenact, plan_swap
from facexcli.pipeline.run import run
from facexcli.pipeline.stills import still_face
from facexcli.recipes import MOTION, recipe_named
from facexcli.tiles import Tile, sheet
from facexcli.types import Motion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facexcli.events import Reporter
    from facexcli.pipeline.result import RunResult
    from facexcli.settings import Settings
    from facexcli.types import Array, Crop

FRAME_RATE = 25
FRAME_COUNT = 100
SAMPLE_RATE_HZ = 48000
SIZE_PX = (544, 640)
"""Width and height of the clip."""
CROP_PX = 512
PORTRAIT_PX = 576
_PORTRAIT_BOX = (84, 0, 372, 288)
SHOWN_FRAMES = (5, 20, 36, 72)
"""Speaking, turned, at rest, turned the other way and speaking."""

_UPPER_LIDS, _LOWER_LIDS = [37, 38, 43, 44], [41, 40, 47, 46]
_JAW = slice(4, 13)
_LOWER_LIP = [55, 56, 57, 58, 59]
_INNER_LOWER_LIP = [65, 66, 67]
_BLINKS_S = (0.7, 2.1, 3.3)


@dataclass(frozen=True, slots=True)
class Photographs:
    """Two portraits in the public domain (NASA; US Navy), from scikit-image and from matplotlib."""

    astronaut: Path
    admiral: Path


def find_photographs() -> Photographs:
    """Raises InputError when a package does not have its picture; nothing is downloaded."""
    return Photographs(
        _packaged("skimage", "data/astronaut.png"), _packaged("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")
    )


def _packaged(package: str, relative: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"the package {package} is not installed", f"run `pip install {package}`")
    path = Path(next(iter(spec.submodule_search_locations))) / relative
    if not path.is_file():
        raise InputError(f"{path} is missing", "the demonstration needs the picture that comes with the package")
    return path


@dataclass(frozen=True, slots=True)
class Demonstration:
    """The files that were written, and what the two runs say of themselves."""

    source: Path
    target: Path
    swap: RunResult
    reenact: RunResult
    picture: Path


def demonstrate(folder: Path, reporter: Reporter, settings: Settings | None = None) -> Demonstration:
    """Make the clip and the two edits in `folder`, which is made too; earlier files of a demonstration are replaced.

    Raises OutputError where the folder cannot be made, and what `facexcli.swap` raises.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: the folder cannot be made: {error.strerror}") from error
    photographs = find_photographs()
    settings = settings or resolve()
    source, picture = folder / "demo-source.png", folder / "demo.png"
    target, swapped, reenacted = (folder / f"demo-{name}.mp4" for name in ("target", "swap", "reenact"))
    reporter.emit(StageStarted("prepare", FRAME_COUNT))
    start_s = time.monotonic()
    write_image(source, portrait(photographs.astronaut))
    write_clip(target, animate(photographs.admiral), soundtrack(FRAME_COUNT / FRAME_RATE))
    reporter.emit(StageFinished("prepare", FRAME_COUNT, time.monotonic() - start_s))
    swap = run(plan_swap([source], target, swapped, settings), reporter, overwrite=True)
    reenact = run(plan_reenact(source, target, reenacted, settings), reporter, overwrite=True)
    write_image(picture, before_and_after(photographs.admiral, source, target, swapped, reenacted))
    return Demonstration(source, target, swap, reenact, picture)


def before_and_after(photograph: Path, source: Path, target: Path, swapped: Path, reenacted: Path) -> Array:
    """Four moments of the clip, of the swap and of the reenactment below each other: uint8 (H, W, 3) RGB."""
    rows = []
    for name, origin, path in (
        ("target", Tile(_head(read_image(photograph)), "photograph"), target),
        ("swap", Tile(read_image(source), "source"), swapped),
        ("reenact", Tile(read_image(source), "source"), reenacted),
    ):
        pictures = [_head(rgb) for rgb in read_frames_rgb(path, SHOWN_FRAMES)]
        captions = [f"{name}, {index / FRAME_RATE:.1f} s" for index in SHOWN_FRAMES]
        rows.append([origin, *map(Tile, pictures, captions)])
    return sheet(rows, (256, 256))


def _head(rgb: Array) -> Array:
    """The square part of a portrait-format picture that has the head in it; a square picture as it is."""
    height, width = rgb.shape[:2]
    if height <= width:
        return rgb
    side = round(0.75 * width)
    left, top = (width - side) // 2, round(0.03 * height)
    return rgb[top : top + side, left : left + side]


def portrait(photograph: Path) -> Array:
    """Head and shoulders out of a larger photograph, enlarged: uint8 (`PORTRAIT_PX`, `PORTRAIT_PX`, 3) RGB."""
    x0, y0, x1, y1 = _PORTRAIT_BOX
    scale = PORTRAIT_PX / (x1 - x0)
    return resample(
        read_image(photograph)[y0:y1, x0:x1],
        np.array([[scale, 0, scale / 2 - 0.5], [0, scale, scale / 2 - 0.5], [0, 0, 1]]),
        (PORTRAIT_PX, PORTRAIT_PX),
    )


def animate(photograph: Path) -> Iterator[Array]:
    """The portrait, moved by the script and seen by the camera: uint8 (H, W, 3) RGB frames."""
    rgb = read_image(photograph)
    size_px = (rgb.shape[1], rgb.shape[0])
    analyzer, _ = choose_analyzer("dlib")
    face = still_face(photograph, analyzer)
    analyzer.close()
    engine = open_engine("mesh", "reenact").engine
    shape = CropShape(engine.spec.templates["reenact"], CROP_PX, size_px)
    crop = shape.crop_still(rgb, face)
    placed = PlacedFace(0, face, crop.crop_from_frame)
    time_s = np.arange(FRAME_COUNT) / FRAME_RATE
    identity = engine.prepare([crop], Motion(np.arange(FRAME_COUNT), perform(face.landmarks_px, time_s)))
    painter = Painter(engine, recipe_named("reenact"), Look(), shape, StageClock())
    still = frame_from_rgb(rgb, 0, 0, Fraction(1, FRAME_RATE), 1)

    def picture(index: int) -> Array:
        moved: dict[str, Crop] = dict.fromkeys(MOTION, replace(crop, frame_index=index))
        (painted,) = painter.paint([Job(still, [CanvasFace(placed, identity, queries=moved)])])
        seen = camera(float(time_s[index]), size_px)
        return resample(rgb_roi(painted.frame, (0, 0, *size_px)), seen, SIZE_PX)

    try:
        yield from ordered_map(picture, range(FRAME_COUNT), workers=2, window=4)
    finally:
        engine.close()


def speech(time_s: Array) -> Array:
    """How far the mouth is open at each time, 0..1: syllables in words, and pauses between the words."""
    syllables = (0.5 - 0.5 * np.cos(2 * np.pi * 2.6 * time_s)) * (0.7 + 0.3 * np.sin(2 * np.pi * 0.73 * time_s + 1))
    words = np.clip(3 * np.sin(2 * np.pi * 0.55 * time_s - 0.3) + 2, 0, 1)
    return np.asarray(syllables * words)


def lids(time_s: Array) -> Array:
    """How far the eyes are open at each time, 0..1. A blink takes a third of a second."""
    opening = np.ones_like(time_s)
    for blink_s in _BLINKS_S:
        opening = np.minimum(opening, 1 - np.exp(-(((time_s - blink_s) / 0.085) ** 4)))
    return opening


def perform(landmarks_px: Array, time_s: Array) -> Array:
    """The script on one face: landmarks_px (68, 2) at rest gives float32 (T, 68, 2), its landmarks at `time_s` (T,).

    The head turns by 9 degrees, nods by 5 and tilts by 3.
    """
    rest = fit_pose(landmarks_px)
    shape = personal_shape(landmarks_px, rest)
    frames = []
    for at_s, mouth, opening in zip(time_s, speech(time_s), lids(time_s), strict=True):
        turn = rotation_matrix(
            9 * np.sin(2 * np.pi * 0.31 * at_s), 5 * np.sin(2 * np.pi * 0.5 * at_s), 3 * np.sin(2 * np.pi * 0.23 * at_s)
        )
        pose = Pose(turn @ rest.rotation, rest.scale, rest.translation_px)
        frames.append(project(_with_expression(shape, mouth, opening), pose))
    return np.asarray(frames, np.float32)


def _with_expression(shape: Array, mouth: float, opening: float) -> Array:
    points = shape.copy()
    points[_UPPER_LIDS] += (1 - opening) * 0.92 * (shape[_LOWER_LIDS] - shape[_UPPER_LIDS])
    drop = 0.11 * mouth
    points[_INNER_LOWER_LIP, 1] += drop
    points[_LOWER_LIP, 1] += drop * np.array([0.6, 0.95, 1.0, 0.95, 0.6])
    points[_JAW, 1] += 0.7 * drop * np.sin(np.linspace(0.1, np.pi - 0.1, 9))
    return points


def soundtrack(duration_s: float) -> Array:
    """float32 (N,) in -1..1 at `SAMPLE_RATE_HZ`: a soft chord, and a hum that is as loud as the mouth is open."""
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    chord = sum(np.sin(2 * np.pi * hertz * time_s) for hertz in (220.0, 277.18, 329.63)) / 3
    vibrato = 0.6 * np.sin(2 * np.pi * 5.2 * time_s)
    voice = sum(np.sin(2 * np.pi * 165 * n * time_s + n * vibrato) / n for n in range(1, 7)) / 2
    fade = np.clip(np.minimum(time_s, duration_s - time_s) / 0.15, 0, 1)
    return np.asarray(fade * (0.12 * chord + 0.3 * speech(time_s) * voice), np.float32)


def camera(time_s: float, photo_size_px: tuple[int, int]) -> Array:
    """clip_from_photo, float64 (3, 3): a slow push towards the portrait, with a little sway."""
    zoom = 1.13 + 0.025 * time_s
    angle = np.radians(1.2 * np.sin(2 * np.pi * 0.2 * time_s))
    linear = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    sway_px = np.array([5 * np.sin(2 * np.pi * 0.27 * time_s), 3 * np.cos(2 * np.pi * 0.19 * time_s)])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = np.array(SIZE_PX) / 2 + sway_px - linear @ (np.array(photo_size_px) * (0.5, 0.48))
    return matrix


def write_clip(path: Path, frames: Iterator[Array], sound: Array) -> None:
    """H.264 and AAC. frames: uint8 (H, W, 3) RGB. Raises OutputError where the place cannot be written."""
    with AtomicFile(path) as target:
        with av.open(str(target.temporary), "w") as container:
            video: Any = container.add_stream("libx264", rate=FRAME_RATE, options={"crf": "16", "preset": "veryfast"})
            video.width, video.height = SIZE_PX
            video.pix_fmt = "yuv420p"
            audio: Any = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
            for rgb in frames:
                container.mux(video.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            container.mux(video.encode(None))
            for packet in _encoded_sound(audio, sound):
                container.mux(packet)
        target.commit()


def _encoded_sound(stream: Any, sound: Array) -> Iterator[Any]:
    size = 1024
    for start in range(0, len(sound), size):
        frame = av.AudioFrame.from_ndarray(sound[None, start : start + size], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, start
        yield from stream.encode(frame)
    yield from stream.encode(None)

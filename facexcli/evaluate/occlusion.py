"""How well what is in front of a face stays in front: made occluders over real clips, through the real pipeline."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.affine import resample
from facexcli.evaluate.bench import talking_clips
from facexcli.evaluate.occluders import OCCLUDERS, FacePlace, OccluderName, occlude
from facexcli.evaluate.speed import RATE
from facexcli.events import SilentReporter
from facexcli.fusion.compose import Look, compose
from facexcli.fusion.mask import face_outline, face_unit_px, fill
from facexcli.fusion.skin import sample_mask
from facexcli.media.color import rgb_roi
from facexcli.media.frames import frame_from_rgb
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.pipeline.analyse import analyse_media
from facexcli.pipeline.occlusion import occlusion_model
from facexcli.pipeline.painter import CropShape
from facexcli.pipeline.perception import choose_analyzer
from facexcli.recipes import RECIPES
from facexcli.settings import Settings
from facexcli.types import Patch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facexcli.faces.base import Analyzer
    from facexcli.types import Array, Crop, Face, Frame, Track

_ENCODE = EncodeOptions(codec="h264", crf=18, preset="veryfast")
_CROP_PX = 256
_LOOK = Look(feather=0.0, blend="feather")
"""Nothing softens the mask, so that alpha is what the occlusion model says."""
_RIM = 0.06
"""Face units: pixels as near as this to the outline are not counted as clean face. Some of them are hair, and landmarks
are not more exact."""
_HELD, _CLEAN = 0.5, 0.1
"""Share of the occluder from which a pixel counts as its, and up to which as clean."""


@dataclass(frozen=True, slots=True)
class OcclusionRow:
    """A clip with an occluder (`none` without).

    kept: of the occluder's pixels within the outline with its forehead, the share with alpha < 0.5. lost: of the clean
    pixels between jaw and brows, the share with alpha < 0.5. flicker: mean change of alpha from frame to frame between
    jaw and brows. painted: share of the frames in which there was a face to paint.
    """

    clip: str
    occluder: OccluderName | None
    kept: float
    lost: float
    flicker: float
    painted: float


def bench_occlusion(data: Path, keep: Path | None = None) -> Iterator[OcclusionRow]:
    """Each talking clip, as it is and with each made occluder in front. The made clips are left in `keep`, if given."""
    analyzer, _ = choose_analyzer("auto")
    try:
        with tempfile.TemporaryDirectory(prefix="facex-bench-") as folder:
            for clip in talking_clips(data):
                truth = _faces(clip, analyzer)
                yield _judged(clip, None, {}, truth, analyzer)
                for occluder in OCCLUDERS:
                    made = (keep or Path(folder)) / f"{clip.stem}_{occluder}.mp4"
                    masks = make_occluded(clip, made, occluder, truth)
                    yield _judged(made, occluder, masks, truth, analyzer)
    finally:
        analyzer.close()


def make_occluded(clip: Path, output: Path, occluder: OccluderName, faces: dict[int, Face]) -> dict[int, Array]:
    """Write the clip with an occluder before its face; the occluder's share of each pixel, by frame index.

    `faces` are those of the clip as it is, by frame index. The shares are float32 (H, W), 0..1.
    """
    info = probe(clip)
    masks: dict[int, Array] = {}
    with FrameReader(clip, info) as reader, VideoWriter(output, VideoFormat.from_media(info), _ENCODE) as writer:
        frames = list(reader)
        place = _place(_rgb(frames[min(faces)]), faces)
        for frame in frames:
            step = 1 / len(frames)
            rgb, masks[frame.index] = occlude(_rgb(frame), occluder, place, frame.index * step, step)
            writer.write(frame_from_rgb(rgb, frame.index, frame.pts, frame.time_base, frame.duration))
    return masks


def _judged(
    clip: Path, occluder: OccluderName | None, masks: dict[int, Array], truth: dict[int, Face], analyzer: Analyzer
) -> OcclusionRow:
    info = probe(clip)
    track = _main_track(clip, analyzer)
    shape = CropShape.of(info, "ffhq", _CROP_PX)
    placed = shape.place([track], info.frame_rate or RATE, Settings().look.smooth)
    model = occlusion_model(info, placed, shape, "auto", SilentReporter())
    kept, lost, change, painted, count = [0, 0], [0, 0], [], 0, 0
    before: Array | None = None
    with FrameReader(clip, info) as reader:
        for frame in reader:
            count += 1
            if frame.index not in placed or frame.index not in truth:
                before = None
                continue
            painted += 1
            crop = shape.cut(frame, placed[frame.index][0])
            alpha = resample(_alpha(crop, model.covered(crop)), np.linalg.inv(crop.crop_from_frame), _size(frame))
            face, clean = _regions(truth[frame.index].landmarks_px, alpha.shape)
            held = masks.get(frame.index, np.zeros(alpha.shape, np.float32))
            _add(kept, face & (held > _HELD), alpha)
            _add(lost, clean & (held < _CLEAN), alpha)
            if before is not None:
                change.append(float(np.abs(alpha - before)[clean].mean()))
            before = alpha
    name = clip.stem.removesuffix(f"_{occluder}")
    return OcclusionRow(
        name, occluder, kept[0] / max(kept[1], 1), lost[0] / max(lost[1], 1), float(np.mean(change)), painted / count
    )


def _add(counts: list[int], where: Array, alpha: Array) -> None:
    """Count the pixels that are not painted, and all."""
    counts[0] += int(np.count_nonzero(alpha[where] < 0.5))
    counts[1] += int(np.count_nonzero(where))


def _alpha(crop: Crop, covered: Array | None) -> Array:
    """What would be painted of the crop."""
    patch = Patch(crop.rgb.astype(np.float32) / 255, np.ones(crop.rgb.shape[:2], np.float32))
    return compose(crop, patch, RECIPES["swap"], _LOOK, relights=True, covered=covered).alpha


def _regions(landmarks_px: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """bool (H, W): within the outline with the forehead, and well within that from jaw to brows."""
    size = (shape[1], shape[0])
    low = fill(face_outline(landmarks_px, forehead=False), size) > 127
    depth = cv2.distanceTransform(low.astype(np.uint8), cv2.DIST_L2, 3)
    return fill(face_outline(landmarks_px), size) > 127, depth > _RIM * face_unit_px(landmarks_px)


def _place(rgb: Array, faces: dict[int, Face]) -> FacePlace:
    """Where the face is on average, and the colour of its skin in the first frame that shows it."""
    average = np.median(np.stack([face.landmarks_px for face in faces.values()]), axis=0)
    side = max(rgb.shape[:2])
    spots = sample_mask(faces[min(faces)].landmarks_px, side, side)[: rgb.shape[0], : rgb.shape[1]]
    skin = np.median(rgb[spots > 0], axis=0).astype(np.float64)
    return FacePlace((float(average[30, 0]), float(average[30, 1])), face_unit_px(average), skin)


def _faces(clip: Path, analyzer: Analyzer) -> dict[int, Face]:
    track = _main_track(clip, analyzer)
    return dict(zip(track.frame_indices, track.faces, strict=True))


def _main_track(clip: Path, analyzer: Analyzer) -> Track:
    analysis = analyse_media(probe(clip), analyzer, 0.5, SilentReporter(), "analyse")
    return max(analysis.tracks, key=lambda track: len(track.faces))


def _rgb(frame: Frame) -> Array:
    return rgb_roi(frame, (0, 0, *_size(frame)))


def _size(frame: Frame) -> tuple[int, int]:
    """Width and height, of clips that are not turned."""
    return frame.planes[0].shape[1], frame.planes[0].shape[0]

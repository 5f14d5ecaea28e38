"""One file of training data as views of a face, with all that perception says of each. Runs in worker processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from safetensors.numpy import save_file

from facexcli.engines.facex.extractors import open_decomposer
from facexcli.errors import FacexError, NoFaceError, WeightsError
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.embed import embedding_distance, unit
from facexcli.faces.source import find_source_face
from facexcli.geometry.model3d import neutral_of
from facexcli.media.atomic import AtomicFile
from facexcli.media.image import read_image
from facexcli.media.probe import probe
from facexcli.media.scan import read_frames_rgb
from facexcli.seeds import generator
from facexcli.train.shards import PreparedFile, Skipped, read_shard, shard_header, shard_tensors
from facexcli.train.views import TEMPLATES, WideFace, other_view, plain_view, wide_face
from facexcli.types import Motion

if TYPE_CHECKING:
    from facexcli.engines.facex.config import FaceXConfig
    from facexcli.engines.facex.ford import Decomposer, FaceFacts
    from facexcli.train.sources import SourceFile
    from facexcli.types import Array, Crop, MediaInfo, TemplateName

    View = dict[TemplateName, tuple[FaceFacts, Array]]
    """The facts of each crop, and its landmarks float32 (68, 2)."""

_RESTING_FRAMES = 4
"""From fewer frames nobody's resting face can be told."""


@dataclass(frozen=True, slots=True)
class ShardOrder:
    """A shard to be made: of which files, and where. views: of a still; frames: of a video, at most."""

    folder: Path
    files: tuple[SourceFile, ...]
    path: Path
    config: FaceXConfig
    views: int
    frames: int
    seed: int


def make_shard(order: ShardOrder) -> tuple[list[PreparedFile], list[Skipped]]:
    """Analyse files and write their shard, or read what an earlier run wrote; what cannot be read is skipped.

    Raises OutputError, OSError and SafetensorError where the shard cannot be written; WeightsError for an extractor
    that is missing or damaged, which is no file's fault.
    """
    known = read_shard(order.path)
    if known is not None:
        return known
    cv2.setNumThreads(1)
    done: list[PreparedFile] = []
    skipped: list[Skipped] = []
    rows: list[View] = []
    for file in order.files:
        try:
            kind, views = views_of(order, file)
        except WeightsError:
            raise
        except FacexError as error:
            skipped.append(Skipped(file.name, error.message.removeprefix(f"{order.folder / file.name}: ")))
            continue
        done.append(PreparedFile(file.name, file.person, kind, order.path.name, len(rows), len(views)))
        rows += views
    with AtomicFile(order.path) as target:
        save_file(shard_tensors(rows), str(target.temporary), shard_header(done, skipped))
        target.commit()
    return done, skipped


def views_of(order: ShardOrder, file: SourceFile) -> tuple[Literal["still", "video"], list[View]]:
    """Raises InputError for a file that cannot be read, NoFaceError for one without a face."""
    path = order.folder / file.name
    info = probe(path)
    if info.kind == "image":
        return "still", _still_views(order, file, path)
    return "video", _video_views(order, info)


def _still_views(order: ShardOrder, file: SourceFile, path: Path) -> list[View]:
    size_px, decompose = order.config.size_px, _decomposer(order.config)
    face = _face_in(read_image(path), size_px)
    # Numbered by its content: a file gets the same views whatever else is in the folder.
    random = generator(order.seed, int(file.digest[:8], 16) if file.digest != "unreadable" else 0, None, "views")
    crops = [plain_view(face, size_px), *(other_view(face, size_px, random) for _ in range(order.views - 1))]
    who = decompose.identity(crops[0]["ffhq"])
    return [_described(view, decompose, who, None) for view in crops]


def _video_views(order: ShardOrder, info: MediaInfo) -> list[View]:
    """Frames of whoever is seen in the first of them; nobody else's."""
    size_px, decompose = order.config.size_px, _decomposer(order.config)
    total = _frame_count(info)
    wanted = sorted({(2 * part + 1) * total // (2 * order.frames) for part in range(order.frames)})
    faces: list[WideFace] = []
    persons: list[Array] = []
    for rgb in read_frames_rgb(info.path, wanted):
        try:
            face = _face_in(rgb, size_px, float(info.display_aspect_ratio))
        except NoFaceError:
            continue
        who = decompose.identity(face.crop("ffhq", size_px))
        if persons and embedding_distance(unit(persons[0][0]), unit(who[0])) > DlibAnalyzer.same_person_distance:
            continue
        faces.append(face)
        persons.append(who)
    if len(faces) < 2:
        raise NoFaceError(f"{info.path}: fewer than two frames with one person's face")
    landmarks = np.stack([face.landmarks_px for face in faces]).astype(np.float32)
    resting = len(faces) >= _RESTING_FRAMES
    neutral = neutral_of(Motion(np.arange(len(faces)), landmarks)).points if resting else None
    mean = np.mean(persons, axis=0)
    return [_described(plain_view(face, size_px), decompose, mean, neutral) for face in faces]


def _frame_count(info: MediaInfo) -> int:
    """As the header tells, else by its duration, which may be a frame too long; 1 where neither is told."""
    if info.frame_count_from_header:
        return info.frame_count_from_header
    return max(1, int((info.duration_s or 0) * (info.frame_rate or 25)))


def _described(crops: dict[TemplateName, Crop], decompose: Decomposer, identity: Array, neutral: Array | None) -> View:
    facts = {template: replace(decompose(crops[template], neutral), identity=identity) for template in TEMPLATES}
    return {template: (facts[template], crops[template].landmarks_px) for template in TEMPLATES}


def _face_in(rgb: Array, size_px: int, aspect_ratio: float = 1.0) -> WideFace:
    """The largest face of a picture. Raises NoFaceError."""
    height, width = rgb.shape[:2]
    square = rgb if aspect_ratio == 1 else cv2.resize(rgb, (round(width * aspect_ratio), height))
    return wide_face(square, find_source_face(square, _analyzer()).landmarks_px, size_px)


class _NamelessAnalyzer(DlibAnalyzer):
    """Does not look who it is: that is asked of the crop, as the engine does."""

    def embed(self, rgb: Array, landmarks_px: Array) -> Array:
        return np.zeros(128, np.float32)


@lru_cache(maxsize=1)
def _analyzer() -> DlibAnalyzer:
    return _NamelessAnalyzer()


@lru_cache(maxsize=1)
def _decomposer(config: FaceXConfig) -> Decomposer:
    return open_decomposer(config)

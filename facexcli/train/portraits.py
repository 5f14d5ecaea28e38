"""Faces to train DiffFAE on: found once in a folder of stills and clips, kept as small arrays, reused while nothing
changes.

Of a still there is one view, so others are made of it: cut otherwise, under other lights. Of a clip several frames are
taken. Any two views of one person are a source and a query (sec. 4.1: in training they share the identity).
"""

from __future__ import annotations

import hashlib
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.config import cache_folder
from facexcli.engines.difffae.embedded_face import EmbeddedFace
from facexcli.engines.lighting import light_on, normalised, relit
from facexcli.errors import FacexError, InputError
from facexcli.events import SilentReporter, StageAdvanced, StageFinished, StageStarted
from facexcli.faces.align import crop_from_frame, take_crop
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.source import find_source_face
from facexcli.fusion.mask import face_outline, fill
from facexcli.geometry.light import directional_light
from facexcli.media.atomic import AtomicFile
from facexcli.media.image import IMAGE_SUFFIXES, read_image
from facexcli.media.scan import read_frames_rgb
from facexcli.types import Array, Crop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.events import Reporter

_LAYOUT = 3
_VIDEO_SUFFIXES = frozenset({".mp4", ".mkv", ".mov", ".webm", ".mpg", ".avi"})
_WORK_PX = 256
_VIEWS_OF_A_STILL = 3
_FRAMES_OF_A_CLIP = 6
_SHIFT, _TURN_DEG, _ZOOM = 0.06, 8.0, 0.12
"""How far other views of a still are cut otherwise: share of the side, degrees, share of the size."""
_HELD_OUT = 8
"""One file of so many is only for validation, chosen by its name."""


@dataclass(frozen=True)
class Portraits:
    """N views of faces. rgb, rendered: uint8 (N, S, S, 3), a crop and its I_R. mask: bool (N, S, S), the face up to its
    hairline. identity: float32 (N, 128), dlib's descriptor. owner: int64 (N,), views of one owner are of one person,
    and next to each other. held_out: bool (N,). skipped: files without a face, or that cannot be read.
    """

    rgb: Array
    rendered: Array
    mask: Array
    identity: Array
    owner: Array
    held_out: Array
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rgb)


def prepare(
    folder: Path, size_px: int, limit: int = 0, workers: int = 1, reporter: Reporter | None = None
) -> Portraits:
    """The faces of all stills and clips under `folder`, or of `limit` of them, at `size_px`.

    Raises InputError where there is none.
    """
    files = _files(folder, limit)
    place = cache_folder() / "train" / f"portraits-{_fingerprint(files, size_px)}.npz"
    if place.is_file():
        with np.load(place) as kept:
            return Portraits(**{name: kept[name] for name in kept if name != "skipped"}, skipped=tuple(kept["skipped"]))
    made = _all_views(files, size_px, workers, reporter)
    parts = [views for _, views in made if views is not None]
    if not parts:
        raise InputError(
            f"{folder}: no face in any of {len(files)} files", "give a folder with stills or clips of people"
        )
    counts = [len(views["rgb"]) for views in parts]
    names = [file for file, views in made if views is not None]
    arrays = {name: np.concatenate([views[name] for views in parts]) for name in parts[0]}
    arrays["owner"] = np.repeat(np.arange(len(parts)), counts)
    arrays["held_out"] = np.repeat([_is_held_out(file) for file in names], counts)
    skipped = tuple(str(file) for file, views in made if views is None)
    place.parent.mkdir(parents=True, exist_ok=True)
    with AtomicFile(place) as file:
        np.savez(file.temporary, **arrays, skipped=np.array(skipped, str))  # type: ignore[arg-type]
        file.commit()
    return Portraits(**arrays, skipped=skipped)


def _files(folder: Path, limit: int) -> list[Path]:
    known = IMAGE_SUFFIXES | _VIDEO_SUFFIXES
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in known)
    if not files:
        raise InputError(f"{folder}: no stills and no clips in this folder", "name one with --data DIR")
    if not limit or limit >= len(files):
        return files
    return [files[place] for place in np.linspace(0, len(files) - 1, limit).astype(int)]


def _fingerprint(files: Sequence[Path], size_px: int) -> str:
    facts = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps([_LAYOUT, size_px, facts]).encode()).hexdigest()[:16]


def _is_held_out(path: Path) -> bool:
    return int(hashlib.sha256(path.name.encode()).hexdigest(), 16) % _HELD_OUT == 0


def _all_views(
    files: Sequence[Path], size_px: int, workers: int, reporter: Reporter | None
) -> list[tuple[Path, dict[str, Array] | None]]:
    start = time.monotonic()
    reporter = reporter or SilentReporter()
    reporter.emit(StageStarted("prepare", len(files), "files"))
    found = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done, views in enumerate(pool.map(_views, files, [size_px] * len(files), chunksize=4), start=1):
            found.append((files[done - 1], views))
            reporter.emit(StageAdvanced("prepare", done, done / max(time.monotonic() - start, 1e-6)))
    reporter.emit(StageFinished("prepare", len(files), time.monotonic() - start))
    return found


def _views(path: Path, size_px: int) -> dict[str, Array] | None:
    """The views of one file; None without a face."""
    try:
        pictures = [read_image(path)] if path.suffix.lower() in IMAGE_SUFFIXES else _frames(path)
        crops = [crop for picture in pictures for crop in _crops(picture, len(pictures) == 1, path)]
    except FacexError:
        return None
    views = [_view(crop, size_px) for crop in crops]
    return {name: np.stack([view[name] for view in views]) for name in views[0]}


def _frames(path: Path) -> list[Array]:
    from facexcli.media.probe import probe

    count = probe(path).frame_count_from_header or _FRAMES_OF_A_CLIP
    places = sorted({int(place) for place in np.linspace(0, count - 1, _FRAMES_OF_A_CLIP)})
    return read_frames_rgb(path, places)


def _crops(picture: Array, is_still: bool, path: Path) -> list[Crop]:
    """The face as it is, and of a still other views of it. Raises NoFaceError."""
    face = find_source_face(picture, _analyzer())
    matrix = crop_from_frame(face.landmarks_px, "ffhq", _WORK_PX)
    first = _cut(picture, face.landmarks_px, matrix)
    if not is_still:
        return [first]
    rng = np.random.default_rng(int(hashlib.sha256(path.name.encode()).hexdigest()[:16], 16))
    own = light_on(first)
    others = []
    for _ in range(_VIEWS_OF_A_STILL - 1):
        towards = rng.normal(size=3) + np.array((0, 0.3, 0.6))
        lamp = normalised(directional_light(towards, rng.uniform(0.15, 0.6)))
        lit, _ = relit(first, lamp, own)
        bright = np.rint(lit * 255).astype(np.uint8)
        other = Crop(bright, np.eye(3), first.landmarks_px, "ffhq")
        others.append(_cut(other.rgb, other.landmarks_px, _jitter(rng)))
    return [first, *others]


def _jitter(rng: np.random.Generator) -> Array:
    """A similarity about the middle of a crop, float64 (3, 3)."""
    angle, zoom = np.radians(rng.uniform(-_TURN_DEG, _TURN_DEG)), np.exp(rng.uniform(-_ZOOM, _ZOOM))
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    centre = (_WORK_PX - 1) / 2
    matrix = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    matrix[:2, 2] = centre + rng.uniform(-_SHIFT, _SHIFT, 2) * _WORK_PX - matrix[:2, :2] @ (centre, centre)
    return matrix


def _cut(picture: Array, landmarks_px: Array, matrix: Array) -> Crop:
    rgb, _ = take_crop(picture, matrix, _WORK_PX)
    points = np.asarray(landmarks_px @ matrix[:2, :2].T + matrix[:2, 2], np.float32)
    return Crop(rgb, matrix, points, "ffhq")


def _view(crop: Crop, size_px: int) -> dict[str, Array]:
    model = EmbeddedFace()
    rendered = model.render([model.coefficients(crop)], size_px).rgb[0]
    scaled = (crop.landmarks_px + 0.5) * (size_px / _WORK_PX) - 0.5
    return {
        "rgb": cv2.resize(crop.rgb, (size_px, size_px), interpolation=cv2.INTER_AREA),
        "rendered": rendered,
        "mask": fill(face_outline(scaled), size_px) > 127,
        "identity": np.asarray(_analyzer().embed(crop.rgb, crop.landmarks_px), np.float32),
    }


_ANALYZER: list[DlibAnalyzer] = []


def _analyzer() -> DlibAnalyzer:
    """One a process."""
    if not _ANALYZER:
        cv2.setNumThreads(1)
        _ANALYZER.append(DlibAnalyzer())
    return _ANALYZER[0]

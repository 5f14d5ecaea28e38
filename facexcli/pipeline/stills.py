"""Stills of people: the picture, and the faces in it, looked for once and known again in later runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from facexcli.errors import NoFaceError
from facexcli.events import SilentReporter
from facexcli.media.image import read_image
from facexcli.media.probe import probe
from facexcli.pipeline.analyse import analyse_media
from facexcli.pipeline.cache import cached_analysis
from facexcli.pipeline.painter import CropShape

if TYPE_CHECKING:
    from pathlib import Path

    from facexcli.events import Reporter
    from facexcli.faces.base import Analyzer
    from facexcli.types import Analysis, Array, Crop, Face, TemplateName

_BYSTANDER_SHARE = 0.5
"""Faces on a reference still that are narrower than this, measured by the widest, are not meant."""
_SILENT = SilentReporter()


@dataclass(frozen=True, slots=True)
class Still:
    """A picture and the face in it. rgb: uint8 (H, W, 3)."""

    rgb: Array
    face: Face
    aspect_ratio: float = 1.0

    def crop(self, template: TemplateName, size_px: int) -> Crop:
        """The aligned face."""
        height, width = self.rgb.shape[:2]
        return CropShape(template, size_px, (width, height), self.aspect_ratio).crop_still(self.rgb, self.face)


def load_still(path: Path, analyzer: Analyzer, cache_mb: int = 0, reporter: Reporter = _SILENT) -> Still:
    """A still of one person. Raises InputError or NoFaceError, naming the file.

    With a cache of `cache_mb` (see `pipeline.cache`), a still that was seen before is not searched again.
    """
    face = still_face(path, analyzer, cache_mb, reporter)
    return Still(read_image(path), face)


def still_face(path: Path, analyzer: Analyzer, cache_mb: int = 0, reporter: Reporter = _SILENT) -> Face:
    """The largest face of a still, with its pose and embedding. Raises InputError or NoFaceError, naming the file."""
    faces = _faces(path, analyzer, cache_mb, reporter)
    if not faces:
        raise NoFaceError(f"{path}: no face found")
    return faces[0]


def reference_embedding(path: Path, analyzer: Analyzer, cache_mb: int = 0, reporter: Reporter = _SILENT) -> Array:
    """Who is on a reference still: a unit embedding (D,). Raises NoFaceError for nobody, and for more than one."""
    faces = _faces(path, analyzer, cache_mb, reporter)
    if not faces:
        raise NoFaceError(f"{path}: no face found")
    width_px = faces[0].box_px[2] - faces[0].box_px[0]
    beside = [face for face in faces if face.box_px[2] - face.box_px[0] > _BYSTANDER_SHARE * width_px]
    if len(beside) > 1:
        raise NoFaceError(f"{path}: {len(beside)} faces on a reference still", "cut it to the person who is meant")
    assert faces[0].embedding is not None  # stills are always embedded
    return faces[0].embedding


def _faces(path: Path, analyzer: Analyzer, cache_mb: int, reporter: Reporter) -> list[Face]:
    """Every face of a still, largest first."""
    info = probe(path)

    def analyse() -> Analysis:
        return analyse_media(info, analyzer, 0.0, reporter, "analyse")

    analysis = cached_analysis(info, analyzer, 0.0, "", cache_mb, reporter, analyse)
    return [replace(track.faces[0], embedding=track.embedding) for track in analysis.tracks]

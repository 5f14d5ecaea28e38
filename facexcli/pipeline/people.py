"""From files to people: the source's crops, the tracks that are edited, and an identity state for each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facexcli.config import parse_trim
from facexcli.errors import NoFaceError, UsageError
from facexcli.events import Informed
from facexcli.faces.align import crop_from_frame
from facexcli.faces.select import RULES, select_tracks, with_people
from facexcli.faces.source import find_faces, find_source_face
from facexcli.media.image import read_image
from facexcli.media.scan import read_frames_rgb
from facexcli.pipeline.analyse import FrameRange, analyse_media, with_poses
from facexcli.pipeline.analysis_io import load_analysis
from facexcli.pipeline.painter import CropShape, choose_crop_px
from facexcli.types import Track

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.events import Reporter, StageName
    from facexcli.faces.base import Analyzer
    from facexcli.settings import Settings
    from facexcli.types import Analysis, Array, Crop, Face, MediaInfo, TemplateName

_BYSTANDER_SHARE = 0.5
"""Faces on a reference still that are narrower than this, measured by the widest, are not meant."""


def find_people(
    info: MediaInfo,
    settings: Settings,
    analyzer: Analyzer,
    reporter: Reporter,
    stage: StageName = "analyse",
    *,
    numbered: bool = False,
) -> Analysis:
    """Analyse the chosen range of a file, or read the analysis that the user saved. Raises InputError or UsageError.

    Where people are asked for by number (`numbered`), all of the file is analysed whatever the range, so that the
    numbers are those that `facex faces` shows.
    """
    saved = settings.people.analysis
    if saved is not None:
        reporter.emit(Informed(f"faces of {info.path} read from {saved}"))
        analysis = load_analysis(saved, info.path)
        if analysis.analyzer != analyzer.name:
            raise UsageError(
                f"{saved} was made with {analysis.analyzer}, this run uses {analyzer.name}",
                f"add --analyzer {analysis.analyzer}",
            )
        return analysis
    trim = "" if numbered or settings.people.faces not in RULES else settings.range.trim
    analysis = analyse_media(info, analyzer, settings.look.smooth, reporter, stage, FrameRange(*parse_trim(trim)))
    return replace(with_people(analysis, analyzer.same_person_distance), trim=trim)


def chosen_tracks(analysis: Analysis, settings: Settings, analyzer: Analyzer) -> list[Track]:
    """The tracks that `--faces`, `--match` and `--min-face` leave; possibly none.

    Raises UsageError for an unknown track, NoFaceError for a reference still without a face.
    """
    people = settings.people
    match = None
    if people.match is not None:
        match = reference_embedding(people.match, analyzer)
    return select_tracks(analysis, people.faces, people.min_face_px, match, analyzer.same_person_distance)


def largest_face(info: MediaInfo, settings: Settings, analyzer: Analyzer, reporter: Reporter) -> list[Track]:
    """The tracks of the main person of a portrait. Raises NoFaceError."""
    if info.kind == "image":
        face = face_in(info.path, read_image(info.path), analyzer)
        return [with_poses(Track(0, 0, (0,), (face,), face.embedding), info)]
    analysis = analyse_media(info, analyzer, settings.look.smooth, reporter, "analyse")
    tracks = select_tracks(with_people(analysis, analyzer.same_person_distance))
    if not tracks:
        raise NoFaceError(f"{info.path}: no face found in the source")
    return tracks


def face_in(path: Path, rgb: Array, analyzer: Analyzer) -> Face:
    """The face of a still. Raises NoFaceError that names the file."""
    try:
        return find_source_face(rgb, analyzer)
    except NoFaceError as error:
        raise NoFaceError(f"{path}: {error.message}", error.hint) from error


def reference_embedding(path: Path, analyzer: Analyzer) -> Array:
    """Who is on a reference still: a unit embedding (D,). Raises NoFaceError for nobody, and for more than one."""
    faces = find_faces(read_image(path), analyzer)
    if not faces:
        raise NoFaceError(f"{path}: no face found")
    width_px = faces[0].box_px[2] - faces[0].box_px[0]
    beside = [face for face in faces if face.box_px[2] - face.box_px[0] > _BYSTANDER_SHARE * width_px]
    if len(beside) > 1:
        raise NoFaceError(f"{path}: {len(beside)} faces on a reference still", "cut it to the person who is meant")
    assert faces[0].embedding is not None  # find_faces promises it
    return faces[0].embedding


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


def load_still(path: Path, analyzer: Analyzer) -> Still:
    """A still of one person. Raises InputError or NoFaceError, naming the file."""
    rgb = read_image(path)
    return Still(rgb, face_in(path, rgb, analyzer))


def portrait_still(info: MediaInfo, tracks: Sequence[Track]) -> Still:
    """The picture of a portrait; of a video the frame in which the face of `tracks` is turned to the camera most."""
    faces = [(index, face) for track in tracks for index, face in zip(track.frame_indices, track.faces, strict=True)]
    index, face = min(faces, key=lambda item: abs(item[1].yaw_deg) + abs(item[1].pitch_deg))
    rgb = read_image(info.path) if info.kind == "image" else read_frames_rgb(info.path, [index])[0]
    return Still(rgb, face, float(info.display_aspect_ratio))


def crop_px_for(
    tracks: Sequence[Track], template: TemplateName, info: MediaInfo, sizes_px: Sequence[int], detail: float
) -> int:
    """The crop size that keeps `detail`, 0..1, of the frame's resolution for the largest face among `tracks`."""
    extent_px = max(crop_extent_px(track, template, float(info.display_aspect_ratio)) for track in tracks)
    return choose_crop_px(sizes_px, detail * extent_px)


def crop_extent_px(track: Track, template: TemplateName, aspect_ratio: float) -> float:
    """How many frame pixels wide a crop of this track is, at its upper quartile."""
    step = max(1, len(track.faces) // 50)
    scales = [
        np.sqrt(abs(np.linalg.det(crop_from_frame(face.landmarks_px, template, 1, aspect_ratio)[:2, :2])))
        for face in track.faces[::step]
    ]
    return float(1 / np.quantile(scales, 0.25))


Identities = dict[int, Any]
"""Identity state by track id."""

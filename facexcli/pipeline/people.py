"""From files to people: the source's crops, the tracks that are edited, and an identity state for each."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facexcli.config import parse_trim
from facexcli.errors import NoFaceError, UsageError
from facexcli.events import Informed
from facexcli.faces.align import crop_from_frame
from facexcli.faces.select import select_tracks, with_people
from facexcli.media.image import read_image
from facexcli.media.scan import read_frames_rgb
from facexcli.media.table import frame_table
from facexcli.pipeline.analyse import FrameRange, analyse_media
from facexcli.pipeline.analysis_io import load_analysis
from facexcli.pipeline.cache import cached_analysis
from facexcli.pipeline.painter import choose_crop_px
from facexcli.pipeline.stills import Still, reference_embedding, still_face
from facexcli.types import Faces, Track

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.events import Reporter, StageName
    from facexcli.faces.base import Analyzer
    from facexcli.settings import Settings
    from facexcli.types import Analysis, Array, MediaInfo, TemplateName


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
    if settings.people.analysis is not None:
        return _saved_people(settings.people.analysis, info, settings, analyzer, reporter)
    trim = "" if numbered else settings.range.trim
    return _analysed(info, settings, analyzer, reporter, stage, trim)


def _analysed(
    info: MediaInfo, settings: Settings, analyzer: Analyzer, reporter: Reporter, stage: StageName, trim: str
) -> Analysis:
    """Out of the cache where it can be."""
    smooth = settings.look.smooth

    def analyse() -> Analysis:
        found = analyse_media(info, analyzer, smooth, reporter, stage, FrameRange(*parse_trim(trim)))
        return replace(with_people(found, analyzer.same_person_distance), trim=trim)

    return cached_analysis(info, analyzer, smooth, trim, settings.compute.cache_mb, reporter, analyse)


def _saved_people(path: Path, info: MediaInfo, settings: Settings, analyzer: Analyzer, reporter: Reporter) -> Analysis:
    analysis = replace(load_analysis(path, info.path), media=info)
    reporter.emit(Informed(f"faces of {info.path} read from {path}"))
    if analysis.analyzer != analyzer.name:
        raise UsageError(
            f"{path} was made with {analysis.analyzer}, this run uses {analyzer.name}",
            f"add --analyzer {analysis.analyzer}",
        )
    if not _covers(analysis, settings.range.trim):
        first, last = analysis.shots[0].start, analysis.shots[-1].stop - 1
        raise UsageError(
            f"{path} knows only the part {analysis.trim} of {info.path.name}, frames {first} to {last}",
            f"add --trim {analysis.trim}, or save all faces with `facex faces {info.path.name} --save`",
        )
    owned = {track_id for person in analysis.people for track_id in person.track_ids}
    if homeless := [str(track.id) for track in analysis.tracks if track.id not in owned]:
        reporter.emit(Informed(f"tracks that belong to nobody are left alone: {', '.join(homeless)}"))
    return analysis


def _covers(analysis: Analysis, trim: str) -> bool:
    """Whether all frames of the range were analysed."""
    if analysis.trim in ("", trim):
        return True
    start, stop = frame_span(analysis.media, trim)
    is_open = parse_trim(analysis.trim)[1] is None
    return start >= analysis.shots[0].start and (is_open or (stop is not None and stop <= analysis.shots[-1].stop))


def within_range(analysis: Analysis, trim: str) -> Analysis:
    """What the analysis says of a range: its tracks are cut at the ends, and those that lie outside are left out.

    An analysis may reach farther than the range that is edited; who is there, and who is largest, is about the range.
    """
    if not trim:
        return analysis
    start, stop = frame_span(analysis.media, trim)
    tracks = []
    for track in analysis.tracks:
        first = bisect_left(track.frame_indices, start)
        end = len(track.faces) if stop is None else bisect_left(track.frame_indices, stop)
        if first < end:
            part = slice(first, end)
            tracks.append(replace(track, frame_indices=track.frame_indices[part], faces=track.faces[part]))
    return replace(analysis, tracks=tuple(tracks))


def whole_tracks(analysis: Analysis, parts: Sequence[Track]) -> list[Track]:
    """The tracks of which `parts` were cut: what smooths a face may look beyond the range."""
    wanted = {track.id for track in parts}
    return [track for track in analysis.tracks if track.id in wanted]


def frame_span(info: MediaInfo, trim: str) -> tuple[int, int | None]:
    """The frames [start, stop) of a range; None for its open end. Seconds are looked up in the packets' times, and
    counted by the nominal rate where these cannot be relied on.
    """
    start, stop = parse_trim(trim)
    if not isinstance(start, Fraction) and not isinstance(stop, Fraction):
        return start or 0, stop
    table = frame_table(info.path, info) if info.kind == "video" else None

    def index(position: Fraction | int) -> int:
        if isinstance(position, int):
            return position
        if table is not None:
            return table.index_at(info.start_pts + position / info.time_base)
        return ceil(position * (info.frame_rate or Fraction(25)))

    return index(start or 0), None if stop is None else index(stop)


def chosen_tracks(
    analysis: Analysis, settings: Settings, match: Array | None, same_person_distance: float
) -> list[Track]:
    """The tracks that `--faces`, `--match` and `--min-face` leave; possibly none. Raises UsageError for nobody's name.

    `match` is what `match_embedding` says.
    """
    people = settings.people
    return select_tracks(analysis, people.faces, people.min_face_px, match, same_person_distance)


def match_embedding(settings: Settings, analyzer: Analyzer, reporter: Reporter) -> Array | None:
    """Who is on the still of `--match`; None without that option. Raises as `reference_embedding` does."""
    match = settings.people.match
    return None if match is None else reference_embedding(match, analyzer, settings.compute.cache_mb, reporter)


def largest_face(info: MediaInfo, settings: Settings, analyzer: Analyzer, reporter: Reporter) -> list[Track]:
    """The tracks of the main person of a portrait. Raises NoFaceError."""
    if info.kind == "image":
        face = still_face(info.path, analyzer, settings.compute.cache_mb, reporter)
        return [Track(0, 0, (0,), Faces.of([face]), face.embedding)]
    tracks = select_tracks(_analysed(info, settings, analyzer, reporter, "analyse", ""))
    if not tracks:
        raise NoFaceError(f"{info.path}: no face found in the source")
    return tracks


def portrait_still(info: MediaInfo, tracks: Sequence[Track]) -> Still:
    """The picture of a portrait; of a video the frame in which the face of `tracks` is turned to the camera most."""
    best = [(_turns_deg(track.faces).min(), int(_turns_deg(track.faces).argmin())) for track in tracks]
    (_, place), track = min(zip(best, tracks, strict=True), key=lambda item: item[0][0])
    index, face = track.frame_indices[place], track.faces[place]
    rgb = read_image(info.path) if info.kind == "image" else read_frames_rgb(info.path, [index])[0]
    return Still(rgb, face, float(info.display_aspect_ratio))


def _turns_deg(faces: Faces) -> Array:
    """How far each face is turned from the camera, float64 (T,)."""
    return np.asarray(np.abs(faces.yaw_deg) + np.abs(faces.pitch_deg))


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
        np.sqrt(abs(np.linalg.det(crop_from_frame(points, template, 1, aspect_ratio)[:2, :2])))
        for points in track.faces.landmarks_px[::step]
    ]
    return float(1 / np.quantile(scales, 0.25))


Identities = dict[int, Any]
"""Identity state by track id."""

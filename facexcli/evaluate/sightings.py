"""Who is seen where in the result and in what it is compared with: landmarks, frame by frame, person by person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from facexcli.faces.select import tracks_of, with_people
from facexcli.faces.smooth import smooth_track
from facexcli.faces.tracklet import face_box, is_face, overlap
from facexcli.media.scan import AnalysisReader
from facexcli.pipeline.analyse import ANALYSIS_SIDE_PX, FrameRange, analyse_media

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facexcli.events import Reporter, StageName
    from facexcli.faces.base import Analyzer
    from facexcli.types import Analysis, Array, MediaInfo, Person

_SAME_PLACE = 0.3
_NEAR_PLACE = 0.2
_STEADINESS = 0.5
UNTRACKED = -1


@dataclass(frozen=True, slots=True)
class Sighting:
    """One person in one clip; arrays over the N frames in which the face is there, ascending.

    frames: int64 (N,), 0 for the first frame of the part that is looked at. landmarks_px: float32 (N, 68, 2) in frame
    pixels, as measured; steady_px: likewise, smoothed over time. seen: bool (N,), False where the face is known from
    neighbouring frames only; measured: bool (N,), whether its landmarks can be trusted, too. segment: int64 (N,), the
    track, or `UNTRACKED`.
    """

    name: str
    track_ids: tuple[int, ...]
    frames: Array
    landmarks_px: Array
    steady_px: Array
    seen: Array
    measured: Array
    segment: Array


class _Row(NamedTuple):
    """One frame of a `Sighting`."""

    frame: int
    landmarks_px: Array
    steady_px: Array
    seen: bool
    measured: bool
    segment: int


@dataclass(frozen=True, slots=True)
class Subject:
    """A person of the reference, and where that face is in the result.

    seen: bool (N,), whether the result shows a face there. found_px, found_steady_px: float32 (N, 68, 2), NaN where
    its landmarks are not known.
    """

    reference: Sighting
    seen: Array
    found_px: Array
    found_steady_px: Array

    @property
    def is_found(self) -> Array:
        """bool (N,): the face is measured both in the reference and in the result."""
        return np.asarray(np.isfinite(self.found_px[:, 0, 0]) & self.reference.measured)


def look(
    info: MediaInfo, analyzer: Analyzer, reporter: Reporter, stage: StageName, part: FrameRange | None = None
) -> Analysis:
    """Everybody in a clip; nothing is smoothed and nothing is taken over from earlier runs. Raises InputError."""
    analysis = analyse_media(info, analyzer, 0.0, reporter, stage, part or FrameRange())
    return with_people(analysis, analyzer.same_person_distance)


def first_frame(analysis: Analysis) -> int:
    """The index of the first frame that was looked at."""
    return analysis.shots[0].start


def sightings(analysis: Analysis, analyzer: Analyzer, min_face_px: float) -> list[Sighting]:
    """Everybody whose face is at least `min_face_px` wide; faces that were not followed are looked for once more."""
    found = [sighting_of(analysis, person) for person in analysis.people]
    large = [item for item in found if _width_px(item) >= min_face_px]
    if analysis.media.kind == "image" or not large:
        return large
    return _completed(large, analysis, analyzer)


def main_sighting(analysis: Analysis) -> Sighting | None:
    """The person with the largest presence; None where there is nobody."""
    return sighting_of(analysis, analysis.people[0]) if analysis.people else None


def sighting_of(analysis: Analysis, person: Person) -> Sighting:
    """Where one person is, over all of that person's tracks."""
    rate = analysis.media.frame_rate or 25
    tracks = tracks_of(analysis, [person])
    frames = np.concatenate([np.array(track.frame_indices, np.int64) for track in tracks]) - first_frame(analysis)
    order = np.argsort(frames, kind="stable")
    faces = [track.faces for track in tracks]
    steady = [smooth_track(track, rate, _STEADINESS).faces for track in tracks]
    return Sighting(
        name=person.name,
        track_ids=person.track_ids,
        frames=frames[order],
        landmarks_px=np.concatenate([own.landmarks_px for own in faces])[order],
        steady_px=np.concatenate([own.landmarks_px for own in steady])[order],
        seen=np.concatenate([own.measured for own in faces])[order],
        measured=np.concatenate([own.measured & ~own.repaired for own in faces])[order],
        segment=np.repeat([track.id for track in tracks], [len(own) for own in faces])[order],
    )


def match_by_place(reference: Sequence[Sighting], result: Analysis) -> list[Subject]:
    """For each person of the reference the face at the same place of the result; no face is given to two people."""
    aspect = float(result.media.display_aspect_ratio)
    faces: dict[int, list[_Row]] = {}
    for person in result.people:
        for face in _rows(sighting_of(result, person)):
            if face.seen:
                faces.setdefault(face.frame, []).append(face)
    subjects = [_unseen(item) for item in reference]
    for frame, owners in _by_frame(reference).items():
        candidates = faces.get(frame, [])
        for owner, row, chosen in _nearest(reference, owners, candidates, aspect):
            _note(subjects[owner], row, candidates[chosen])
    return subjects


def match_by_time(reference: Sighting, result: Sighting | None) -> Subject:
    """For a reenactment, where the places differ: the one face of each film in the same frame."""
    subject = _unseen(reference)
    faces = {face.frame: face for face in _rows(result) if face.seen} if result is not None else {}
    for row, frame in enumerate(reference.frames.tolist()):
        if frame in faces:
            _note(subject, row, faces[frame])
    return subject


def _unseen(reference: Sighting) -> Subject:
    found = np.full((2, *reference.landmarks_px.shape), np.nan, np.float32)
    return Subject(reference, np.zeros(len(reference.frames), bool), *found)


def _note(subject: Subject, row: int, face: _Row) -> None:
    """Enter a face of the result; for the functions that make subjects."""
    subject.seen[row] = True
    if face.measured:
        subject.found_px[row], subject.found_steady_px[row] = face.landmarks_px, face.steady_px


def _rows(item: Sighting) -> Iterator[_Row]:
    columns = (item.frames.tolist(), item.landmarks_px, item.steady_px)
    flags = (item.seen.tolist(), item.measured.tolist(), item.segment.tolist())
    return (_Row(*values) for values in zip(*columns, *flags, strict=True))


def _by_frame(people: Sequence[Sighting]) -> dict[int, list[tuple[int, int]]]:
    """(person, row) of everybody who is in a frame."""
    frames: dict[int, list[tuple[int, int]]] = {}
    for who, item in enumerate(people):
        for row, frame in enumerate(item.frames):
            frames.setdefault(int(frame), []).append((who, row))
    return frames


def _nearest(
    reference: Sequence[Sighting],
    owners: Sequence[tuple[int, int]],
    candidates: Sequence[_Row],
    aspect: float,
) -> Iterator[tuple[int, int, int]]:
    """(person, row, candidate), the best overlap first, everything used once."""
    boxes = [face_box(face.landmarks_px, aspect) for face in candidates]
    pairs = []
    for owner, row in owners:
        own = face_box(reference[owner].landmarks_px[row], aspect)
        pairs += [(overlap(own, box), owner, row, which) for which, box in enumerate(boxes)]
    used: set[int] = set()
    served: set[int] = set()
    for shared, owner, row, which in sorted(pairs, reverse=True):
        if shared > _SAME_PLACE and owner not in served and which not in used:
            served.add(owner)
            used.add(which)
            yield owner, row, which


def _completed(people: list[Sighting], analysis: Analysis, analyzer: Analyzer) -> list[Sighting]:
    """With the faces that a fresh detection finds in frames in which somebody is not followed.

    A run that lost the same face would otherwise be excused by the judge's own loss.
    """
    start, count = first_frame(analysis), analysis.frame_count
    present = [set(item.frames.tolist()) for item in people]
    wanted = {frame for frame in range(count) if any(frame not in own for own in present)}
    if not wanted:
        return people
    added: list[list[_Row]] = [[] for _ in people]
    last = start + max(wanted) + 1
    with AnalysisReader(
        analysis.media.path, analysis.media, max_side_px=ANALYSIS_SIDE_PX, start=start + min(wanted), stop=last
    ) as reader:
        for index, _pts, rgb, scale in reader:
            frame = index - start
            if frame not in wanted:
                continue
            for landmarks in _detected(rgb, scale, analyzer):
                owner = _missed_person(people, present, frame, landmarks, float(analysis.media.display_aspect_ratio))
                if owner is not None:
                    added[owner].append(_Row(frame, landmarks, landmarks, True, True, UNTRACKED))
                    present[owner].add(frame)
    return [
        _sighting(item.name, item.track_ids, [*_rows(item), *rows]) if rows else item
        for item, rows in zip(people, added, strict=True)
    ]


def _detected(rgb: Array, scale: tuple[float, float], analyzer: Analyzer) -> Iterator[Array]:
    """Landmarks, float32 (68, 2) in frame pixels, of every face that a detector is sure of."""
    for detection in analyzer.detect(rgb):
        fit = analyzer.landmarks(rgb, detection.box_px)
        if is_face(fit.spread, analyzer.confidence(rgb, fit.landmarks_px)):
            yield ((fit.landmarks_px + 0.5) * scale - 0.5).astype(np.float32)


def _missed_person(
    people: Sequence[Sighting], present: Sequence[set[int]], frame: int, landmarks_px: Array, aspect: float
) -> int | None:
    """Whose face this is: of those who are missing in the frame, the one last or next seen about there."""
    box = face_box(landmarks_px, aspect)
    shares: dict[int, float] = {}
    for who, item in enumerate(people):
        nearest = int(np.abs(item.frames - frame).argmin())
        share = overlap(box, face_box(item.landmarks_px[nearest], aspect))
        if int(item.frames[nearest]) == frame and share > _NEAR_PLACE:
            return None
        if frame not in present[who] and share > _NEAR_PLACE:
            shares[who] = share
    return max(shares, key=lambda who: shares[who], default=None)


def _sighting(name: str, track_ids: tuple[int, ...], rows: Sequence[_Row]) -> Sighting:
    ordered = sorted(rows, key=lambda row: row.frame)
    frames, landmarks, steady, seen, measured, segment = zip(*ordered, strict=True)
    return Sighting(
        name,
        track_ids,
        np.array(frames, np.int64),
        np.stack(landmarks).astype(np.float32),
        np.stack(steady).astype(np.float32),
        np.array(seen, bool),
        np.array(measured, bool),
        np.array(segment, np.int64),
    )


def _width_px(item: Sighting) -> float:
    return float(np.median([np.ptp(points[:, 0]) for points in item.landmarks_px]))

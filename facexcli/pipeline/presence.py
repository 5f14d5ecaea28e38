"""How strongly a face is painted, frame by frame.

It fades where it comes and goes, where somebody passes in front of it, and where it turns farther than the source's
stills can tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from facexcli.faces.tracklet import overlap, overlaps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from facexcli.types import Analysis, Array, Face, Track

_FADE_FRAMES = 3
_FADE_GROWTH = 6.0
"""Frames of a fade over `--smooth`, up to `_FADE_FRAMES`: no smoothing, no fades."""
_TOUCHING = 0.02
_CROSSING = 0.15
_HIDDEN = 0.5
"""Overlap of two boxes of one size when two thirds of the face behind are covered."""
_HIDING_FRAMES = 1
"""A face that is being covered does not show how it goes."""
_CONTINUED = 0.5
_PITCH_WEIGHT = 0.5
"""68 points tell pitch less surely than yaw: faces differ in the length of their noses."""
_FULL = 0.95
_NAMED_SPANS = 8
"""So many spans of frames stand in a warning; all of them are in the result."""


@dataclass(frozen=True, slots=True)
class Presence:
    """How one track is painted.

    Attributes:
        frame_indices: int64 (T,), ascending.
        strength: float64 (T,) in 0..1; 0 where the face is not painted.
        turned: bool (T,): the strength is less because the source has no view of such a pose.
        in_front: for each frame the landmarks, float32 (68, 2) in frame pixels, of the faces that pass in front.
    """

    frame_indices: Array
    strength: Array
    turned: Array
    in_front: tuple[tuple[Array, ...], ...]

    def as_json(self) -> list[dict[str, Any]]:
        """The spans of frames in which it is not painted in full."""
        spans = []
        for turned in (True, False):
            chosen = (self.strength < _FULL) & (self.turned == turned)
            for first, last in spans_of(self.frame_indices[chosen]):
                inside = (self.frame_indices >= first) & (self.frame_indices <= last)
                least = round(float(self.strength[inside].min()), 3)
                reason = "turned" if turned else "appears or hides"
                spans.append({"first_frame": first, "last_frame": last, "least": least, "reason": reason})
        return sorted(spans, key=lambda span: span["first_frame"])


def presences(
    tracks: Sequence[Track],
    analysis: Analysis,
    smooth: float,
    reach_deg: tuple[float, float] | None,
    views: Mapping[int, Sequence[Face]],
) -> dict[int, Presence]:
    """The presence of each of `tracks`, by id.

    Args:
        tracks: those that are painted.
        analysis: all that is known of the clip: shots, and who else is there.
        smooth: 0..1; 0 switches without fades.
        reach_deg: how far a face may be turned from the nearest of the source's stills, to be painted in full, and to
            be painted at all (`EngineSpec.view_reach_deg`); None for any pose.
        views: the stills' faces by track.
    """
    crossings = _crossings(analysis.tracks)
    fade_frames = min(_FADE_FRAMES, round(_FADE_GROWTH * smooth))
    result = {}
    for track in tracks:
        hidden, in_front = _behind(track, crossings)
        indices = np.array(track.frame_indices, np.int64)
        strength = np.minimum(
            _faded(indices, np.array(_absent_beside(track, analysis), np.int64), fade_frames),
            _faded(indices, indices[hidden], min(fade_frames, _HIDING_FRAMES)),
        )
        pose = _pose_strength(track, reach_deg, views.get(track.id, ()))
        result[track.id] = Presence(indices, strength * pose, pose < _FULL, in_front)
    return result


def turned_faces(analysis: Analysis, present: Mapping[int, Presence], rendered: range) -> list[str]:
    """A line for each person who was painted weaker in some of the frames `rendered`, for want of a view."""
    told = []
    for person in analysis.people:
        own = [present[track_id] for track_id in person.track_ids if track_id in present]
        frames = sorted(index for item in own for index in item.frame_indices[item.turned].tolist())
        frames = [index for index in frames if index in rendered]
        if frames:
            spans = [f"{first}" if first == last else f"{first}-{last}" for first, last in spans_of(frames)]
            more = f" and {len(spans) - _NAMED_SPANS} more places" if len(spans) > _NAMED_SPANS else ""
            told.append(
                f"{person.name} is turned farther than the source's stills show: painted weaker in {len(frames)} of "
                f"{len(rendered)} frames: {', '.join(spans[:_NAMED_SPANS])}{more}"
            )
    return told


def spans_of(frame_indices: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending indices as (first, last) of the runs without a gap."""
    spans: list[tuple[int, int]] = []
    for index in map(int, frame_indices):
        if spans and spans[-1][1] == index - 1:
            spans[-1] = (spans[-1][0], index)
        else:
            spans.append((index, index))
    return spans


@dataclass(frozen=True, slots=True)
class _Crossing:
    """One track passes behind another.

    frame_indices: int64 (N,), ascending. overlaps: float64 (N,) in 0..1. landmarks_px: float32 (N, 68, 2), of the face
    in front.
    """

    behind: int
    frame_indices: Array
    overlaps: Array
    landmarks_px: Array


def _crossings(tracks: Sequence[Track]) -> list[_Crossing]:
    found = []
    for one, other in combinations(tracks, 2):
        if one.shot != other.shot:
            continue
        shared, rows, other_rows = np.intersect1d(
            one.frame_indices, other.frame_indices, assume_unique=True, return_indices=True
        )
        boxes = one.faces.box_px[rows], other.faces.box_px[other_rows]
        measured = one.faces.measured[rows], other.faces.measured[other_rows]
        shares = overlaps(*boxes)
        for first, last in spans_of(shared[shares > _TOUCHING]):
            run = slice(*np.searchsorted(shared, (first, last + 1)))
            crossing = np.flatnonzero(shares[run] >= _CROSSING) + run.start
            if not len(crossing):
                continue
            seen = [
                (int(own[crossing].sum()), _widths(box[crossing])) for own, box in zip(measured, boxes, strict=True)
            ]
            # The one that was seen in more of the frames is in front; of two that were seen as often, the larger.
            (front, places), behind = ((one, rows), other) if seen[0] >= seen[1] else ((other, other_rows), one)
            landmarks_px = front.faces.landmarks_px[places[run]]
            found.append(_Crossing(behind.id, shared[run], shares[run], landmarks_px))
    return found


def _widths(box_px: Array) -> float:
    """The sum over boxes (N, 4)."""
    return float(sum((box_px[:, 2] - box_px[:, 0]).tolist()))


def _behind(track: Track, crossings: Sequence[_Crossing]) -> tuple[Array, tuple[tuple[Array, ...], ...]]:
    """Where the face is hidden, bool (T,), and who is in front of it in each frame."""
    hidden = np.zeros(len(track.faces), bool)
    in_front: list[tuple[Array, ...]] = [()] * len(track.faces)
    for crossing in crossings:
        if crossing.behind != track.id:
            continue
        places = np.searchsorted(track.frame_indices, crossing.frame_indices)
        unseen = ~track.faces.measured[places]
        hidden[places] |= (crossing.overlaps > _HIDDEN) | ((crossing.overlaps >= _CROSSING) & unseen)
        for place, landmarks_px in zip(places.tolist(), crossing.landmarks_px, strict=True):
            in_front[place] += (landmarks_px,)
    return hidden, tuple(in_front)


def _absent_beside(track: Track, analysis: Analysis) -> list[int]:
    """The frames next to the track's own, within its shot, in which the face is not there.

    A track that another one continues, as after a split by hand, does not end there.
    """
    shot = analysis.shots[track.shot]
    indices = track.frame_indices
    absent = [index + 1 for index, after in pairwise(indices) if after > index + 1]
    for end, step, inside in ((0, -1, indices[0] > shot.start), (-1, 1, indices[-1] + 1 < shot.stop)):
        beside = indices[end] + step
        others = (other for other in analysis.tracks if other is not track)
        if inside and not _goes_on(track.faces[end], beside, others):
            absent.append(beside)
    return absent


def _goes_on(face: Face, index: int, others: Iterable[Track]) -> bool:
    for other in others:
        if index in (other.frame_indices[0], other.frame_indices[-1]):
            beside = other.faces[0 if index == other.frame_indices[0] else -1]
            if overlap(face.box_px, beside.box_px) > _CONTINUED:
                return True
    return False


def _faded(indices: Array, gone: Array, fade_frames: int) -> Array:
    """float64 (T,): 0 in the frames that are `gone`, rising by equal steps with the distance from them."""
    if not len(gone):
        return np.ones(len(indices))
    gone = np.sort(gone)
    after = np.searchsorted(gone, indices)
    before, later = gone[np.maximum(after - 1, 0)], gone[np.minimum(after, len(gone) - 1)]
    distance = np.minimum(np.abs(indices - before), np.abs(indices - later))
    return np.asarray(np.clip(distance / (fade_frames + 1), 0, 1))


def _pose_strength(track: Track, reach_deg: tuple[float, float] | None, views: Sequence[Face]) -> Array:
    """float64 (T,): 1 near one of the views, 0 beyond their reach, without a corner in between."""
    if reach_deg is None or not views:
        return np.ones(len(track.faces))
    poses = np.column_stack([track.faces.yaw_deg, track.faces.pitch_deg])
    known = np.array([(face.yaw_deg, face.pitch_deg) for face in views])
    away = np.linalg.norm((poses[:, None] - known) * (1.0, _PITCH_WEIGHT), axis=2).min(axis=1)
    part = np.clip((reach_deg[1] - away) / (reach_deg[1] - reach_deg[0]), 0, 1)
    return np.asarray(part * part * (3 - 2 * part))

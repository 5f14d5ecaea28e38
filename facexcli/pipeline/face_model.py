"""What each track's face looks like when nothing is in front of it, learnt from a few of its frames before rendering.

A frame is then judged by itself and by what was learnt, so that frames can be painted in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.fusion.expectation import (
    SIDE_PX,
    Comparison,
    Expectation,
    compare,
    median_and_certainty,
    rgb_of,
    soft_ycrcb,
)
from facexcli.fusion.mask import face_outline, face_unit_px, fill
from facexcli.fusion.novelty import novelty, trust
from facexcli.fusion.occlusion import bare_mask
from facexcli.fusion.skin import fit_skin
from facexcli.geometry.warp import ThinPlate, warp_image
from facexcli.media.scan import frames_at
from facexcli.media.table import frame_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from facexcli.pipeline.painter import CropShape
    from facexcli.pipeline.placing import FacesByFrame
    from facexcli.types import Array, Crop, MediaInfo

SAMPLES = 28
LEAST_SAMPLES = 9
"""Below so many frames a median says little: the colours of the single frame have to do."""
_STRIDE = 4
"""Frames from one sample to the next after a key frame of a long track: neighbours show the same."""
_SMOOTHING = 1e-3
_RIM = np.array([(0, 0), (0.5, 0), (1, 0), (0, 0.5), (1, 0.5), (0, 1), (0.5, 1), (1, 1)]) * (SIDE_PX - 1)
_STEADY = np.where(np.arange(68) >= 48, 0.3, np.where(np.arange(68) < 17, 0.4, 1.0))
"""How much each landmark says of where the head is: the mouth and the outline say less."""
_STRAYING = 0.03
"""Face units by which a landmark may stray before it loses its say."""
_TURNING = np.r_[0:3, 14:17, 17, 21:23, 26:36, 36, 39, 42, 45]
"""Landmarks that move in the aligned crop when the head turns, and hardly with the mouth."""
_TURNED, _TURNING_RANGE = 0.15, 0.04
"""Face units, root mean square, from which on a pose is unknown; a hand that confuses the landmarks stays below."""
_REVEALED = 0.7
"""When so much of what is strange lies where the face is usually covered, it is the face itself that is seen there."""


@dataclass(frozen=True, slots=True)
class FaceModel:
    """The expected face of a track, and its landmarks float64 (68, 2) in the expectation's pixels."""

    expectation: Expectation
    landmarks_px: Array

    def covered(self, crop: Crop) -> Array:
        """Where something is in front of the face: float32 (N, N) in 0..1, the whole crop at N = `SIDE_PX`."""
        view, landmarks = soft_ycrcb(crop.rgb), _scaled(crop)
        comparison = compare(self.expectation, view, _thin_plate_map(self.landmarks_px, landmarks))
        new = novelty(view, comparison.deviation, landmarks)
        if not np.any((new > 0.5) & (comparison.inside > 0.5)):
            return np.asarray(comparison.covered)
        # An occluder pulls landmarks away; where the head as a whole is, most of them still know.
        rigid = compare(self.expectation, view, self._rigid_map(landmarks))
        comparison = replace(comparison, deviation=np.minimum(comparison.deviation, rigid.deviation))
        new = novelty(view, comparison.deviation, landmarks)
        sure = np.float32(min(trust(comparison), self._familiarity(landmarks)))
        return self._judged(crop, new, comparison, sure)

    def _familiarity(self, landmarks: Array) -> float:
        """0..1: 0 for a head that is turned quite otherwise than in most of the frames."""
        off = (landmarks - self.landmarks_px)[_TURNING] / face_unit_px(self.landmarks_px)
        return float(np.clip((_TURNED - np.sqrt((off * off).sum(axis=1).mean())) / _TURNING_RANGE, 0, 1))

    def _judged(self, crop: Crop, new: Array, comparison: Comparison, sure: np.float32) -> Array:
        """`new`: what deviates. `sure`: 0..1, how far to rely on it. float32 (N, N), what covers the face."""
        usual = comparison.covered
        strange = (new > 0.5) & (comparison.inside > 0.5)
        revealed = np.count_nonzero(strange & (usual > 0.5)) > _REVEALED * max(1.0, float(np.count_nonzero(strange)))
        known = np.maximum(new, usual)
        if sure == 1 and not revealed:
            return known
        # The expectation knows nothing of this face, or what usually covers it has gone: the frame's colours decide.
        by_colour = 1 - bare_mask(crop.rgb, crop.landmarks_px, fit_skin(crop.rgb, crop.landmarks_px), SIDE_PX)
        if revealed:
            known = np.where(new > 0.5, np.minimum(known, by_colour), known)
        return np.asarray(sure * known + (1 - sure) * by_colour, np.float32)

    def _rigid_map(self, landmarks: Array) -> Array:
        """By the affine map that most landmarks agree on."""
        expected = np.column_stack([self.landmarks_px, np.ones(68)])
        weight, unit = _STEADY.copy(), np.ptp(self.landmarks_px[36:46, 0])
        for _ in range(5):
            weighted = (expected * weight[:, None]).T
            matrix = np.linalg.solve(weighted @ expected, weighted @ landmarks)
            off = np.linalg.norm(expected @ matrix - landmarks, axis=1) / (unit * _STRAYING)
            weight = _STEADY / (1 + off * off)
        inverse = np.linalg.inv(np.column_stack([matrix, (0, 0, 1)]))[:, :2].astype(np.float32)
        return np.asarray(cv2.transform(_PIXELS, np.ascontiguousarray(inverse.T)), np.float32)


_PIXELS = np.stack(np.meshgrid(np.arange(SIDE_PX), np.arange(SIDE_PX)), axis=-1).astype(np.float32)


def learn_face_models(info: MediaInfo, faces: FacesByFrame, shape: CropShape) -> dict[int, FaceModel]:
    """A model for each track that is long enough, by track id. Reads at most `SAMPLES` frames a track.

    Raises as `frames_at` does.
    """
    wanted = sample_indices(info.path, info, {own.track.id: own.frame_indices for own in faces.tracks})
    samples: dict[int, list[tuple[Array, Array]]] = {}
    for frame in frames_at(info.path, sorted({index for indices in wanted.values() for index in indices})):
        for placed in faces.get(frame.index, ()):
            if frame.index in wanted.get(placed.track_id, ()):
                crop = shape.cut(frame, placed)
                samples.setdefault(placed.track_id, []).append((soft_ycrcb(crop.rgb), _scaled(crop)))
    return {track_id: learn_face(views) for track_id, views in samples.items()}


def sample_indices(path: Path, info: MediaInfo, frames: Mapping[int, Array]) -> dict[int, frozenset[int]]:
    """Which frames to look at: evenly over a short track; of a long one such that little has to be decoded.

    frames: by track, int (N,), ascending.
    """
    is_long = any(len(indices) > SAMPLES * _STRIDE for indices in frames.values())
    table = frame_table(path, info) if is_long and info.kind == "video" else None
    key_frames = [index for pts in table.keyframe_pts if (index := table.index_of(pts)) is not None] if table else []
    chosen: dict[int, frozenset[int]] = {}
    for track_id, indices in frames.items():
        if len(indices) < LEAST_SAMPLES:
            continue
        places = _even(len(indices))
        if len(indices) > SAMPLES * _STRIDE:
            starts = sorted({0, *np.flatnonzero(np.isin(indices, key_frames)).tolist()})
            places = _bursts([starts[place] for place in _even(len(starts))], len(indices))
        chosen[track_id] = frozenset(indices[places].tolist())
    return chosen


def _even(count: int) -> list[int]:
    """At most `SAMPLES` of `count` places, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, SAMPLES)).tolist()})


def _bursts(starts: list[int], count: int) -> list[int]:
    """A few places after each of `starts`, where decoding is cheap."""
    each = -(-SAMPLES // len(starts))
    places = {start + step * _STRIDE for start in starts for step in range(each)}
    return sorted(place for place in places if place < count)[:SAMPLES]


def learn_face(samples: Iterable[tuple[Array, Array]]) -> FaceModel:
    """The model of a face from views, as `soft_ycrcb` makes them, and their landmarks (68, 2) in the views' pixels."""
    views, points = zip(*samples, strict=True)
    landmarks = np.median(np.stack(points), axis=0)
    aligned = [warp_image(view, _thin_plate_map(own, landmarks)) for view, own in zip(views, points, strict=True)]
    middle, certainty = median_and_certainty(np.stack(aligned))
    inside = fill(face_outline(landmarks), SIDE_PX).astype(np.float32) / 255
    rgb = rgb_of(middle)
    covered = 1 - bare_mask(rgb, landmarks, fit_skin(rgb, landmarks), SIDE_PX)
    return FaceModel(Expectation(middle, certainty, inside, covered), landmarks)


def _scaled(crop: Crop) -> Array:
    """The landmarks in pixels of the view."""
    return (np.asarray(crop.landmarks_px, np.float64) + 0.5) * (SIDE_PX / crop.size_px) - 0.5


def _thin_plate_map(source_px: Array, destination_px: Array) -> Array:
    """For each pixel of the destination its place in the source, float32 (N, N, 2)."""
    spline = ThinPlate(np.vstack([destination_px, _RIM]), _SMOOTHING)
    return spline.map(np.vstack([source_px, _RIM]), SIDE_PX)

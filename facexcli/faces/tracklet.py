"""One face while it is being followed: its history, how far it can be trusted, and a few pictures to know it by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from facexcli.affine import transform_points
from facexcli.faces.align import fit_similarity
from facexcli.faces.embed import mean_embedding
from facexcli.faces.history import History
from facexcli.faces.shape import FOLLOW_WEIGHTS, MEAN_SHAPE
from facexcli.types import Faces, Track

if TYPE_CHECKING:
    from facexcli.faces.base import Analyzer, Fit
    from facexcli.faces.history import Observation
    from facexcli.types import Array, Box

_SURE_SPREAD = 0.024
_DETECTED_SPREAD = 0.033
_WORST_SPREAD = 0.05
_CHIP_MARGIN = 0.35
_SAMPLE_COUNT = 6
_EMBED_COUNT = 3
_SHORT_FRAMES = 50


def is_face(spread: float, confidence: float, detected: bool = False) -> bool:
    """Whether landmarks that disagree by `spread` lie on a picture that looks like a face with `confidence`.

    Measured on 16 clips: real faces stay below a spread of 0.022 (0.033 in fast motion) and above a confidence of -0.5;
    places without a face start at a spread of 0.028 and have a confidence of -1. A place that a detector has just
    proposed gets the benefit of the doubt; full profiles, whose landmarks mean nothing, start at 0.038.
    """
    if confidence >= 0:
        return spread < _WORST_SPREAD
    return spread < (_DETECTED_SPREAD if detected else _SURE_SPREAD) and confidence > -0.9


def face_box(landmarks_px: Array, aspect: float = 1.0) -> Box:
    """The detector's box for these landmarks: a square in square pixels, upright, from brows to chin.

    aspect: square pixels per pixel of the landmarks along x.
    """
    points = np.asarray(landmarks_px, np.float64) * (aspect, 1.0)
    unit_from_points = fit_similarity(points, MEAN_SHAPE, FOLLOW_WEIGHTS)
    points_from_unit = np.linalg.inv(unit_from_points)
    x, y = transform_points(points_from_unit, np.array([0.5, 0.5]))
    half = float(np.sqrt(np.linalg.det(points_from_unit[:2, :2]))) / 2
    return (float(x - half) / aspect, float(y - half), float(x + half) / aspect, float(y + half))


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0..1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def overlaps(a: Array, b: Array) -> Array:
    """`overlap` of boxes (N, 4), pair by pair: float64 (N,)."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    both = np.where((sides > 0).all(axis=1), sides[:, 0] * sides[:, 1], 0.0)
    areas = [(box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) for box in (a, b)]
    return np.asarray(both / (areas[0] + areas[1] - both))


@dataclass(frozen=True, slots=True)
class Sample:
    """A small picture of the face with the landmarks in it, and how well it shows who it is."""

    index: int
    quality: float
    rgb: Array
    landmarks_px: Array


@dataclass(eq=False)
class Tracklet:
    """The mutable state of one followed face. `landmarks` are those of the last frame, in pixels of the small image.

    Memory: a packed history, at most 6 samples of a face's size.
    """

    id: int
    shot: int
    landmarks: Array
    history: History = field(default_factory=History)
    samples: list[Sample] = field(default_factory=list)
    embedding: Array | None = None
    stride: int = 1
    crowded: bool = False

    @property
    def box(self) -> Box:
        return face_box(self.landmarks)

    @property
    def last_index(self) -> int:
        return self.history[-1].index

    def add(self, observation: Observation, landmarks_small: Array) -> None:
        self.history.extend([observation])
        self.landmarks = landmarks_small

    def consider_sample(self, index: int, rgb_small: Array, fit: Fit) -> None:
        """Keep a picture if it is the best of its stretch of time; stretches double as the list fills.

        While another face is close nothing is kept, because it might be the other face.
        """
        if self.crowded:
            return
        slot = index // self.stride
        quality = _quality(fit)
        same = [k for k, sample in enumerate(self.samples) if sample.index // self.stride == slot]
        if same and self.samples[same[0]].quality >= quality:
            return
        sample = _sample(index, quality, rgb_small, fit.landmarks_px)
        if same:
            self.samples[same[0]] = sample
        else:
            self.samples.append(sample)
        while len(self.samples) > _SAMPLE_COUNT:
            self.stride *= 2
            best: dict[int, Sample] = {}
            for item in self.samples:
                key = item.index // self.stride
                if key not in best or best[key].quality < item.quality:
                    best[key] = item
            self.samples = list(best.values())

    def identify(self, analyzer: Analyzer) -> Array | None:
        """The mean embedding of the best samples, unit float32 (D,), computed once; None without samples."""
        if self.embedding is None and self.samples:
            count = _EMBED_COUNT - int(len(self.history) < _SHORT_FRAMES)
            best = sorted(self.samples, key=lambda sample: -sample.quality)[:count]
            self.embedding = mean_embedding([analyzer.embed(sample.rgb, sample.landmarks_px) for sample in best])
        return self.embedding

    def forget_pictures(self) -> None:
        self.samples = []

    def to_track(self, track_id: int, max_gap: int, aspect: float) -> Track:
        """The finished track; gaps of at most `max_gap` frames are filled with interpolated faces.

        It takes over the memory of the history: nothing can be added to this tracklet afterwards.
        """
        self.history.bridge(max_gap)
        indices, landmarks, scores, measured = self.history.columns()
        boxes = np.fromiter((face_box(points, aspect) for points in landmarks), (np.float64, 4), len(landmarks))
        faces = Faces.at(boxes, landmarks, score=scores, measured=measured)
        return Track(track_id, self.shot, indices.tolist(), faces, self.embedding)


def _quality(fit: Fit) -> float:
    """Larger for large, frontal, surely fitted faces: width of the box times symmetry over spread."""
    points = np.asarray(fit.landmarks_px, np.float64)
    middle = points[27]
    left, right = float(np.linalg.norm(points[0] - middle)), float(np.linalg.norm(points[16] - middle))
    symmetry = min(left, right) / max(left, right, 1e-6)
    x0, _, x1, _ = face_box(points)
    return float((x1 - x0) * symmetry / (fit.spread + 0.01))


def _sample(index: int, quality: float, rgb_small: Array, landmarks_px: Array) -> Sample:
    height, width = rgb_small.shape[:2]
    low, high = landmarks_px.min(axis=0), landmarks_px.max(axis=0)
    margin = _CHIP_MARGIN * float((high - low).max())
    x0, y0 = np.clip(np.floor(low - margin).astype(int), 0, (width - 1, height - 1))
    x1, y1 = np.clip(np.ceil(high + margin).astype(int) + 1, (x0 + 1, y0 + 1), (width, height))
    return Sample(index, quality, rgb_small[y0:y1, x0:x1].copy(), landmarks_px - np.array([x0, y0], np.float32))

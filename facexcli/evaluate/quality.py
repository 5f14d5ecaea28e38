"""How good a swap or a reenactment is: measured on the files, by looking at every frame afresh.

Nothing that the run knew is used: faces are detected in each frame of the result and of the canvas (or the driving
video) independently. Identity is judged by dlib's raw 128-d descriptor, the one embedded judge; its authors call two
pictures nearer than 0.6 the same person.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facexcli.errors import NoFaceError
from facexcli.evaluate.measures import eye_opening, landmark_error, mouth_opening, pearson
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.embed import identity_distance
from facexcli.faces.source import find_source_face
from facexcli.geometry.model3d import fit_poses
from facexcli.media.color import rgb_roi
from facexcli.media.image import read_image
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facexcli.types import Array

DESCRIPTOR_EVERY = 5
"""The descriptor costs ten times the landmarks, and changes slowly."""


@dataclass(frozen=True, slots=True)
class FaceRecord:
    """What a judge sees in a clip: landmarks_px float32 (T, 68, 2), NaN without a face, and descriptors by frame."""

    landmarks_px: Array
    descriptors: dict[int, Array]

    @property
    def found(self) -> Array:
        """bool (T,)."""
        return np.isfinite(self.landmarks_px[:, 0, 0])


@dataclass(frozen=True, slots=True)
class SwapQuality:
    """One swap against its source and its canvas.

    found_share: frames of the result in which a face is found, of those in which the canvas shows one. Distances are
    dlib's; landmark_error is in outer-eye-corner distances; correlations are over time.
    """

    frames: int
    found_share: float
    distance_to_source: float
    distance_to_canvas: float
    distance_deviation: float
    landmark_error: float
    eye_correlation: float
    mouth_correlation: float


@dataclass(frozen=True, slots=True)
class ReenactQuality:
    """One reenactment against its source and its driving video; the numbers are as in `SwapQuality`."""

    frames: int
    found_share: float
    distance_to_source: float
    mouth_correlation: float
    eye_correlation: float
    yaw_correlation: float
    pitch_correlation: float
    roll_correlation: float
    yaw_range_deg: float
    pitch_range_deg: float
    roll_range_deg: float


class Judge:
    """Looks at files with dlib's detector, 68 landmarks and descriptor, and remembers what it saw."""

    def __init__(self) -> None:
        self._analyzer = DlibAnalyzer()
        self._clips: dict[Path, FaceRecord] = {}
        self._stills: dict[Path, Array] = {}

    def swap(self, result: Path, canvas: Path, source: Path) -> SwapQuality:
        """Raises NoFaceError when no frame shows a face in both clips."""
        seen, reference = self.look(result), self.clip(canvas)
        both = _common(seen, reference, result)
        to_source = self._distances(seen, self.still(source))
        to_canvas = [
            identity_distance(seen.descriptors[i], reference.descriptors[i])
            for i in seen.descriptors.keys() & reference.descriptors.keys()
        ]
        errors = [landmark_error(seen.landmarks_px[i], reference.landmarks_px[i]) for i in both]
        return SwapQuality(
            frames=len(seen.found),
            found_share=len(both) / max(1, int(reference.found.sum())),
            distance_to_source=float(np.mean(to_source)),
            distance_to_canvas=float(np.mean(to_canvas)),
            distance_deviation=float(np.std(to_source)),
            landmark_error=float(np.mean(errors)),
            eye_correlation=_correlation(seen, reference, both, eye_opening),
            mouth_correlation=_correlation(seen, reference, both, mouth_opening),
        )

    def reenact(self, result: Path, source: Path, driving: Path) -> ReenactQuality:
        """Raises NoFaceError when no frame shows a face in both clips."""
        seen, reference = self.look(result), self.clip(driving)
        both = _common(seen, reference, result)
        angles = [_angles(record.landmarks_px[both]) for record in (seen, reference)]
        yaw, pitch, roll = (pearson(angles[0][:, axis], angles[1][:, axis]) for axis in range(3))
        ranges = np.ptp(angles[1], axis=0)
        return ReenactQuality(
            frames=len(seen.found),
            found_share=len(both) / max(1, int(reference.found.sum())),
            distance_to_source=float(np.mean(self._distances(seen, self.still(source)))),
            mouth_correlation=_correlation(seen, reference, both, mouth_opening),
            eye_correlation=_correlation(seen, reference, both, eye_opening),
            yaw_correlation=yaw,
            pitch_correlation=pitch,
            roll_correlation=roll,
            yaw_range_deg=float(ranges[0]),
            pitch_range_deg=float(ranges[1]),
            roll_range_deg=float(ranges[2]),
        )

    def repeatability(self, re_encoded: Path, canvas: Path) -> tuple[float, float]:
        """Correlations of eye and mouth opening of a clip with itself after an encoder: the most that can be seen."""
        seen, reference = self.look(re_encoded), self.clip(canvas)
        both = _common(seen, reference, re_encoded)
        return (
            _correlation(seen, reference, both, eye_opening),
            _correlation(seen, reference, both, mouth_opening),
        )

    def clip(self, path: Path) -> FaceRecord:
        """As `look`, remembered."""
        if path not in self._clips:
            self._clips[path] = self.look(path)
        return self._clips[path]

    def still(self, path: Path) -> Array:
        """The descriptor of a still, remembered."""
        if path not in self._stills:
            rgb = read_image(path)
            self._stills[path] = self._analyzer.descriptor(rgb, find_source_face(rgb, self._analyzer).landmarks_px)
        return self._stills[path]

    def look(self, path: Path) -> FaceRecord:
        """Detect the surest face in every frame, each by itself."""
        landmarks, descriptors = [], {}
        for index, rgb in enumerate(_frames(path)):
            detections = self._analyzer.detect(rgb)
            if not detections:
                landmarks.append(np.full((68, 2), np.nan, np.float32))
                continue
            landmarks.append(self._analyzer.landmarks(rgb, detections[0].box_px).landmarks_px)
            if index % DESCRIPTOR_EVERY == 0:
                descriptors[index] = self._analyzer.descriptor(rgb, landmarks[-1])
        return FaceRecord(np.stack(landmarks), descriptors)

    def _distances(self, seen: FaceRecord, still: Array) -> list[float]:
        return [identity_distance(descriptor, still) for descriptor in seen.descriptors.values()]


def _frames(path: Path) -> Iterator[Array]:
    info = probe(path)
    with FrameReader(path, info) as reader:
        for frame in reader:
            yield rgb_roi(frame, (0, 0, info.display_width_px, info.display_height_px))


def _common(seen: FaceRecord, reference: FaceRecord, path: Path) -> Array:
    """Indices of the frames in which both show a face."""
    count = min(len(seen.found), len(reference.found))
    both = np.flatnonzero(seen.found[:count] & reference.found[:count])
    if not len(both) or not seen.descriptors:
        raise NoFaceError(f"{path}: no face to judge")
    return both


def _correlation(seen: FaceRecord, reference: FaceRecord, both: Array, measure: Callable[[Array], float]) -> float:
    series = [[measure(record.landmarks_px[i]) for i in both] for record in (seen, reference)]
    return pearson(np.array(series[0]), np.array(series[1]))


def _angles(landmarks_px: Array) -> Array:
    return np.array([(pose.yaw_deg, pose.pitch_deg, pose.roll_deg) for pose in fit_poses(landmarks_px)])

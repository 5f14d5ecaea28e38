"""The second pass of an evaluation: result and reference side by side, one frame at a time, measured at the pixels."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.affine import crop_box
from facexcli.errors import InputError
from facexcli.evaluate.metrics.change import change_of, seam_of
from facexcli.evaluate.metrics.flicker import FlickerMeter
from facexcli.evaluate.metrics.identity import distance, similarity
from facexcli.evaluate.metrics.regions import RegionMeter, label_regions
from facexcli.evaluate.metrics.view import VIEW_PX, Window, cut, neighbourhood, window_of
from facexcli.fusion.mask import face_outline
from facexcli.media.color import rgb_roi
from facexcli.media.reader import FrameReader
from facexcli.pipeline.analyse import FrameRange, StageProgress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facexcli.evaluate.metrics.flicker import Flicker
    from facexcli.evaluate.metrics.identity import IdentityJudge, Portrayal
    from facexcli.evaluate.sightings import Subject
    from facexcli.events import Reporter
    from facexcli.types import Array, Frame, MediaInfo

EVERY = 5
"""Identity and the seam are judged in every so many frames: they cost ten times the rest, and change slowly."""
_CANVAS_EVERY = 15
WHOLE_FRAMES = 30
"""So many whole frames are compared at most, spread over the clip."""


@dataclass(slots=True)
class Trace:
    """What is measured on one person: float64 (N,) each, NaN where not measured; see `PersonSeries` and `Change`."""

    length: int
    values: dict[str, Array] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        return self.values.setdefault(name, np.full(self.length, np.nan))

    def note_flicker(self, suffix: str, row: int, flicker: Flicker) -> None:
        self["flicker" + suffix][row], self["broad_flicker" + suffix][row] = flicker.all, flicker.broad


@dataclass(frozen=True, slots=True)
class Walked:
    """All of the second pass. `regions`: elsewhere, then for each subject the ground beside and inside the face."""

    times_s: Array
    traces: tuple[Trace, ...]
    regions: RegionMeter
    portrayals: tuple[list[Portrayal], ...]


class Walker:
    """Walks once through the files of one evaluation.

    Args:
        result, reference: what is compared; the reference is the canvas, or the driving video of a reenactment.
        part: of the reference.
        subjects: who is measured.
        sources: of each subject who it should be.
        same_pictures: whether the result shows the reference's own pictures: a swap, and not a reenactment.
    """

    def __init__(
        self,
        result: MediaInfo,
        reference: MediaInfo,
        part: FrameRange,
        subjects: Sequence[Subject],
        sources: Sequence[Portrayal],
        judge: IdentityJudge,
        *,
        same_pictures: bool,
    ) -> None:
        self._result, self._reference, self._part = result, reference, part
        self._subjects, self._sources, self._judge = subjects, sources, judge
        self._same_pictures = same_pictures
        self._traces = tuple(Trace(len(subject.reference.frames)) for subject in subjects)
        self._rows = [{int(f): row for row, f in enumerate(s.reference.frames)} for s in subjects]
        self._meters = [(FlickerMeter(), FlickerMeter()) for _ in subjects]
        self._canvas_seen: dict[int, tuple[int, int, Portrayal]] = {}
        self._regions = RegionMeter(1 + 2 * len(subjects))
        self._portrayals: tuple[list[Portrayal], ...] = tuple([] for _ in subjects)

    def walk(self, frame_count: int, reporter: Reporter) -> Walked:
        """Raises InputError where the frames do not belong together."""
        progress = StageProgress(reporter, "measure", frame_count)
        whole_every = max(EVERY, -(-frame_count // WHOLE_FRAMES))
        times_s = []
        for index, (shown, beside) in enumerate(self._pairs()):
            times_s.append(float(shown.time_s))
            for who in range(len(self._subjects)):
                if index in self._rows[who]:
                    self._measure(who, self._rows[who][index], index, shown, beside)
            if self._same_pictures and index % whole_every == 0:
                self._compare_whole(index, shown, beside)
            progress.advance()
        progress.finish()
        return Walked(np.array(times_s) - times_s[0], self._traces, self._regions, self._portrayals)

    def _pairs(self) -> Iterator[tuple[Frame, Frame]]:
        tolerance_s = 1 / (self._reference.frame_rate or 25)
        with ExitStack() as stack:
            shown = stack.enter_context(FrameReader(self._result.path, self._result))
            beside = stack.enter_context(
                FrameReader(self._reference.path, self._reference, start=self._part.start, stop=self._part.stop)
            )
            starts = None
            for one, other in zip_longest(shown, beside):
                if one is None:
                    return  # a reenactment ends with the shorter of two videos
                if other is None:
                    raise InputError(f"{self._result.path} has more frames than {self._reference.path}")
                starts = starts or (one.time_s, other.time_s)
                if abs((one.time_s - starts[0]) - (other.time_s - starts[1])) > tolerance_s:
                    raise InputError(
                        f"{self._result.path}: frame {one.index} is shown at another time than in "
                        f"{self._reference.path}",
                        "compare a result with the video that it was made from; give --trim where one was used",
                    )
                yield one, other

    def _measure(self, who: int, row: int, index: int, shown: Frame, beside: Frame) -> None:
        subject, trace = self._subjects[who], self._traces[who]
        if self._same_pictures:
            self._measure_pictures(who, row, index, shown, beside)
        else:
            self._measure_motion(who, row, index, shown, beside)
        if subject.is_found[row] and (row % EVERY == 0 or trace.length < EVERY):
            self._judge_identity(who, row, shown, beside)

    def _measure_pictures(self, who: int, row: int, index: int, shown: Frame, beside: Frame) -> None:
        """Both films show the same face at the same place."""
        reference, trace = self._subjects[who].reference, self._traces[who]
        window = window_of(reference.steady_px[row], float(self._reference.display_aspect_ratio))
        result, canvas = (self._cut(frame, window) for frame in (shown, beside))
        change = change_of(result, canvas, window.landmarks_px)
        trace["change"][row], trace["noise"][row] = change.face, change.noise
        segment = int(reference.segment[row])
        flickers = self._meters[who][0].feed(index, segment, window.landmarks_px, (result, canvas))
        for suffix, flicker in zip(("", "_reference"), flickers, strict=True):
            trace.note_flicker(suffix, row, flicker)
        if row % EVERY == 0:
            trace["seam"][row] = seam_of(result, canvas, window.landmarks_px)

    def _measure_motion(self, who: int, row: int, index: int, shown: Frame, beside: Frame) -> None:
        """Each film by its own landmarks, because the faces are at different places and of different people."""
        subject, trace = self._subjects[who], self._traces[who]
        segment = int(subject.reference.segment[row])
        for suffix, meter, frame, info, landmarks in (
            ("", self._meters[who][0], shown, self._result, subject.found_steady_px[row]),
            ("_reference", self._meters[who][1], beside, self._reference, subject.reference.steady_px[row]),
        ):
            if np.isfinite(landmarks).all():
                window = window_of(landmarks, float(info.display_aspect_ratio))
                view = cut(frame, (info.display_width_px, info.display_height_px), window)
                trace.note_flicker(suffix, row, *meter.feed(index, segment, window.landmarks_px, (view,)))

    def _judge_identity(self, who: int, row: int, shown: Frame, beside: Frame) -> None:
        subject, trace, source = self._subjects[who], self._traces[who], self._sources[who]
        seen = self._portray(shown, self._result, subject.found_px[row])
        self._portrayals[who].append(seen)
        trace["identity_similarity"][row] = similarity(seen, source)
        trace["identity_distance"][row] = distance(seen, source)
        if self._same_pictures:
            own = self._canvas_portrayal(who, row, beside)
            trace["canvas_distance"][row] = distance(seen, own)
            trace["source_canvas_distance"][row] = distance(source, own)

    def _canvas_portrayal(self, who: int, row: int, beside: Frame) -> Portrayal:
        """Who is in the canvas, which need not be asked as often: it is one person as long as it is one track."""
        reference = self._subjects[who].reference
        segment, since, portrayal = self._canvas_seen.get(who, (None, 0, None))
        if portrayal is None or segment != reference.segment[row] or row - since >= _CANVAS_EVERY:
            portrayal = self._portray(beside, self._reference, reference.landmarks_px[row])
            self._canvas_seen[who] = int(reference.segment[row]), row, portrayal
        return portrayal

    def _portray(self, frame: Frame, info: MediaInfo, landmarks_px: Array) -> Portrayal:
        aspect = float(info.display_aspect_ratio)
        size = (info.display_width_px, info.display_height_px)
        window = window_of(landmarks_px, aspect)
        x0, y0, x1, y1 = crop_box(window.view_from_frame, VIEW_PX, size)
        rgb = rgb_roi(frame, (x0, y0, x1, y1))
        points = np.asarray(landmarks_px, np.float64) - (x0, y0)
        if aspect != 1:
            width = max(1, round(rgb.shape[1] * aspect))
            points[:, 0] = (points[:, 0] + 0.5) * width / rgb.shape[1] - 0.5
            rgb = cv2.resize(rgb, (width, rgb.shape[0]), interpolation=cv2.INTER_LINEAR)
        return self._judge.portray(rgb, points)

    def _cut(self, frame: Frame, window: Window) -> Array:
        return cut(frame, (self._reference.display_width_px, self._reference.display_height_px), window)

    def _compare_whole(self, index: int, shown: Frame, beside: Frame) -> None:
        size = (self._reference.display_width_px, self._reference.display_height_px)
        outlines: dict[int, Array] = {}
        for who, subject in enumerate(self._subjects):
            if index in self._rows[who]:
                landmarks = subject.reference.steady_px[self._rows[who][index]]
                outlines[1 + 2 * who] = neighbourhood(landmarks)
                outlines[2 + 2 * who] = face_outline(landmarks)
        result, canvas = (rgb_roi(frame, (0, 0, *size)) for frame in (shown, beside))
        self._regions.feed(result, canvas, label_regions(size, outlines))

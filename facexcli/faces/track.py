"""Following every face through a video, one small frame at a time.

A face is detected rarely and followed always: the predictor starts each frame from the last one's landmarks. A full
detection runs on a schedule, after a loss and at cuts; a face that then appears is also followed backwards through the
last few frames, so that it is not missed between two detections.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from facexcli.faces.crowd import Crowd, doubled, pop_separated, settle, stranger, update_crowds
from facexcli.faces.embed import embedding_distance
from facexcli.faces.history import History, Observation
from facexcli.faces.passage import begun_at, has_become_another
from facexcli.faces.relocate import moved_landmarks
from facexcli.faces.tracklet import Tracklet, face_box, is_face, overlap

if TYPE_CHECKING:
    from fractions import Fraction

    from facexcli.faces.base import Analyzer, Detection, Fit
    from facexcli.types import Array, Track

_SAME_FACE_OVERLAP = 0.3
_SUSPICIOUS_SPREAD = 0.015
_MAX_STEP = 0.8
"""Farther than this, in box widths a frame, no head moves."""
_MAX_GROWTH = 1.4
_CONFIDENCE_EVERY = 5
_BACKWARD_FRAMES = 10
_RAREST_THOROUGH_S = 8


class FaceTracker:
    """Feed the frames of a video in order, then `finish`.

    Args:
        analyzer: the perception to use; not closed here.
        frame_rate: of the frames that will be fed.
        redetect_s: time between two full detections while faces are being followed.
        max_gap_s: a face that is lost and found again within this time keeps its track.
    """

    def __init__(
        self, analyzer: Analyzer, frame_rate: Fraction | float, *, redetect_s: float = 0.4, max_gap_s: float = 0.5
    ) -> None:
        self._analyzer = analyzer
        self._redetect_every = max(1, round(float(frame_rate) * redetect_s))
        self._second = max(1, round(float(frame_rate)))
        self._max_gap = max(1, round(float(frame_rate) * max_gap_s))
        self._scale = np.ones(2)
        self._shot_lengths: list[int] = []
        self._next_id = 0
        self._last_detection = -(10**9)
        self._last_thorough = -(10**9)
        self._thorough_every = self._second
        self._live: list[Tracklet] = []
        self._lost: list[Tracklet] = []
        self._ended: list[Tracklet] = []
        self._crowds: list[Crowd] = []
        self._recent: deque[tuple[int, Array]] = deque(maxlen=_BACKWARD_FRAMES)

    def feed(
        self,
        frame_index: int,
        rgb_small: Array,
        frame_from_small: tuple[float, float] | float = 1.0,
        is_cut: bool = False,
    ) -> None:
        """Look at the next frame.

        Args:
            frame_index: ascending.
            rgb_small: uint8 (H, W, 3), display-oriented, in square pixels, usually reduced; kept for a few frames and
                must not be written to afterwards.
            frame_from_small: frame pixels per small pixel along x and y.
            is_cut: a new shot begins with this frame; ends every track.
        """
        self._scale = np.broadcast_to(np.asarray(frame_from_small, np.float64), (2,)).copy()
        if is_cut or not self._shot_lengths:
            self._begin_shot()
        self._shot_lengths[-1] += 1
        self._follow_all(frame_index, rgb_small)
        self._part_crowds(frame_index, rgb_small)
        self._retire(frame_index)
        if self._wants_detection(frame_index):
            self._detect(frame_index, rgb_small)
        self._recent.append((frame_index, rgb_small))

    def dissolved(self, first: int, last: int) -> int | None:
        """The picture was mixed out of two from frame `first` to `last`, both fed; was that a change of shots?

        It was if a face that is followed is another person's now. Then a new shot begins in the middle of the
        crossfade: the tracks end before, new ones begin there, and that frame is returned; else None.
        """
        index, rgb = self._recent[-1]
        if not any(has_become_another(tracklet, first, rgb, self._analyzer) for tracklet in self._live):
            return None
        middle = (first + last + 1) // 2
        parts = [begun_at(tracklet, first, middle, rgb) for tracklet in self._live]
        self._live = [tracklet for tracklet in self._live if tracklet not in parts]
        self._end_all()
        for part in parts:
            if part is not None:
                part.id, self._next_id = self._next_id, self._next_id + 1
                self._live.append(part)
        length = index + 1 - middle
        self._shot_lengths[-1:] = [self._shot_lengths[-1] - length, length]
        return middle

    def finish(self) -> list[Track]:
        """End every track; the tracks of the whole video, numbered in order of appearance."""
        self._end_all()
        aspect = float(self._scale[1] / self._scale[0])
        kept = [item for item in self._ended if len(item.history) >= min(3, self._shot_lengths[item.shot])]
        kept.sort(key=lambda item: (item.history[0].index, item.id))
        return [item.to_track(number, self._max_gap, aspect) for number, item in enumerate(kept)]

    def _begin_shot(self) -> None:
        self._end_all()
        self._recent.clear()
        self._shot_lengths.append(0)
        self._last_detection = self._last_thorough = -(10**9)
        self._thorough_every = self._second

    def _end_all(self) -> None:
        for tracklet in (*self._live, *self._lost):
            self._end(tracklet)
        self._live, self._lost, self._crowds = [], [], []

    def _end(self, tracklet: Tracklet) -> None:
        tracklet.identify(self._analyzer)
        tracklet.forget_pictures()
        self._ended.append(tracklet)

    def _follow_all(self, index: int, rgb: Array) -> None:
        still: list[Tracklet] = []
        for tracklet in self._live:
            fit = self._follow(tracklet, rgb)
            if self._believable(tracklet, fit, index, rgb):
                tracklet.add(self._observation(index, fit), fit.landmarks_px)
                still.append(tracklet)
            else:
                self._lost.append(tracklet)
        self._live = still

    def _follow(self, tracklet: Tracklet, rgb: Array) -> Fit:
        """From the last landmarks; where that ends in doubt, also from where the picture of the face has moved to."""
        fit = self._analyzer.follow(rgb, tracklet.landmarks)
        if fit.spread < _SUSPICIOUS_SPREAD:
            return fit
        moved = moved_landmarks(self._recent[-1][1], rgb, tracklet.landmarks)
        if moved is None:
            return fit
        again = self._analyzer.follow(rgb, self._analyzer.follow(rgb, moved).landmarks_px)
        return min(fit, again, key=lambda item: item.spread)

    def _part_crowds(self, index: int, rgb: Array) -> None:
        """Keep people apart who cross: one face has one track, and leaves a crowd with the person it came in with."""
        while pair := doubled(self._live):
            wrong = stranger(pair, rgb, self._analyzer)
            wrong.history.cut(index - self._crowd_age(wrong, index))
            self._live.remove(wrong)
            self._lost.append(wrong)
        update_crowds(self._crowds, self._live, index)
        for crowd in pop_separated(self._crowds, index):
            settle(crowd, self._live, rgb, self._analyzer)

    def _crowd_age(self, tracklet: Tracklet, index: int) -> int:
        """For how many frames a doubled track has been the other face: since the faces overlapped most, at least 1."""
        return max((index - crowd.peak_index for crowd in self._crowds if tracklet in crowd.members), default=0) + 1

    def _believable(self, tracklet: Tracklet, fit: Fit, index: int, rgb: Array) -> bool:
        if not np.isfinite(fit.landmarks_px).all() or not _plausible_step(tracklet.landmarks, fit.landmarks_px):
            return False
        due = (index - tracklet.history[0].index) % _CONFIDENCE_EVERY == 0
        if not due and fit.spread < _SUSPICIOUS_SPREAD:
            return True
        confidence = self._analyzer.confidence(rgb, fit.landmarks_px)
        if not is_face(fit.spread, confidence):
            return False
        if confidence > 0:
            tracklet.consider_sample(index, rgb, fit)
        return True

    def _observation(self, index: int, fit: Fit, score: float = 0.0) -> Observation:
        in_frame = (fit.landmarks_px + 0.5) * self._scale - 0.5
        return Observation(index, in_frame.astype(np.float32), fit.spread, score)

    def _retire(self, index: int) -> None:
        """End the tracks that were lost for too long."""
        for tracklet in [item for item in self._lost if index - item.last_index > self._max_gap]:
            self._lost.remove(tracklet)
            self._end(tracklet)

    def _wants_detection(self, index: int) -> bool:
        since = index - self._last_detection
        if self._lost:
            return since >= 2 or any(item.last_index == index - 1 for item in self._lost)
        return since >= (self._redetect_every if self._live else max(1, self._redetect_every // 2))

    def _detect(self, index: int, rgb: Array) -> None:
        self._last_detection = index
        thorough = not self._live and index - self._last_thorough >= self._thorough_every
        if thorough:
            # Looking hard at an empty scene is dear, so it happens less and less often.
            self._thorough_every = min(2 * self._thorough_every, _RAREST_THOROUGH_S * self._second)
            self._last_thorough = index
        detections = self._analyzer.detect(rgb, thorough=thorough)
        for detection in self._unclaimed(detections):
            fit = self._analyzer.landmarks(rgb, detection.box_px)
            if any(overlap(face_box(fit.landmarks_px), item.box) > _SAME_FACE_OVERLAP for item in self._live):
                continue
            if is_face(fit.spread, self._analyzer.confidence(rgb, fit.landmarks_px), detected=True):
                self._welcome(index, rgb, fit, detection.score)

    def _unclaimed(self, detections: list[Detection]) -> list[Detection]:
        """The detections that no live track accounts for; the others lend their score to their track."""
        if not detections or not self._live:
            return detections
        shares = np.array([[overlap(d.box_px, item.box) for item in self._live] for d in detections])
        claimed: set[int] = set()
        for row, column in zip(*linear_sum_assignment(-shares), strict=True):
            if shares[row, column] >= _SAME_FACE_OVERLAP:
                claimed.add(int(row))
                self._live[column].history.credit(detections[row].score)
        return [d for row, d in enumerate(detections) if row not in claimed]

    def _welcome(self, index: int, rgb: Array, fit: Fit, score: float) -> None:
        """A face that nobody follows yet: one that was lost, or a new one."""
        observation = self._observation(index, fit, score)
        returning = self._returning(index, rgb, fit)
        if returning is not None:
            self._lost.remove(returning)
            returning.history.extend(self._seen_before(fit.landmarks_px, returning.last_index))
            returning.add(observation, fit.landmarks_px)
            self._live.append(returning)
            return
        history = History([*self._seen_before(fit.landmarks_px), observation])
        tracklet = Tracklet(self._next_id, len(self._shot_lengths) - 1, fit.landmarks_px, history)
        self._next_id += 1
        self._thorough_every = self._second
        tracklet.consider_sample(index, rgb, fit)
        self._live.append(tracklet)

    def _returning(self, index: int, rgb: Array, fit: Fit) -> Tracklet | None:
        """The lost track that this face belongs to, by identity; by place alone where that is beyond doubt."""
        if not self._lost:
            return None
        only = self._lost[0]
        undisputed = not self._live and len(self._lost) == 1 and not only.crowded
        if undisputed and index - only.last_index <= 3 and _plausible_step(only.landmarks, fit.landmarks_px):
            return only
        embedding = self._analyzer.embed(rgb, fit.landmarks_px)
        distances = []
        for item in self._lost:
            known = item.identify(self._analyzer)
            distances.append(2.0 if known is None else embedding_distance(known, embedding))
        best = int(np.argmin(distances))
        return self._lost[best] if distances[best] < self._analyzer.same_person_distance else None

    def _seen_before(self, landmarks: Array, since: int = -1) -> list[Observation]:
        """A face that was just detected, followed back as far as it can be seen, or to the frame after `since`."""
        earlier: list[Observation] = []
        for index, rgb in reversed(self._recent):
            if index <= since:
                break
            fit = self._analyzer.follow(rgb, landmarks)
            if not _plausible_step(landmarks, fit.landmarks_px) or self._taken(index, fit):
                break
            if not is_face(fit.spread, self._analyzer.confidence(rgb, fit.landmarks_px)):
                break
            earlier.append(self._observation(index, fit))
            landmarks = fit.landmarks_px
        return earlier[::-1]

    def _taken(self, index: int, fit: Fit) -> bool:
        """Whether another track has this face in that frame already."""
        box = face_box(self._observation(index, fit).landmarks_px)
        for tracklet in (*self._live, *self._lost, *self._ended):
            for item in tracklet.history.since(index):
                if item.index == index and overlap(face_box(item.landmarks_px), box) > _SAME_FACE_OVERLAP:
                    return True
        return False


def _plausible_step(before_px: Array, after_px: Array) -> bool:
    """Whether a head can move like that from one frame to the next."""
    a, b = face_box(before_px), face_box(after_px)
    width = a[2] - a[0]
    growth = (b[2] - b[0]) / width
    step = float(np.hypot(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3])) / 2
    return step < _MAX_STEP * width and 1 / _MAX_GROWTH < growth < _MAX_GROWTH

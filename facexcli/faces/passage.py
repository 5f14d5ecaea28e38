"""A face that has become another person's while it was followed, because one picture was faded into another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facexcli.faces.base import Fit
from facexcli.faces.embed import embedding_distance
from facexcli.faces.history import History
from facexcli.faces.tracklet import Tracklet

if TYPE_CHECKING:
    from facexcli.faces.base import Analyzer
    from facexcli.types import Array

_ANOTHER_PERSON = 1.15
"""Of the distance below which two faces are one person: mere doubt is no change."""


def has_become_another(tracklet: Tracklet, first: int, rgb: Array, analyzer: Analyzer) -> bool:
    """Whether the face in `rgb`, the frame that was followed last, is not who was followed until frame `first`."""
    before = [sample for sample in tracklet.samples if sample.index <= first]
    if not before:
        return False
    best = max(before, key=lambda sample: sample.quality)
    known = analyzer.embed(best.rgb, best.landmarks_px)
    distance = embedding_distance(known, analyzer.embed(rgb, tracklet.landmarks))
    return distance > _ANOTHER_PERSON * analyzer.same_person_distance


def begun_at(tracklet: Tracklet, first: int, middle: int, rgb: Array) -> Tracklet | None:
    """What a tracklet is from frame `middle` on, in the next shot; the rest stays in `tracklet`.

    That is the tracklet itself where it began later, and None where it has ended. Pictures from the time of the
    mixture, from frame `first` on, are forgotten: they show nobody.
    """
    if tracklet.history[0].index >= middle:
        tracklet.shot, tracklet.crowded = tracklet.shot + 1, False
        return tracklet
    tail = tracklet.history.cut(middle)
    tracklet.samples = [sample for sample in tracklet.samples if sample.index <= first]
    tracklet.embedding = None
    if not tail:
        return None
    part = Tracklet(tracklet.id, tracklet.shot + 1, tracklet.landmarks, History(tail))
    part.consider_sample(tail[-1].index, rgb, Fit(tracklet.landmarks, tail[-1].spread))
    return part

"""People who cross: which face is whose once they are apart again.

While two faces overlap, landmarks may slip from one person to the other. So when they separate, each visible face is
compared with everybody who went in, and histories are re-joined where the overlap was largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from facexcli.faces.embed import embedding_distance
from facexcli.faces.tracklet import overlap

if TYPE_CHECKING:
    from facexcli.faces.base import Analyzer
    from facexcli.faces.tracklet import Tracklet
    from facexcli.types import Array

_NEAR = 0.03
_SAME_FACE = 0.45
_UNKNOWN_DISTANCE = 0.7
_SWAP_MARGIN = 0.05
"""How much nearer the crossed assignment must be; staying is likelier than swapping."""


@dataclass(eq=False)
class Crowd:
    """Tracklets whose faces touch or have touched; `peak_index` is the frame of the largest overlap."""

    members: list[Tracklet]
    peak_overlap: float = 0.0
    peak_index: int = 0
    last_index: int = 0


def update_crowds(crowds: list[Crowd], live: list[Tracklet], index: int) -> None:
    """Note which of the live faces touch in frame `index`."""
    for first, second in combinations(live, 2):
        shared = overlap(first.box, second.box)
        if shared <= _NEAR:
            continue
        crowd = _joined(crowds, first, second)
        crowd.last_index = index
        if shared > crowd.peak_overlap:
            crowd.peak_overlap, crowd.peak_index = shared, index


def pop_separated(crowds: list[Crowd], index: int, calm_frames: int = 3) -> list[Crowd]:
    """Take out the crowds in which no faces have touched for `calm_frames`."""
    apart = [crowd for crowd in crowds if index - crowd.last_index >= calm_frames]
    for crowd in apart:
        crowds.remove(crowd)
    return apart


def doubled(live: list[Tracklet]) -> tuple[Tracklet, Tracklet] | None:
    """Two tracklets that follow one and the same face."""
    for first, second in combinations(live, 2):
        if overlap(first.box, second.box) > _SAME_FACE:
            return first, second
    return None


def stranger(pair: tuple[Tracklet, Tracklet], rgb: Array, analyzer: Analyzer) -> Tracklet:
    """Of two tracklets on one face, the one whose person it is not."""
    embedding = analyzer.embed(rgb, pair[0].landmarks)
    first, second = (_distance(item, embedding, analyzer) for item in pair)
    if first == second:
        return min(pair, key=lambda item: len(item.history))
    return pair[0] if first > second else pair[1]


def settle(crowd: Crowd, live: list[Tracklet], rgb: Array, analyzer: Analyzer) -> None:
    """Give each visible face of a separated crowd to the member it looks like.

    Exchanges the observations since the peak, and the current landmarks, between members that are still followed.
    """
    seen = [member for member in crowd.members if member in live]
    for member in crowd.members:
        member.crowded = False
    if len(seen) < 2:
        return
    embeddings = [analyzer.embed(rgb, member.landmarks) for member in seen]
    costs = np.array([[_distance(member, embedding, analyzer) for embedding in embeddings] for member in seen])
    costs[np.diag_indices(len(seen))] -= _SWAP_MARGIN
    _, faces = linear_sum_assignment(costs)
    tails = [member.history.cut(crowd.peak_index) for member in seen]
    landmarks = [member.landmarks for member in seen]
    for member, face in zip(seen, faces, strict=True):
        member.history.extend([item for item in tails[face] if item.index > member.last_index])
        member.landmarks = landmarks[face]


def _distance(member: Tracklet, embedding: Array, analyzer: Analyzer) -> float:
    known = member.identify(analyzer)
    return _UNKNOWN_DISTANCE if known is None else embedding_distance(known, embedding)


def _joined(crowds: list[Crowd], first: Tracklet, second: Tracklet) -> Crowd:
    """The crowd that holds both, merged from theirs or made anew."""
    theirs = [crowd for crowd in crowds if first in crowd.members or second in crowd.members]
    crowd = theirs[0] if theirs else Crowd([])
    for other in theirs[1:]:
        crowd.members += other.members
        if other.peak_overlap > crowd.peak_overlap:
            crowd.peak_overlap, crowd.peak_index = other.peak_overlap, other.peak_index
        crowds.remove(other)
    if not theirs:
        crowds.append(crowd)
    for member in (first, second):
        member.crowded = True
        if member not in crowd.members:
            crowd.members.append(member)
    return crowd

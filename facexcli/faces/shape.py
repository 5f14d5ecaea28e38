"""The mean face as the 68-point predictor sees it, and what follows from it. Pure numbers."""

from __future__ import annotations

import numpy as np

from facexcli.types import Array


def _frozen(values: Array) -> Array:
    values.setflags(write=False)
    return values


# fmt: off
MEAN_SHAPE: Array = _frozen(np.array([
    (0.0226, 0.3111), (0.0327, 0.4383), (0.0511, 0.5619), (0.0721, 0.6856),
    (0.1086, 0.8031), (0.1736, 0.9038), (0.2660, 0.9843), (0.3752, 1.0428),
    (0.5000, 1.0613), (0.6248, 1.0428), (0.7340, 0.9843), (0.8264, 0.9038),
    (0.8914, 0.8031), (0.9279, 0.6856), (0.9489, 0.5619), (0.9673, 0.4383),
    (0.9774, 0.3111), (0.1036, 0.2011), (0.1610, 0.1376), (0.2473, 0.1142),
    (0.3360, 0.1235), (0.4210, 0.1553), (0.5790, 0.1553), (0.6640, 0.1235),
    (0.7527, 0.1142), (0.8390, 0.1376), (0.8964, 0.2011), (0.5000, 0.2564),
    (0.5000, 0.3351), (0.5000, 0.4127), (0.5000, 0.4937), (0.4101, 0.5614),
    (0.4536, 0.5755), (0.5000, 0.5878), (0.5464, 0.5755), (0.5899, 0.5614),
    (0.2060, 0.2868), (0.2568, 0.2515), (0.3203, 0.2519), (0.3759, 0.2925),
    (0.3174, 0.3069), (0.2541, 0.3089), (0.6241, 0.2925), (0.6797, 0.2519),
    (0.7432, 0.2515), (0.7940, 0.2868), (0.7459, 0.3089), (0.6826, 0.3069),
    (0.3199, 0.7333), (0.3880, 0.6962), (0.4528, 0.6764), (0.5000, 0.6879),
    (0.5472, 0.6764), (0.6120, 0.6962), (0.6801, 0.7333), (0.6142, 0.7852),
    (0.5506, 0.8060), (0.5000, 0.8105), (0.4494, 0.8060), (0.3858, 0.7852),
    (0.3505, 0.7347), (0.4520, 0.7228), (0.5000, 0.7265), (0.5480, 0.7228),
    (0.6495, 0.7347), (0.5483, 0.7421), (0.5000, 0.7473), (0.4517, 0.7421),
]))
# fmt: on
"""float64 (68, 2): mean landmarks in the frontal detector's box, whose corners are (0, 0) and (1, 1).

Measured on 760 detections of 46 people at several scales each, so that the detector's coarse steps average out, and
made symmetric. Fitting it to landmarks gives back the box that the predictor wants to start from.
"""

MIRROR: Array = _frozen(
    np.array(
        [
            *range(16, -1, -1),  # jaw
            *range(26, 16, -1),  # brows
            *range(27, 31),  # bridge of the nose
            *range(35, 30, -1),  # nostrils
            *(45, 44, 43, 42, 47, 46),  # eyes
            *(39, 38, 37, 36, 41, 40),
            *range(54, 47, -1),  # outer lips
            *range(59, 54, -1),
            *range(64, 59, -1),  # inner lips
            *range(67, 64, -1),
        ]
    )
)
"""int64 (68,): the point that a point becomes when the picture is flipped left to right."""


def _weights(**groups: tuple[float, list[int]]) -> Array:
    weights = np.zeros(len(MEAN_SHAPE))
    for weight, points in groups.values():
        weights[points] = weight
    return _frozen(weights / weights.sum())


STEADY_WEIGHTS: Array = _weights(
    eye_corners=(1.0, [36, 39, 42, 45]),
    nose=(0.5, list(range(27, 36))),
    mouth_corners=(0.25, [48, 54]),
)
"""float64 (68,), sum 1: how much a point says about where the head is. Lids, lips and jaw move by themselves and say
nothing; the corners of the mouth say a little, because without them the scale of a turned face would hang on its eyes.
"""

FOLLOW_WEIGHTS: Array = _weights(
    eyes_nose_mouth=(1.0, [*range(27, 36), 36, 39, 42, 45, 48, 54]),
    brows_and_upper_jaw=(0.5, [*range(17, 27), *range(0, 5), *range(12, 17)]),
)
"""float64 (68,), sum 1: for finding the predictor's box again. Wider than `STEADY_WEIGHTS`, so that one point that went
astray does not pull the box along."""

"""The embedded 68-point face: its mean shape, its mirror pairs, and which of its points a pose can trust.

The shape was estimated for this project by `scripts/derive_face_model.py`, from two-dimensional landmarks of 952
synthetic portraits (CC0 and MIT terms) and their mirror images, by structure from motion under weak perspective. It is
a table of measured means, no published model. Its proportions agree with what is known of adult faces when the
distance of the outer eye corners is taken as 90 mm: nose tip 15 mm in front of its base, nasion 24 mm in front of the
outer eye corners, the outline beside the ears 45 mm behind them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from facexcli.types import Array

OUTLINE = slice(0, 17)
BROWS = slice(17, 27)
NOSE = slice(27, 36)
EYES = (slice(36, 42), slice(42, 48))
OUTER_LIPS = slice(48, 60)
INNER_LIPS = slice(60, 68)

REGIONS = MappingProxyType({"outline": OUTLINE, "brows": BROWS, "nose": NOSE, "lips": OUTER_LIPS, "mouth": INNER_LIPS})

MIRRORED: Array = np.array(
    [
        *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
        45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
        54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
    ]
)  # fmt: skip
"""int (68,): `landmarks[MIRRORED]`, with x negated, are the landmarks of the mirrored picture."""

RIGID_WEIGHTS: Array = np.concatenate(
    [
        np.repeat([0.15, 0.05, 0.15], [3, 11, 3]),  # the outline slides over the cheeks, and follows the jaw
        np.repeat(0.25, 10),
        np.repeat(1.0, 9),
        np.tile([1.0, 0.3, 0.3, 1.0, 0.3, 0.3], 2),  # eye corners; lids move
        np.repeat(0.05, 20),
    ]
)
"""float (68,): how far a point moves with the skull alone, for the fit of a pose."""

MEAN_SHAPE: Array = np.array(
    [
        (-0.7818, 0.0173, 0.5010),
        (-0.7738, 0.2288, 0.4532),
        (-0.7465, 0.4388, 0.4192),
        (-0.7083, 0.6465, 0.3913),
        (-0.6408, 0.8420, 0.3394),
        (-0.5313, 1.0169, 0.2429),
        (-0.3838, 1.1597, 0.1136),
        (-0.2072, 1.2673, -0.0096),
        (0.0000, 1.2957, -0.0453),
        (0.2072, 1.2673, -0.0096),
        (0.3838, 1.1597, 0.1136),
        (0.5313, 1.0169, 0.2429),
        (0.6408, 0.8420, 0.3394),
        (0.7083, 0.6465, 0.3913),
        (0.7465, 0.4388, 0.4192),
        (0.7738, 0.2288, 0.4532),
        (0.7818, 0.0173, 0.5010),
        (-0.6539, -0.1372, 0.0776),
        (-0.5552, -0.2345, -0.0269),
        (-0.4087, -0.2615, -0.1253),
        (-0.2573, -0.2395, -0.2039),
        (-0.1149, -0.1838, -0.2557),
        (0.1149, -0.1838, -0.2557),
        (0.2573, -0.2395, -0.2039),
        (0.4087, -0.2615, -0.1253),
        (0.5552, -0.2345, -0.0269),
        (0.6539, -0.1372, 0.0776),
        (0.0000, -0.0267, -0.2672),
        (0.0000, 0.1171, -0.3455),
        (0.0000, 0.2607, -0.4357),
        (0.0000, 0.4086, -0.5224),
        (-0.1753, 0.5045, -0.2941),
        (-0.0913, 0.5330, -0.3346),
        (0.0000, 0.5584, -0.3574),
        (0.0913, 0.5330, -0.3346),
        (0.1753, 0.5045, -0.2941),
        (-0.5000, 0.0000, 0.0000),
        (-0.4136, -0.0542, -0.0488),
        (-0.3086, -0.0525, -0.0674),
        (-0.2155, 0.0169, -0.0724),
        (-0.3148, 0.0342, -0.0668),
        (-0.4184, 0.0343, -0.0466),
        (0.2155, 0.0169, -0.0724),
        (0.3086, -0.0525, -0.0674),
        (0.4136, -0.0542, -0.0488),
        (0.5000, 0.0000, 0.0000),
        (0.4184, 0.0343, -0.0466),
        (0.3148, 0.0342, -0.0668),
        (-0.3094, 0.7951, -0.0747),
        (-0.1959, 0.7423, -0.2157),
        (-0.0845, 0.7121, -0.2961),
        (0.0000, 0.7352, -0.3096),
        (0.0845, 0.7121, -0.2961),
        (0.1959, 0.7423, -0.2157),
        (0.3094, 0.7951, -0.0747),
        (0.1986, 0.8711, -0.1815),
        (0.0903, 0.9062, -0.2511),
        (0.0000, 0.9135, -0.2646),
        (-0.0903, 0.9062, -0.2511),
        (-0.1986, 0.8711, -0.1815),
        (-0.2609, 0.7966, -0.0994),
        (-0.0859, 0.7891, -0.2720),
        (0.0000, 0.7987, -0.2862),
        (0.0859, 0.7891, -0.2720),
        (0.2609, 0.7966, -0.0994),
        (0.0864, 0.7962, -0.2639),
        (0.0000, 0.8058, -0.2789),
        (-0.0864, 0.7962, -0.2639),
    ]
)
"""float64 (68, 3), iBUG order. Unit: distance of the outer eye corners; origin midway between them. x to the right of
the picture, y down, z away from the camera (the camera convention of OpenCV, right-handed): the nose tip has the least
z."""

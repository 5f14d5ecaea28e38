"""What a bare face is expected to look like, pixel by pixel, and where a frame shows something else.

One person's face under one camera is known to a few codes once some frames of it have been seen; a hand in the very
colour of its skin, with another shading, is not that face. So each pixel of the aligned face has a robust median colour
and a robust spread over the frames of a track; mouth and eyes, which move, have a wide spread of their own accord.

A frame is compared after two things have been taken out of it: where the face is (a map from landmarks, which an
occluder can pull away, refined on the picture itself) and how it is lit (a plane over the face for each channel).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from facexcli.fusion.registration import coordinates, fit_affine
from facexcli.types import Array

SIDE_PX = 128
"""Side of the crops that are compared: a finger is about six of its pixels wide."""
_SOFTENING_PX = 0.7
_LEAST_SPREAD = np.array((3.0, 1.5, 1.5), np.float32)
"""Of YCrCb, in 8-bit codes: grain and compression."""
_DEEPEST_SHADOW = 0.88
"""Darker than this is not taken for a shadow: deeper ones are worth keeping, and hands have shades of their own."""
_GREY = np.array((0, 128, 128), np.float32)
_LIGHT_STEP = 4
"""The light is fitted on every fourth pixel of every fourth row."""
_LIGHT_RIDGE = 0.05
_LIGHT_LIMIT = 30.0
_LEAST_FACE = 60
"""Pixels on which a light or a place can be fitted."""
_ALIGN_PX = 64


@dataclass(frozen=True, slots=True)
class Expectation:
    """A face in its own canonical crop, N = `SIDE_PX`.

    ycrcb: float32 (N, N, 3), as `soft_ycrcb` makes it. certainty: float32 (N, N, 3), one over the spread. inside:
    float32 (N, N), 1 within the outline with its forehead. covered: float32 (N, N) in 0..1, where something is in front
    of the face in most of its frames (hair, a microphone).
    """

    ycrcb: Array
    certainty: Array
    inside: Array
    covered: Array


@dataclass(frozen=True, slots=True)
class Comparison:
    """A frame beside what was expected, in the frame's crop: float32 (N, N) each.

    deviation: in standard deviations, without sign.
    """

    deviation: Array
    inside: Array
    covered: Array


def soft_ycrcb(rgb: Array) -> Array:
    """A crop, uint8 (S, S, 3), as the model sees it: YCrCb float32 (N, N, 3), Y 0..255, Cr and Cb from grey's.

    So a shadow scales all three alike.
    """
    small = cv2.resize(rgb, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    codes = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    codes -= _GREY
    return np.asarray(cv2.GaussianBlur(codes, (0, 0), _SOFTENING_PX), np.float32)


def rgb_of(ycrcb: Array) -> Array:
    """Such a picture as uint8 RGB (N, N, 3)."""
    codes = np.clip(ycrcb + _GREY + 0.5, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(codes, cv2.COLOR_YCrCb2RGB))


def median_and_certainty(views: Array) -> tuple[Array, Array]:
    """Of aligned views (T, N, N, 3): the median, and one over the robust spread (1.4826 times the median deviation)."""
    middle = np.median(views, axis=0)
    spread = 1.4826 * np.median(np.abs(views - middle), axis=0)
    return middle.astype(np.float32), (1 / np.sqrt(spread**2 + _LEAST_SPREAD**2)).astype(np.float32)


def compare(expected: Expectation, view: Array, expected_from_view: Array) -> Comparison:
    """Compare a frame with what is expected of it.

    Args:
        view: what `soft_ycrcb` made of the frame's crop.
        expected_from_view: for each pixel of the view the place in the expectation, float32 (N, N, 2), roughly.
    """
    place = _refined(expected, view, expected_from_view)
    middle, certainty = _warp(expected.ycrcb, place), _warp(expected.certainty, place)
    inside = _warp(expected.inside, place)
    middle += _light(view - middle, certainty, inside)
    off = cv2.multiply(view - _shaded(middle, view), certainty)
    # OpenCV's channel sum is several times faster than numpy's over so short an axis.
    squares = cv2.transform(np.square(off, out=off), np.ones((1, 3), np.float32))
    return Comparison(np.sqrt(squares), inside, _warp(expected.covered, place))


def _shaded(middle: Array, view: Array) -> Array:
    """The expectation in a shadow that would explain the view; an occluder throws one on what is beside it."""
    light = np.clip(view[..., 0] / np.maximum(middle[..., 0], 1), _DEEPEST_SHADOW, 1)
    return np.asarray(cv2.multiply(middle, cv2.merge([light, light, light])))


def _warp(picture: Array, place: Array) -> Array:
    # None is right, whatever the stubs say: with an empty array OpenCV 5 takes the map for something else.
    warped: Array = cv2.remap(  # type: ignore[call-overload]
        picture, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return warped


def _light(off: Array, certainty: Array, inside: Array) -> Array:
    """The plane of each channel by which the face is lit otherwise: float32 (N, N, 3); what is not face has no say."""
    some = np.s_[::_LIGHT_STEP, ::_LIGHT_STEP]
    face = inside[some] > 0.5
    if face.sum() < _LEAST_FACE:
        return np.zeros_like(off)
    basis = _plane_basis(_LIGHT_STEP)[face]
    values, sure = off[some][face], certainty[some][face]
    plane = np.zeros((3, 3), np.float32)
    for bearable in (4.0, 4.0, 2.0, 2.0):
        misfit = (values - basis @ plane) * sure
        weight = 1 / (1 + (misfit * misfit).sum(axis=1) / bearable**2) ** 2  # Geman and McClure's
        weighted = (basis * weight[:, None]).T
        system = weighted @ basis + np.diag((0, _LIGHT_RIDGE, _LIGHT_RIDGE)) * weight.sum()
        plane = np.linalg.solve(system, weighted @ values)
    plane = np.clip(plane, -_LIGHT_LIMIT, _LIGHT_LIMIT).astype(np.float32)
    return np.asarray(cv2.transform(_plane_basis(1), np.ascontiguousarray(plane.T)), np.float32)


@cache
def _plane_basis(step: int) -> Array:
    """float32 (M, M, 3): 1, x and y of every `step`th pixel."""
    x, y = coordinates(SIDE_PX, step)
    return np.stack((np.ones_like(x), x, y), axis=-1)


def _refined(expected: Expectation, view: Array, place: Array) -> Array:
    """The map after the affine correction that makes the brightness of the face agree."""
    size, scale = (_ALIGN_PX, _ALIGN_PX), SIDE_PX / _ALIGN_PX
    coarse = cv2.resize(place, size, interpolation=cv2.INTER_AREA)
    inside = _warp(expected.inside, coarse) > 0.5
    if inside.sum() < _LEAST_FACE:
        return place
    template = _warp(expected.ycrcb[..., 0], coarse)
    picture = cv2.resize(view[..., 0], size, interpolation=cv2.INTER_AREA)
    matrix = fit_affine(template, _warp(expected.certainty[..., 0], coarse), inside, picture)
    # Pixel centres of the larger crop lie at (x + 0.5) scale - 0.5.
    middle = np.full(2, (scale - 1) / 2)
    matrix[:, 2] = scale * matrix[:, 2] + middle - matrix[:, :2] @ middle
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    corrected: Array = cv2.warpAffine(place, matrix, (SIDE_PX, SIDE_PX), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return corrected

"""What chance does to a training pair: another camera, something in front of the face, another place behind it.

Identity, masks and coefficients stay what they were: the network learns that they hold all the same. What is put into
the picture of the canvas is put into the target too, so that it is learned to be kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import cv2
import numpy as np

from facexcli.engines.facex.config import REGIONS
from facexcli.train.flip import mirrored

if TYPE_CHECKING:
    from collections.abc import Callable

    from facexcli.engines.facex.assemble import Reference
    from facexcli.engines.facex.ford import FaceFacts
    from facexcli.types import Array

Augmentation = Literal["none", "light", "strong"]
"""none: pairs as they were prepared. light: mirrored, and sources of other colours and sharpness. strong: sources of
worse cameras besides, things in front of faces, and other places behind them."""
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)

_GAIN, _TINT, _GAMMA = 0.2, 0.08, 0.15
"""Standard deviations of the logarithms of a source's brightness, of each colour and of gamma."""
_BLUR_SHARE, _MOST_BLUR = 0.3, 0.02
"""Of the sources; and the blur's standard deviation, at most, in crop widths."""
_COARSE_SHARE, _LEAST_SCALE = 0.3, 0.35
_NOISE_SHARE, _MOST_NOISE = 0.3, 12.0
"""Of the sources; and the noise's standard deviation, at most, of 255."""
_JPEG_SHARE, _JPEG_QUALITY = 0.4, (12, 70)
_PLACE_SHARE = 0.3
_OCCLUDED_SHARE, _OCCLUDED_SOURCE_SHARE = 0.25, 0.15
_BAR_SHARE = 0.3
_BAR_GREYS = (10, 120)
_SKIN_SHARE = 0.5
_SKIN_LIGHT, _SKIN_DARK = (236.0, 196.0, 172.0), (74.0, 48.0, 38.0)
_CORNERS = 9
_MOST_OFF = 0.015
"""Standard deviation of a source's landmarks, at most, in crop widths: what finds them in a run errs, too."""
_BACKGROUND = REGIONS.index("background")


@dataclass(frozen=True, slots=True)
class Pair:
    """A source and a target. kept: float32 (S, S), 0..1, where something stands in front of the canvas and the target
    alike; None where nothing does."""

    source: FaceFacts
    target: FaceFacts
    kept: Array | None = None

    def shown(self, reference: Reference) -> Reference:
        """An assembled reference with what stands in front of it: seen, and not to be touched."""
        if self.kept is None:
            return reference
        front = self.kept > 0
        rgb = np.where(front[..., None], self.target.rgb, reference.rgb)
        return replace(reference, rgb=rgb, hole=reference.hole * ~front, edited=reference.edited * ~front)


def augmented(
    pair: Pair,
    how: Augmentation,
    is_driven: bool,
    random: np.random.Generator,
    elsewhere: Callable[[], Array],
    *,
    mirrors: bool = True,
) -> Pair:
    """The pair as chance would have it; everything depends on `random` alone.

    is_driven: the source is the canvas (a reenactment): it keeps its colours, and what is put in front of it or behind
    it is put there in both. elsewhere: gives somebody else's crop, uint8 (S, S, 3), to take a place from. mirrors:
    whether the coefficients can be mirrored, see `mirrored`.
    """
    if how == "none":
        return pair
    source, target = pair.source, pair.target
    if random.random() < 0.5 and mirrors:
        source, target = mirrored(source), mirrored(target)
    kept: Array | None = None
    if how == "strong":
        source, target, kept = _elsewhere(source, target, is_driven, random, elsewhere)
    if not is_driven:
        source = replace(source, rgb=_other_picture(source.rgb, random))
    if how == "strong":
        source = replace(source, rgb=_worse_picture(source.rgb, random), landmarks_px=_roughly(source, random))
    return Pair(source, target, kept)


def _elsewhere(
    source: FaceFacts, target: FaceFacts, is_driven: bool, random: np.random.Generator, elsewhere: Callable[[], Array]
) -> tuple[FaceFacts, FaceFacts, Array | None]:
    """Another place behind the faces, and something in front of them."""
    side = target.rgb.shape[0]
    if random.random() < _PLACE_SHARE:
        place = elsewhere()
        target = _placed(target, place)
        source = _placed(source, place if is_driven else elsewhere())
    kept = None
    if random.random() < _OCCLUDED_SHARE:
        mask, colour = _occluder(side, random)
        target = replace(target, rgb=_covered(target.rgb, mask, colour))
        if is_driven:
            source = replace(source, rgb=_covered(source.rgb, mask, colour))
        else:
            kept = mask
    if not is_driven and random.random() < _OCCLUDED_SOURCE_SHARE:
        source = replace(source, rgb=_covered(source.rgb, *_occluder(side, random)))
    return source, target, kept


def _placed(face: FaceFacts, place: Array) -> FaceFacts:
    return replace(face, rgb=_covered(face.rgb, face.masks[_BACKGROUND], place))


def _covered(rgb: Array, mask: Array, colour: Array) -> Array:
    """mask: float32 (S, S), 0..1, where `colour`, of a shape like `rgb`'s, is seen instead."""
    mixed = rgb + mask[..., None] * (np.asarray(colour, np.float32) - rgb)
    return np.asarray(np.round(mixed), np.uint8)


def _occluder(side: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Something in front of a face, a bar like a microphone's or a soft shape like a hand's: mask and colours."""
    at = random.uniform(0.25, 0.75, 2) * side
    if random.random() < _BAR_SHARE:
        mask = _bar(side, at, random)
        colour = np.full(3, random.uniform(*_BAR_GREYS))
    else:
        mask = _blob(side, at, random)
        is_skin, share = random.random() < _SKIN_SHARE, random.random()
        skin = share * np.array(_SKIN_LIGHT) + (1 - share) * np.array(_SKIN_DARK)
        colour = skin if is_skin else random.uniform(0, 255, 3)
    top, bottom = random.uniform(0.7, 1.1, 2)
    shade = np.linspace(float(top), float(bottom), side)[:, None, None]
    return mask, np.asarray(np.clip(shade * colour, 0, 255) * np.ones((1, side, 1)), np.float32)


def _bar(side: int, at: Array, random: np.random.Generator) -> Array:
    """From the crop's lower edge to `at` (x, y), with a thicker end."""
    mask = np.zeros((side, side), np.float32)
    foot = (int(random.uniform(0, side)), side)
    end = (int(at[0]), int(at[1]))
    cv2.line(mask, foot, end, 1.0, max(1, round(random.uniform(0.03, 0.08) * side)), cv2.LINE_AA)
    cv2.circle(mask, end, max(1, round(random.uniform(0.04, 0.1) * side)), 1.0, -1, cv2.LINE_AA)
    return mask


def _blob(side: int, at: Array, random: np.random.Generator) -> Array:
    """A closed shape with a wavy outline, stretched one way, and soft at its edge."""
    angles = 2 * np.pi * np.arange(_CORNERS) / _CORNERS
    radii = random.uniform(0.08, 0.22) * side * np.exp(0.25 * random.standard_normal(_CORNERS))
    turn, stretch = np.exp(1j * random.uniform(0, np.pi)), random.uniform(1, 2)
    corners = radii * np.exp(1j * angles)
    outline = turn * (corners.real * stretch + 1j * corners.imag) + complex(*at)
    points = np.round(np.stack([outline.real, outline.imag], axis=1)).astype(np.int32)
    mask = np.zeros((side, side), np.float32)
    cv2.fillPoly(mask, [points], 1.0, cv2.LINE_AA)
    blurred = cv2.GaussianBlur(mask, (0, 0), 0.012 * side)
    return np.asarray(np.where(blurred < 0.02, 0, blurred), np.float32)


def _other_picture(rgb: Array, random: np.random.Generator) -> Array:
    """As another camera might have seen it: brighter or darker, of another tint, and perhaps less sharp."""
    gains = np.exp(_GAIN * random.standard_normal() + _TINT * random.standard_normal(3))
    gamma = np.exp(_GAMMA * random.standard_normal())
    ramp = (np.arange(256) / 255.0)[:, None] ** gamma * gains
    table = np.clip(np.round(255 * ramp), 0, 255).astype(np.uint8)[None]
    changed = cv2.LUT(rgb, table)
    if random.random() < _BLUR_SHARE:
        changed = cv2.GaussianBlur(changed, (0, 0), 0.3 + random.random() * _MOST_BLUR * rgb.shape[0])
    return np.asarray(changed)


def _roughly(face: FaceFacts, random: np.random.Generator) -> Array | None:
    """Its landmarks, as far as they are known, a little off."""
    if face.landmarks_px is None:
        return None
    off = random.uniform(0, _MOST_OFF) * face.rgb.shape[0] * random.standard_normal(face.landmarks_px.shape)
    return np.asarray(face.landmarks_px + off, np.float32)


def _worse_picture(rgb: Array, random: np.random.Generator) -> Array:
    """As a worse file would have it: of fewer pixels, with noise, compressed."""
    height, width = rgb.shape[:2]
    changed = rgb
    if random.random() < _COARSE_SHARE:
        scale = random.uniform(_LEAST_SCALE, 1)
        small = cv2.resize(changed, (max(8, round(scale * width)), max(8, round(scale * height))),
                           interpolation=cv2.INTER_AREA)  # fmt: skip
        changed = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if random.random() < _NOISE_SHARE:
        noise = random.uniform(0, _MOST_NOISE) * random.standard_normal(changed.shape, np.float32)
        changed = np.clip(np.round(changed + noise), 0, 255).astype(np.uint8)
    if random.random() < _JPEG_SHARE:
        quality = int(random.integers(*_JPEG_QUALITY))
        _, coded = cv2.imencode(".jpg", changed[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
        decoded: Array = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
        changed = np.ascontiguousarray(decoded[..., ::-1])
    return np.asarray(changed)

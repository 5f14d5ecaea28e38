"""An invisible mark in the luma of a face that says which run made it. Pure functions; `watermark_search` finds it.

The face is looked at in a small grid that is aligned to its landmarks, so the mark moves with the face, whatever
happens to the frame. There a lapped cosine transform (Princen and Bradley 1986) gives some hundred local waves. The key
draws a number 0..1 for each of them, the dither; the mark moves the wave's coefficient towards the nearest of the
places SPACING * (n + dither), with n any integer: dither modulation (Chen and Wornell, "Quantization index modulation",
IEEE Trans. Information Theory 47, 2001). What the face itself is does so not drown the mark, as it does in a spread
spectrum. In the middle between two places the push falls to nothing: it has no leaps, so that a mark does not flicker
where a face moves a little.

Two of three waves have the same dither in every run and say that there is a mark. The others say the 32 bits of the
run's id, as two symbols of 16 bits, each with a dither of its own for every value: at little signal that is worth far
more than a wave for each bit.
"""

from __future__ import annotations

import cv2
import numpy as np

from facexcli.affine import crop_box, resample, shift
from facexcli.fusion.watermark_waves import BOX_PX, LEFT, LUMA, SPACING, TOP, coefficients, picture
from facexcli.types import Array

_PUSH, _TURN = 0.68, 0.42
"""The part of its way that a coefficient is pushed; less and less, beyond this part of the spacing."""
_RMS, _STRONGER = 2.15, 1.12
"""Codes of 255: the mark's root mean square over the face; by so much it may be raised to get there."""
_FACE_PX = (5100, 5600)
"""Of the grid's box, a face between brows and chin. Where less is painted, the mark may be the stronger there; where
more is, it lies around the face."""
_PLAIN, _MOST = 8.0, 20.0
"""Codes of 255: the local contrast of plain skin, for the mark's strength, and from where on more hides no more."""
_PAINTED = 0.5
_SHARPEN = np.array([-0.1, 1.2, -0.1], np.float32)
"""Gives back what linear interpolation takes away from waves of this length: 3 to 12 per cent."""
_SOFTEN = np.array([0.2, 0.6, 0.2], np.float32)
"""The face as whoever searches for the mark will see it: through the frame's pixels, and again through the grid's."""


def add_mark(rgb: Array, alpha: Array, under: Array, grid_from_crop: Array, dither: Array) -> None:
    """Put the mark into the luma of `rgb`, in place. Nothing changes where `alpha` is 0.

    Args:
        rgb: float32 (S, S, 3) in 0..1.
        alpha: float32 (S, S), where it will be painted.
        under: uint8 (S, S, 3), what it will be painted over.
        grid_from_crop: float64 (3, 3), to the grid that is aligned to the face.
        dither: of `make_dither`.
    """
    box_from_crop = shift(-LEFT, -TOP) @ grid_from_crop
    x0, y0, x1, y1 = crop_box(box_from_crop, BOX_PX, (rgb.shape[1], rgb.shape[0]))
    part, cover = rgb[y0:y1, x0:x1], alpha[y0:y1, x0:x1]
    box_from_part = box_from_crop @ shift(x0, y0)
    luma = _luma(part, cover, under[y0:y1, x0:x1])
    seen, share = cv2.split(resample(cv2.merge([luma, cover]), box_from_part, BOX_PX, smooth=False))
    painted = share > _PAINTED
    if not painted.any():
        return
    seen = cv2.sepFilter2D(seen, -1, _SOFTEN, _SOFTEN)
    part_from_box = np.linalg.inv(box_from_part)[:2]
    # What lies beyond the box is nothing.
    added = cv2.warpAffine(
        _delta(seen, share, painted, dither), part_from_box, part.shape[1::-1], flags=cv2.INTER_LINEAR
    )
    added *= cover > 0
    np.clip(cv2.add(part, cv2.merge([added, added, added])), 0, 1, out=part)


def _luma(rgb: Array, alpha: Array, under: Array) -> Array:
    """Of a face (h, w, 3) painted over a picture: float32 (h, w) in 0..255."""
    below: Array = cv2.transform(under, LUMA[None]).astype(np.float32)
    above: Array = cv2.transform(rgb, 255 * LUMA[None])
    above -= below
    above *= alpha
    above += below
    return above


def _delta(seen: Array, share: Array, painted: Array, dither: Array) -> Array:
    """The mark for a luma of the grid's box, float32 in parts of 1, which is painted with the opacity `share`."""
    hidden = _hidden(seen)
    wanted = _push(dither - coefficients(seen) / SPACING)
    delta = hidden * picture(wanted)
    # Where the face is plain, or painted in part, its neighbours make up for what is missing.
    delta += hidden * picture(wanted - coefficients(delta * share))
    delta = cv2.sepFilter2D(delta, -1, _SHARPEN, _SHARPEN, borderType=cv2.BORDER_CONSTANT)
    energy = float(np.sum((delta * share) ** 2))
    rms = (energy / float(np.clip(np.count_nonzero(painted), *_FACE_PX))) ** 0.5
    return np.asarray(delta * np.float32(min(_STRONGER, _RMS / max(rms, 1e-6)) / 255))


def _push(turns: Array) -> Array:
    """By how much coefficients are pushed that are so many spacings from places of their lattice."""
    way = turns - np.round(turns)
    slowed = np.minimum(np.abs(way), _TURN * (0.5 - np.abs(way)) / (0.5 - _TURN))
    return np.asarray(_PUSH * SPACING * np.sign(way) * slowed)


def _hidden(luma: Array) -> Array:
    """How well a place hides a mark, float32 of mean 1: what is restless hides more than plain skin."""
    rough = luma - cv2.GaussianBlur(luma, (0, 0), 2.0)
    contrast = np.sqrt(cv2.GaussianBlur(rough * rough, (0, 0), 3.0))
    strength = np.minimum(_PLAIN + contrast, _MOST)
    return np.asarray(strength / strength.mean())

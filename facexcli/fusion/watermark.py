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

from facexcli.fusion.watermark_box import Box, box_in
from facexcli.fusion.watermark_waves import BOX_PX, HEIGHT, LUMA, SPACING, WIDTH, coefficients, picture
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
    box = box_in(grid_from_crop, (rgb.shape[1], rgb.shape[0]))
    part, cover = rgb[box.part], alpha[box.part]
    seen, share = box.straight(_seen(part, cover, under[box.part], box))
    painted = int(np.count_nonzero(share > _PAINTED))
    if not painted:
        return
    added = box.spread(_delta(cv2.sepFilter2D(seen, -1, _SOFTEN, _SOFTEN), share, painted, dither))
    _, shown = cv2.threshold(cover, 0, 1, cv2.THRESH_BINARY)
    cv2.multiply(added, shown, dst=added)
    cv2.add(part, cv2.cvtColor(added, cv2.COLOR_GRAY2RGB), dst=part)
    # What np.clip does, in half its time.
    cv2.threshold(part, 1, 0, cv2.THRESH_TRUNC, dst=part)
    cv2.threshold(part, 0, 0, cv2.THRESH_TOZERO, dst=part)


def _seen(rgb: Array, alpha: Array, under: Array, box: Box) -> tuple[Array, Array]:
    """A face (h, w, 3) painted over a picture: its luma in 0..255 and its opacity, float32, averaged."""
    share = box.averaged(alpha)
    luma = box.averaged(cv2.transform(rgb, 255 * LUMA[None]))
    if cv2.minMaxLoc(share)[0] < 1:
        below = cv2.transform(box.averaged(under).astype(np.float32), LUMA[None])
        luma = (luma - below) * share + below
    return luma, share


def _delta(seen: Array, share: Array, painted: int, dither: Array) -> Array:
    """The mark for a luma of the grid's box, float32 in parts of 1.

    It is painted with the opacity `share`, to more than a half in `painted` pixels.
    """
    hidden = _hidden(seen)
    wanted = _push(dither - coefficients(seen) / SPACING)
    delta = hidden * picture(wanted)
    # Where the face is plain, or painted in part, its neighbours make up for what is missing.
    delta += hidden * picture(wanted - coefficients(delta * share))
    delta = cv2.sepFilter2D(delta, -1, _SHARPEN, _SHARPEN, borderType=cv2.BORDER_CONSTANT)
    rms = cv2.norm(delta * share) / min(max(painted, _FACE_PX[0]), _FACE_PX[1]) ** 0.5
    return np.asarray(delta * np.float32(min(_STRONGER, _RMS / max(rms, 1e-6)) / 255))


def _push(turns: Array) -> Array:
    """By how much coefficients are pushed that are so many spacings from places of their lattice."""
    way = turns - np.round(turns)
    slowed = np.minimum(np.abs(way), _TURN * (0.5 - np.abs(way)) / (0.5 - _TURN))
    return np.asarray(_PUSH * SPACING * np.sign(way) * slowed)


def _hidden(luma: Array) -> Array:
    """How well a place hides a mark, float32 of mean about 1: what is restless hides more than plain skin.

    What is blurred is blurred at half the size, where that costs a quarter.
    """
    broad = cv2.GaussianBlur(_halved(luma), (0, 0), 1.0)
    rough = luma - cv2.resize(broad, BOX_PX, interpolation=cv2.INTER_LINEAR)
    contrast = cv2.sqrt(cv2.GaussianBlur(_halved(rough * rough), (0, 0), 1.5))
    strength: Array = np.minimum(_PLAIN + contrast, _MOST)
    strength *= 1 / cv2.mean(strength)[0]
    return cv2.resize(strength, BOX_PX, interpolation=cv2.INTER_LINEAR)


def _halved(box: Array) -> Array:
    return cv2.resize(box, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)

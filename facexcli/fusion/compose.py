"""Lay an engine's patch over the canvas: mask, light, sharpness, blend. Any engine's patch goes through here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from facexcli.fusion.blend import BlendName, blend
from facexcli.fusion.glasses import glasses_mask
from facexcli.fusion.mask import face_alpha, face_outline, face_unit_px, region_masks
from facexcli.fusion.match import match_eye_whites, match_light, match_sharpness
from facexcli.fusion.occlusion import bare_mask
from facexcli.fusion.skin import fit_skin, skin_mask
from facexcli.recipes import RECIPES, Recipe
from facexcli.types import Array, Crop, Patch

_WHOLE_FACE = RECIPES["swap"]
_LIGHT_SIDE = 48
_LIGHT_SIGMA = 0.25
"""Face units. What is broader than this is the canvas's light; what is finer is the source's face."""
_BLEND_MARGIN_PX = 12
"""Beyond this, a blend's bands have too little left of the mask to be seen."""
_LEAST_PX = 16
"""Side of the smallest part of a crop that is worked on: faces at a crop's border may have nothing in it."""
_SEAM_REACH = 0.04
"""Face units by which the coarse bands of a blend may reach beyond the mask."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a patch is laid over the canvas.

    feather: 0..1, width of the soft edge. color: `match` moves the canvas's light onto the patch. occlusion: `auto`
    keeps what covers the canvas's face in front. strength: 0..1, how much of the patch shows.
    """

    feather: float = 0.5
    color: Literal["match", "none"] = "match"
    blend: BlendName = "multiband"
    occlusion: Literal["auto", "off"] = "auto"
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class Composite:
    """rgb float32 (S, S, 3) and alpha float32 (S, S), both in 0..1, in crop pixels; alpha is 0 along the rim.

    Both are C-contiguous, for a mark to be added in place. `rgb` means nothing where it is far from where alpha is more
    than 0.
    """

    rgb: Array
    alpha: Array


def compose(
    canvas: Crop, patch: Patch, recipe: Recipe, look: Look, relights: bool = False, covered: Array | None = None
) -> Composite:
    """The patch as it has to be painted into the frame: rgb * alpha + frame * (1 - alpha).

    A patch that moves (see `Recipe.moves`) or says so (`Patch.outlined`) knows its own outline: it is painted as it is.
    Any other patch is confined to the canvas's face, put under its light and brought to its sharpness; what covers the
    face stays in front.

    Args:
        canvas: the crop that the patch was made for.
        relights: the patch already carries the canvas's light (`EngineSpec.relights`).
        covered: float32 (n, n) in 0..1, the whole crop: what is known to be in front of the face. None: the colours of
            this one crop tell.
    """
    strength = np.float32(look.strength)
    if recipe.moves or patch.outlined:
        return Composite(np.clip(patch.rgb, 0, 1, order="C"), _without_rim(patch.alpha * strength))
    unit = face_unit_px(canvas.landmarks_px)
    near = _around_face(canvas, unit)
    landmarks = canvas.landmarks_px - near.origin_xy
    under = np.multiply(canvas.rgb[near.slices], np.float32(1 / 255), dtype=np.float32)
    face = face_alpha(landmarks, near.size_px, recipe, look.feather)
    shown = patch.alpha[near.slices] * strength
    if look.occlusion == "auto":
        shown *= _uncovered(canvas, near, covered)
    rgb = patch.rgb[near.slices]
    if not relights:
        rgb = match_sharpness(rgb, under, face * shown)
        if look.color == "match":
            rgb = match_light(rgb, under, _plain_skin(canvas, near, shown), _LIGHT_SIGMA * unit)
            if recipe["eyes"] != "canvas":
                rgb = match_eye_whites(rgb, under, landmarks)
    if look.blend == "feather":
        return _placed(canvas.size_px, near, rgb, face * shown)  # alpha is all the blending that there is
    return _placed(
        canvas.size_px, near, blend(look.blend, rgb, under, face), _widened(face, _SEAM_REACH * unit) * shown
    )


@dataclass(frozen=True, slots=True)
class _Window:
    """A part of a crop: nothing outside of it needs to be worked on. size_px: (width, height)."""

    origin_xy: tuple[int, int]
    size_px: tuple[int, int]

    @property
    def slices(self) -> tuple[slice, slice]:
        (x, y), (width, height) = self.origin_xy, self.size_px
        return slice(y, y + height), slice(x, x + width)

    def of(self, field: Array, crop_px: int, size: tuple[int, int]) -> Array:
        """The window's part of `field` (n, n), which covers a whole crop, as (height, width) of `size`."""
        field_from_crop = field.shape[0] / crop_px
        field_from_part = np.zeros((2, 3))
        for axis in range(2):
            step = self.size_px[axis] / size[axis]
            field_from_part[axis, axis] = step * field_from_crop
            field_from_part[axis, 2] = (self.origin_xy[axis] + 0.5 * step) * field_from_crop - 0.5
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(field, field_from_part, size, flags=flags, borderMode=cv2.BORDER_REPLICATE))


def _around_face(canvas: Crop, unit_px: float) -> _Window:
    """The face with its forehead, and a little around it for the blend."""
    margin = _SEAM_REACH * unit_px + _BLEND_MARGIN_PX
    outline = face_outline(canvas.landmarks_px)
    low = np.clip(np.floor(outline.min(axis=0) - margin), 0, canvas.size_px - _LEAST_PX).astype(int)
    high = np.clip(np.ceil(outline.max(axis=0) + margin), low + _LEAST_PX, canvas.size_px).astype(int)
    return _Window((int(low[0]), int(low[1])), (int(high[0] - low[0]), int(high[1] - low[1])))


def _placed(size_px: int, near: _Window, rgb: Array, alpha: Array) -> Composite:
    """What was worked out in a window, in crop pixels."""
    whole = np.zeros((size_px, size_px, 3), np.float32)
    np.clip(rgb, 0, 1, out=whole[near.slices])
    whole_alpha = np.zeros((size_px, size_px), np.float32)
    whole_alpha[near.slices] = alpha
    return Composite(whole, _without_rim(whole_alpha))


def _uncovered(canvas: Crop, near: _Window, covered: Array | None) -> Array:
    """float32, the window's size: 1 where nothing covers the canvas's face."""
    if covered is None:
        seen = bare_mask(canvas.rgb, canvas.landmarks_px, fit_skin(canvas.rgb, canvas.landmarks_px))
    else:
        seen = 1 - covered
    bare = near.of(seen, canvas.size_px, near.size_px)
    frames = glasses_mask(canvas.rgb, canvas.landmarks_px)
    return np.asarray(bare if frames is None else bare * (1 - frames[near.slices]), np.float32)


def _plain_skin(canvas: Crop, near: _Window, shown: Array) -> Array:
    """Where canvas and patch are both skin, so that their colours may be compared: float32, a coarse window."""
    scale = _LIGHT_SIDE / max(near.size_px)
    grid = (max(8, round(scale * near.size_px[0])), max(8, round(scale * near.size_px[1])))
    scaled = (canvas.landmarks_px - near.origin_xy + 0.5) * (np.divide(grid, near.size_px)) - 0.5
    features = region_masks(scaled, grid)
    open_skin = cv2.resize(shown, grid, interpolation=cv2.INTER_AREA) * face_alpha(scaled, grid, _WHOLE_FACE, 0.2)
    skin = fit_skin(canvas.rgb, canvas.landmarks_px)
    seen = near.of(skin_mask(canvas.rgb, skin, _LIGHT_SIDE), canvas.size_px, grid)
    return np.asarray(seen * open_skin * (features["skin"] + features["nose"]))


def _widened(alpha: Array, reach_px: float) -> Array:
    """1 wherever alpha is not nearly 0, softly 0 at `reach_px` from there."""
    half = cv2.resize(alpha, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(half, (0, 0), max(0.8, reach_px / 4))
    grown: Array = cv2.resize(np.clip(wide * 8 - 0.1, 0, 1), alpha.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return grown


def _without_rim(alpha: Array) -> Array:
    """`alpha` itself, with nothing left of it along the rim."""
    alpha[:2] = alpha[-2:] = 0
    alpha[:, :2] = alpha[:, -2:] = 0
    return alpha

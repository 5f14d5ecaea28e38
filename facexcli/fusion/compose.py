"""Lay an engine's patch over the canvas: mask, light, sharpness, blend. Any engine's patch goes through here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from facexcli.fusion.blend import BlendName, blend
from facexcli.fusion.glasses import glasses_mask
from facexcli.fusion.mask import face_alpha, face_unit_px, region_masks
from facexcli.fusion.match import light_gain, match_eye_whites, match_sharpness
from facexcli.fusion.occlusion import bare_mask
from facexcli.fusion.skin import SkinModel, fit_skin, skin_mask
from facexcli.recipes import RECIPES, Recipe
from facexcli.types import Array, Crop, Patch

_WHOLE_FACE = RECIPES["swap"]
_LIGHT_SIDE = 48
_LIGHT_SIGMA = 0.25
"""Face units. What is broader than this is the canvas's light; what is finer is the source's face."""
_BLEND_REACH_PX = 24
"""Beyond this, the coarsest band of a blend has nothing left of the mask."""
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
    """rgb float32 (S, S, 3) in 0..1 and alpha float32 (S, S) in 0..1, in crop pixels; alpha is 0 along the rim."""

    rgb: Array
    alpha: Array


def compose(canvas: Crop, patch: Patch, recipe: Recipe, look: Look, relights: bool = False) -> Composite:
    """The patch as it has to be painted into the frame: rgb * alpha + frame * (1 - alpha).

    A patch that moves (see `Recipe.moves`) knows its own outline and is made of the canvas's own pixels: it is painted
    as it is. Any other patch is confined to the canvas's face, put under its light and brought to its sharpness;
    what covers the face stays in front.

    Args:
        canvas: the crop that the patch was made for.
        relights: the patch already carries the canvas's light (`EngineSpec.relights`).
    """
    strength = np.float32(look.strength)
    if recipe.moves:
        return Composite(np.clip(patch.rgb, 0, 1), _without_rim(patch.alpha * strength))
    size, unit = canvas.size_px, face_unit_px(canvas.landmarks_px)
    canvas_rgb = np.multiply(canvas.rgb, np.float32(1 / 255), dtype=np.float32)
    face = face_alpha(canvas.landmarks_px, size, recipe, look.feather)
    skin = fit_skin(canvas.rgb, canvas.landmarks_px)
    shown = patch.alpha * strength
    if look.occlusion == "auto":
        shown *= _uncovered(canvas, skin)
    reach = face if look.blend == "feather" else _widened(face, _SEAM_REACH * unit)
    near = _window(reach, _BLEND_REACH_PX)
    rgb, under = patch.rgb[near], canvas_rgb[near]
    if not relights:
        rgb = match_sharpness(rgb, under, (face * shown)[near])  # a new picture, free to be changed
        if look.color == "match":
            gain = light_gain(patch.rgb, canvas_rgb, _plain_skin(canvas, skin, shown), _LIGHT_SIGMA * unit)
            rgb *= gain[near]
            if recipe["eyes"] != "canvas":
                rgb = match_eye_whites(rgb, under, canvas.landmarks_px - (near[1].start, near[0].start))
    if look.blend != "feather":  # which is what alpha does in any case
        rgb = blend(look.blend, rgb, under, face[near])
    canvas_rgb[near] = np.clip(rgb, 0, 1)
    return Composite(canvas_rgb, _without_rim(reach * shown))


def _window(alpha: Array, margin_px: int) -> tuple[slice, slice]:
    """Rows and columns of the box around what is not 0, with a margin: nothing outside of it needs to be worked on."""
    left, top, width, height = cv2.boundingRect((alpha > 0).astype(np.uint8))
    rows = slice(max(0, top - margin_px), min(alpha.shape[0], top + height + margin_px))
    columns = slice(max(0, left - margin_px), min(alpha.shape[1], left + width + margin_px))
    return (rows, columns) if width else (slice(0, alpha.shape[0]), slice(0, alpha.shape[1]))


def _uncovered(canvas: Crop, skin: SkinModel) -> Array:
    """float32 (S, S): 1 where nothing covers the canvas's face."""
    size = canvas.size_px
    bare = cv2.resize(bare_mask(canvas.rgb, canvas.landmarks_px, skin), (size, size), interpolation=cv2.INTER_LINEAR)
    frames = glasses_mask(canvas.rgb, canvas.landmarks_px)
    return np.asarray(bare if frames is None else bare * (1 - frames), np.float32)


def _plain_skin(canvas: Crop, skin: SkinModel, shown: Array) -> Array:
    """Where canvas and patch are both skin, so that their colours may be compared: float32 (side, side)."""
    side = _LIGHT_SIDE
    scaled = (canvas.landmarks_px + 0.5) * (side / canvas.size_px) - 0.5
    features = region_masks(scaled, side)
    inside = face_alpha(scaled, side, _WHOLE_FACE, 0.2)
    open_skin = cv2.resize(shown, (side, side), interpolation=cv2.INTER_AREA) * inside
    return np.asarray(skin_mask(canvas.rgb, skin, side) * open_skin * (features["skin"] + features["nose"]))


def _widened(alpha: Array, reach_px: float) -> Array:
    """1 wherever alpha is not nearly 0, softly 0 at `reach_px` from there."""
    half = cv2.resize(alpha, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(half, (0, 0), max(0.8, reach_px / 4))
    grown: Array = cv2.resize(np.clip(wide * 8 - 0.1, 0, 1), alpha.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return grown


def _without_rim(alpha: Array) -> Array:
    rimless = np.zeros_like(alpha)
    rimless[2:-2, 2:-2] = alpha[2:-2, 2:-2]
    return rimless

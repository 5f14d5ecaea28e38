"""Lay an engine's patch over the canvas: mask, light, sharpness, blend. Any engine's patch goes through here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from facexcli.fusion.blend import BlendName, multiband
from facexcli.fusion.mask import face_alpha, face_unit_px
from facexcli.fusion.match import match_light
from facexcli.fusion.occlusion import bare_mask
from facexcli.fusion.skin import fit_skin, skin_mask
from facexcli.recipes import Recipe
from facexcli.types import Array, Crop, Patch


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
    size = canvas.size_px
    canvas_rgb = np.multiply(canvas.rgb, np.float32(1 / 255), dtype=np.float32)
    if recipe.moves:
        return Composite(patch.rgb, patch.alpha * look.strength)
    unit = face_unit_px(canvas.landmarks_px)
    alpha = face_alpha(canvas.landmarks_px, size, recipe, look.feather)
    skin = fit_skin(canvas.rgb, canvas.landmarks_px)
    if look.occlusion == "auto":
        bare = bare_mask(canvas.rgb, canvas.landmarks_px, skin)
        alpha *= cv2.resize(bare, (size, size), interpolation=cv2.INTER_LINEAR)
    rgb = patch.rgb
    if look.color == "match" and not relights:
        side = 48
        weight = skin_mask(canvas.rgb, skin, side) * cv2.resize(alpha, (side, side), interpolation=cv2.INTER_AREA)
        rgb = match_light(rgb, canvas_rgb, weight, 0.3 * unit)
    alpha *= patch.alpha * np.float32(look.strength)
    blended = multiband(rgb, canvas_rgb, alpha)
    wide = (cv2.GaussianBlur(alpha, (0, 0), 4) > 0.01).astype(np.float32)
    return Composite(blended, wide)

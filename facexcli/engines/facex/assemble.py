"""The task-specific assemblers of FORS (sec. 3.3, fig. 4): which tokens come from whom, and the inpainting reference.

Both read the recipe's rows and know no task by its name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from facexcli.engines.facex.config import REGIONS
from facexcli.geometry.warp import displacement_map, warp_image
from facexcli.recipes import FACE_REGIONS, HEAD_REGIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facexcli.engines.facex.ford import FaceFacts
    from facexcli.recipes import Attribute, Provider, Recipe
    from facexcli.settings import SwapReference
    from facexcli.types import Array

TOKEN_ATTRIBUTES: Mapping[str, Attribute] = MappingProxyType(
    {
        "identity": "identity",
        **{region: cast("Attribute", region) for region in REGIONS},
        "expression": "expression",
        "pose": "pose",
        "gaze": "gaze",
        "texture": "skin",
        "light": "lighting",
    }
)
"""The tokens of f_Rep in their order, and the row of the recipe that says whose they are."""

CUT_OUT = 127
"""The grey of what is cut out of the inpainting reference."""
_RIM_POINTS = 6
_FILL, _FAR = 0.03, 1e-4
"""How far a hole takes its colours from, in crop sides; and the weight of the mean of all, for what is farther away."""
_DILATION = 0.04
"""Of the crop's side: how far a cut goes beyond the outline, so that nothing of the old face's edge is left."""


_OWN = ("canvas", "source")
_MOVED: Mapping[Attribute, tuple[Attribute, ...]] = MappingProxyType({"expression": FACE_REGIONS, "gaze": ("eyes",)})
"""What of a face changes with its motion, while the head stays as it is."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The inpainting reference I_R, and what it is for.

    rgb: uint8 (S, S, 3). hole: float32 (S, S), 1 where I_R was cut out. edited: float32 (S, S), 1 where the result may
    differ from the canvas: elsewhere, sampling is held on it.
    """

    rgb: Array
    hole: Array
    edited: Array


def token_providers(recipe: Recipe) -> dict[str, Provider]:
    """Who provides each token. Where a video drives the canvas, the canvas is the source's own portrait (fig. 4)."""
    return {token: _provider(recipe, attribute) for token, attribute in TOKEN_ATTRIBUTES.items()}


def _provider(recipe: Recipe, attribute: Attribute) -> Provider:
    provider = recipe[attribute]
    # Without a source, the stills of the identity state are the canvas's own person's: who that is need not be asked
    # in every frame.
    own = attribute == "identity" and "source" not in recipe.rows.values()
    return "source" if provider == "canvas" and (recipe.is_driven or own) else provider


def assemble_reference(
    recipe: Recipe,
    canvas: FaceFacts,
    givers: Mapping[Attribute, FaceFacts],
    hole_mask: Array | None = None,
    swap_reference: SwapReference = "cut",
) -> Reference:
    """The region assembler: pictures put together, the way the recipe's rows are.

    reenact, animate     the whole source image, which is the canvas of these
    head-swap            the source's head in grey on the canvas's background, its rim cut out
    swap, edit, inpaint  the canvas, with the regions that come from elsewhere cut out, as they are in both faces

    Rows may be mixed: what is taken is cut out of what is moved. Sampling is held on the canvas where nothing is asked
    for, unless the head moves: an expression changes a face, and a gaze its eyes.

    Args:
        canvas: the face that is edited.
        givers: who gives each region, expression and gaze that is not the canvas's own, in crops of the same size.
        hole_mask: uint8 (S, S), 255 where new content is asked for besides.
        swap_reference: `paste` puts the face's regions that were cut out in again, from the one who gives them; `warp`
            fits who gives them to the canvas before (`fitted`), and fills what is left of the hole with the colours
            around it.
    """
    taken = [region for region in HEAD_REGIONS if recipe[region] != "canvas"]
    if swap_reference == "warp":
        moved = {
            key: fitted(giver, canvas) for key, giver in {id(givers[each]): givers[each] for each in taken}.items()
        }
        givers = {**givers, **{region: moved[id(givers[region])] for region in taken}}
    union = region_union([canvas, *(givers[region] for region in taken)], taken)
    if recipe["identity"] != "canvas" and not taken:
        union = np.maximum(union, region_union([canvas], FACE_REGIONS))
    if hole_mask is not None:
        union = np.maximum(union, hole_mask > 127)
    cut = dilate(union) if union.any() else union
    picture = np.where(cut[..., None] > 0, np.uint8(CUT_OUT), canvas.rgb)
    edited = np.maximum(cut, _changed(recipe, canvas, givers))
    if all(recipe[region] == recipe["hair"] != "canvas" for region in HEAD_REGIONS):
        source = givers["hair"]
        head = region_union([source], HEAD_REGIONS)
        grey = cv2.cvtColor(source.rgb, cv2.COLOR_RGB2GRAY)[..., None]
        picture, cut = np.where(head[..., None] > 0, grey, picture), cut * (1 - head)
        return Reference(_filled(picture, cut) if swap_reference == "warp" else picture, cut, edited)
    if swap_reference != "cut":
        for giver in {id(givers[region]): givers[region] for region in taken}.values():
            # All its regions at once: where two of them meet, neither has half of a pixel.
            shown = region_union([giver], [region for region in taken if givers[region] is giver])
            picture = np.where(shown[..., None] > 0, giver.rgb, picture)
            cut = cut * (1 - shown)
    return Reference(_filled(picture, cut) if swap_reference == "warp" else picture, cut, edited)


def _filled(rgb: Array, hole: Array) -> Array:
    """The hole in the colours of what is around it: normalised convolution (Knutsson and Westin 1993)."""
    known = 1 - hole
    reach = _FILL * hole.shape[0]
    mean = (rgb * known[..., None]).sum(axis=(0, 1)) / max(float(known.sum()), 1.0)
    weight = cv2.GaussianBlur(known, (0, 0), reach) + _FAR
    around = cv2.GaussianBlur((rgb * known[..., None]).astype(np.float32), (0, 0), reach) + _FAR * mean
    return np.where(hole[..., None] > 0, np.round(around / weight[..., None]).astype(np.uint8), rgb)


def _changed(recipe: Recipe, canvas: FaceFacts, givers: Mapping[Attribute, FaceFacts]) -> Array:
    """What changes without being cut out: all of it where a head moves, else what expression, gaze or light fall on."""
    if recipe.is_driven or recipe["pose"] not in _OWN:
        return np.ones(canvas.masks.shape[1:], np.float32)
    changed = region_union([canvas], FACE_REGIONS if recipe["lighting"] not in _OWN else ())
    for attribute, regions in _MOVED.items():
        if recipe[attribute] not in _OWN:  # a mouth that opens reaches where the giver's chin is
            changed = np.maximum(changed, dilate(region_union([canvas, givers[attribute]], regions)))
    return changed


def fitted(face: FaceFacts, canvas: FaceFacts) -> FaceFacts:
    """A face whose landmarks lie where the canvas's do: its picture and masks follow (a thin-plate spline), the rim
    stays. What else is known of it is left as it was. Raises ValueError for faces whose landmarks are not known."""
    if face.landmarks_px is None or canvas.landmarks_px is None:
        raise ValueError("faces are fitted to each other by their landmarks")
    side = face.rgb.shape[0]
    edge = np.linspace(0, side - 1, _RIM_POINTS)
    rim = np.array([(x, y) for x in edge for y in edge if min(x, y) == 0 or max(x, y) == side - 1])
    source_map = displacement_map(np.vstack([face.landmarks_px, rim]), np.vstack([canvas.landmarks_px, rim]), side)
    masks = np.stack([warp_image(mask, source_map) for mask in face.masks])
    return replace(face, rgb=warp_image(face.rgb, source_map), masks=masks, landmarks_px=canvas.landmarks_px)


def region_union(faces: Sequence[FaceFacts], regions: Sequence[str]) -> Array:
    """Where any of the faces is made of the regions, for the most part: float32 (S, S), 0 or 1; nowhere for none."""
    rows = [REGIONS.index(region) for region in regions]
    shares = [face.masks[rows].sum(axis=0) for face in faces]  # of several: where they meet, none has half of it
    return np.asarray(np.any(np.stack(shares) > 0.5, axis=0), np.float32)


def dilate(mask: Array) -> Array:
    """A mask float32 (S, S), 0 or 1, grown by `_DILATION` of its side."""
    reach = 2 * max(1, round(_DILATION * mask.shape[0])) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel), np.float32)  # bytes are ten times as fast

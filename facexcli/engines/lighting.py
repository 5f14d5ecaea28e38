"""The light that falls on a face: read off one picture, and put on another. No network, only the embedded face.

A picture does not tell dark skin in bright light from fair skin in dim light. So a light is known up to its mean over a
face that is seen in front, for each colour: brighter and darker than that, warmer and colder than that, is light; the
mean itself belongs to the skin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from facexcli.fusion.mask import face_unit_px, region_masks
from facexcli.fusion.occlusion import bare_mask
from facexcli.fusion.skin import fit_skin, skin_distance
from facexcli.geometry.dense_face import dense_face, light_axes, posed
from facexcli.geometry.face_shape import MEAN_SHAPE
from facexcli.geometry.light import even_light, linear_from_srgb, sh_basis, shade, solve_light, srgb_from_linear
from facexcli.geometry.model3d import fit_pose, personal_shape
from facexcli.geometry.raster import Raster, rasterise
from facexcli.types import Array, Crop

_SIDE_PX = 128
_RIDGE, _COLOUR_RIDGE = 0.01, 0.5
"""Of the brightness, and of what sets the colours apart: blood and beards have colours of their own."""
_ROUNDS = 5
_STRAY = 0.12
"""A pixel that is brighter or darker than the light explains by this share of the mean says half as much."""
_SKIN_SPREAD = 4.0
_LEAST_SHADE = 0.15
"""A surface is never taken for darker than this share of the mean: dividing by less would show only noise."""
_MOST_CHANGE = np.log(4.0)
_LEAST_CHANGE = 0.01
"""Of the logarithm of a pixel's light: what changes less is left as it is."""
_SHOULDER = 0.45
"""Linear light above which a face that is lit up nears white more slowly."""
_REACH = (0.015, 0.45)
"""Face units over which a change fades out beyond the face: on what is not skin, and on skin such as neck and ears."""
_RIM = 0.15
"""Face units from the outline inwards within which what is not like skin is taken for hair or background."""


@dataclass(frozen=True, slots=True)
class Surface:
    """A face in a crop. vertices_px: float32 (V, 3); normals: float32 (V, 3), see `geometry.light`."""

    vertices_px: Array
    normals: Array

    def drawn(self, size_px: int, crop_px: int) -> Raster:
        """The crop's face in a picture of another size."""
        scale = size_px / crop_px
        vertices = self.vertices_px * np.float32(scale)
        vertices[:, :2] += np.float32(0.5 * scale - 0.5)
        return rasterise(vertices[None], dense_face().triangles, size_px)


def surface_of(landmarks_px: Array) -> Surface:
    """The surface that goes through landmarks (68, 2)."""
    pose = fit_pose(landmarks_px)
    shape, face = personal_shape(landmarks_px, pose), dense_face()
    vertices = posed(face.vertices(shape), pose.rotation, pose.scale, pose.translation_px)
    return Surface(vertices, light_axes(face.normals(shape), pose.rotation))


def light_on(crop: Crop, surface: Surface | None = None) -> Array:
    """The light on the face of a crop, float32 (9, 3), of mean 1 (see `normalised`).

    Robust least squares over what is bare skin, which is taken to be of one colour where nothing speaks against it.
    """
    raster = (surface := surface or surface_of(crop.landmarks_px)).drawn(_SIDE_PX, crop.size_px)
    colours = linear_from_srgb(cv2.resize(crop.rgb, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA))
    colours = colours.reshape(-1, 3)[raster.pixels]
    normals = raster.interpolate(surface.normals[None])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    trust = _bare_skin(crop).reshape(-1)[raster.pixels]
    means = np.maximum(np.average(colours, axis=0, weights=trust + 1e-6), 1e-4)
    colours = colours / means
    weights, light = trust, even_light()
    for _ in range(_ROUNDS):
        grey = colours.mean(axis=1, keepdims=True)
        light = solve_light(normals, grey, weights, _RIDGE) + solve_light(
            normals, colours - grey, weights, _COLOUR_RIDGE
        )
        stray = np.abs(colours - shade(normals, light)).mean(axis=1) / _STRAY
        weights = trust / (1 + stray * stray)
    return normalised(light)


def normalised(light: Array) -> Array:
    """A light (9, 3) scaled so that the mean face, seen in front, is 1 bright on the average in each colour."""
    means = _mean_basis() @ np.asarray(light, np.float64)
    return np.asarray(light / np.maximum(means, 1e-3), np.float32)


def mixed_light(one: Array, other: Array, amount: float) -> Array:
    """From `one`, at 0, to `other`, at 1."""
    return np.asarray(one + np.float32(amount) * (other - one), np.float32)


def relit(crop: Crop, light: Array, own: Array | None = None) -> tuple[Array, Array]:
    """The crop under another light of mean 1: float32 (S, S, 3), sRGB in 0..1; and where it is another, (S, S), 0..1.

    Each pixel of the face becomes as much brighter as its surface does; around the face that fades out, far on skin,
    near on everything else.

    own: the light that is on it, where that is known.
    """
    surface = surface_of(crop.landmarks_px)
    own = light_on(crop, surface) if own is None else own
    before, after = (_soft_floor(shade(surface.normals, each)) for each in (own, light))
    change = np.clip(np.log(after / before), -_MOST_CHANGE, _MOST_CHANGE)
    side = max(_SIDE_PX, crop.size_px // 2)
    raster = surface.drawn(side, crop.size_px)
    known = raster.covered[0].astype(np.float32)
    field = raster.image(raster.interpolate(change[None]))[0]
    field = _spread(field, known, _fading(crop, known))
    field = cv2.resize(field, (crop.size_px, crop.size_px), interpolation=cv2.INTER_LINEAR)
    dark = linear_from_srgb(crop.rgb)
    rgb = srgb_from_linear(dark + _shouldered(dark * np.exp(field)) - _shouldered(dark))
    return rgb, np.asarray(np.clip(np.abs(field).max(axis=2) / _LEAST_CHANGE - 1, 0, 1), np.float32)


@cache
def _mean_basis() -> Array:
    """The basis, float64 (9,), averaged over the pixels of the mean face seen in front."""
    face = dense_face()
    vertices = posed(face.vertices(MEAN_SHAPE), np.eye(3), 50.0, np.array((64, 48)))
    raster = rasterise(vertices[None], face.triangles, 128)
    normals = light_axes(face.normals(MEAN_SHAPE), np.eye(3))
    return np.asarray(raster.interpolate(sh_basis(normals)[None]).mean(axis=0), np.float64)


def _soft_floor(brightness: Array) -> Array:
    """Smoothly no less than `_LEAST_SHADE`."""
    above = brightness - _LEAST_SHADE
    return np.asarray(_LEAST_SHADE + (above + np.sqrt(above * above + _LEAST_SHADE**2)) / 2)


def _shouldered(linear: Array) -> Array:
    """Linear light that nears white slowly, as film does, instead of being cut off there."""
    over = np.maximum(linear - _SHOULDER, 0) / np.float32(1 - _SHOULDER)
    return np.asarray(np.minimum(linear, _SHOULDER) + (1 - _SHOULDER) * (1 - np.exp(-over)), np.float32)


def _bare_skin(crop: Crop) -> Array:
    """How much each pixel tells of the light: float32 (_SIDE_PX, _SIDE_PX)."""
    skin = fit_skin(crop.rgb, crop.landmarks_px)
    distance = skin_distance(crop.rgb, skin, _SIDE_PX) / np.float32(_SKIN_SPREAD)
    scaled = (crop.landmarks_px + 0.5) * (_SIDE_PX / crop.size_px) - 0.5
    regions = region_masks(scaled, _SIDE_PX)
    plain = regions["skin"] + regions["nose"]
    return np.asarray(bare_mask(crop.rgb, crop.landmarks_px, skin, _SIDE_PX) * plain**2 / (1 + distance**2))


def _fading(crop: Crop, known: Array) -> Array:
    """How much of a change there is left outside of the face: float32 like `known`."""
    side = known.shape[0]
    unit = face_unit_px(crop.landmarks_px) * side / crop.size_px
    away = cv2.distanceTransform((known < 0.5).astype(np.uint8), cv2.DIST_L2, 3) / np.float32(unit)
    skin = fit_skin(crop.rgb, crop.landmarks_px)
    like_skin: Array = np.clip(1.5 - skin_distance(crop.rgb, skin, side) / 4, 0, 1)
    like_skin = cv2.GaussianBlur(like_skin, (0, 0), 0.03 * unit)
    near, far = (np.exp(-((away / reach) ** 2)) for reach in _REACH)
    return np.asarray(near + (far - near) * like_skin, np.float32)


def _spread(field: Array, known: Array, share: Array) -> Array:
    """`field` (N, N, 3), known where `known` is 1, continued smoothly elsewhere; all of it multiplied by `share`."""
    spread: Array = np.zeros_like(field)
    weight: Array = np.full_like(known, 1e-6)
    for sigma in (1.5, 4.0, 10.0, 24.0):
        here = cv2.GaussianBlur(known, (0, 0), sigma) * np.float32(10.0 ** (-sigma / 4))
        near = cv2.GaussianBlur(field * known[..., None], (0, 0), sigma) * np.float32(10.0 ** (-sigma / 4))
        spread, weight = spread + near, weight + here
    spread /= weight[..., None]
    inside = cv2.GaussianBlur(known, (0, 0), 1.0)[..., None] * known[..., None]
    return np.asarray((inside * field + (1 - inside) * spread) * share[..., None], np.float32)

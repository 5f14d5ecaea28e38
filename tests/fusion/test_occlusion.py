"""What covers a face is told from the face."""

import cv2
import numpy as np
import pytest

from facexcli.fusion.glasses import glasses_mask
from facexcli.fusion.occlusion import bare_mask
from facexcli.fusion.skin import fit_skin, skin_mask
from facexcli.types import Array, Crop

DARK_SKIN = (92, 58, 44)
HAIR = (60, 42, 32)


def bare(crop: Crop) -> Array:
    return bare_mask(crop.rgb, crop.landmarks_px, fit_skin(crop.rgb, crop.landmarks_px), crop.size_px)


def at(mask: Array, point: Array) -> float:
    x, y = np.round(point).astype(int)
    return float(mask[y, x])


@pytest.mark.parametrize("skin", [(205, 160, 135), DARK_SKIN])
def test_a_bare_face_is_bare_with_all_its_features(painted, skin):
    crop = painted(skin=skin)
    mask = bare(crop)
    # The outline's own points lie on the edge of the skin: judge them a tenth of the way inward.
    jaw = crop.landmarks_px[:17] * 0.9 + crop.landmarks_px[30] * 0.1
    for point in [*jaw, *crop.landmarks_px[17:]]:
        assert at(mask, point) > 0.9


def test_hair_and_background_are_not_skin(painted):
    crop = painted()
    mask = skin_mask(crop.rgb, fit_skin(crop.rgb, crop.landmarks_px), crop.size_px)
    forehead = crop.landmarks_px[[21, 22]].mean(axis=0) - (0, 12)
    assert at(mask, forehead) == 1
    assert at(mask, (5, 5)) == 0
    assert at(mask, (crop.size_px / 2, 12)) == 0


def test_a_fringe_stays_in_front_and_the_brows_below_it_do_not(painted):
    crop = painted(fringe=True)
    mask = bare(crop)
    unit = crop.landmarks_px[45, 0] - crop.landmarks_px[36, 0]
    assert at(mask, crop.landmarks_px[[21, 22]].mean(axis=0) - (0, 0.3 * unit)) < 0.1
    assert at(mask, crop.landmarks_px[19]) > 0.9
    assert at(mask, crop.landmarks_px[30]) > 0.9


def test_dark_lenses_stay_in_front_of_the_eyes(painted):
    crop = painted(dark_lenses=True)
    mask = bare(crop)
    for eye in (slice(36, 42), slice(42, 48)):
        assert at(mask, crop.landmarks_px[eye].mean(axis=0)) < 0.1
    assert at(mask, crop.landmarks_px[57]) > 0.9


def test_a_frame_is_found_where_it_is(painted):
    crop = painted(glasses=True)
    mask = glasses_mask(crop.rgb, crop.landmarks_px)
    assert mask is not None
    unit = crop.landmarks_px[45, 0] - crop.landmarks_px[36, 0]
    bridge = crop.landmarks_px[36:48].mean(axis=0) + np.array((0, 0.01 * unit))
    x, y = np.round(bridge).astype(int)
    assert mask[y - 3 : y + 4, x].max() > 0.5
    under_eye = crop.landmarks_px[36:42].mean(axis=0) + np.array((0, 0.25 * unit))
    x, y = np.round(under_eye).astype(int)
    assert mask[y - 3 : y + 4, x].max() > 0.5
    assert at(mask, crop.landmarks_px[33]) == 0
    assert at(mask, crop.landmarks_px[51]) == 0


@pytest.mark.parametrize("skin", [(205, 160, 135), DARK_SKIN])
def test_a_bare_face_has_no_glasses(painted, skin):
    crop = painted(skin=skin)
    assert glasses_mask(crop.rgb, crop.landmarks_px) is None


def _with_microphone(crop: Crop) -> Array:
    rgb = crop.rgb.copy()
    unit = crop.landmarks_px[45, 0] - crop.landmarks_px[36, 0]
    x, y = np.round(crop.landmarks_px[57] * 0.4 + crop.landmarks_px[8] * 0.6).astype(int).tolist()
    cv2.circle(rgb, (x, y), round(0.24 * unit), (45, 45, 48), -1)
    cv2.rectangle(rgb, (x - round(0.1 * unit), y), (x + round(0.1 * unit), crop.size_px), (30, 30, 32), -1)
    return rgb


@pytest.mark.parametrize("skin", [(205, 160, 135), (160, 112, 84)])
def test_a_microphone_before_the_chin_stays_in_front(painted, skin):
    crop = painted(skin=skin, neck=True)
    held = Crop(_with_microphone(crop), crop.crop_from_frame, crop.landmarks_px, crop.template)
    mask = bare(held)
    assert at(mask, crop.landmarks_px[57] * 0.4 + crop.landmarks_px[8] * 0.6) < 0.1
    assert at(mask, crop.landmarks_px[48]) > 0.9
    assert at(mask, crop.landmarks_px[5] * 0.85 + crop.landmarks_px[30] * 0.15) > 0.9


def test_a_beard_is_not_taken_for_a_microphone(painted):
    crop = painted(neck=True)
    rgb = crop.rgb.copy()
    jaw = np.vstack([crop.landmarks_px[5:12], crop.landmarks_px[[54, 57, 48]]]) * 0.85 + crop.landmarks_px[30] * 0.15
    cv2.fillPoly(rgb, [np.round(jaw).astype(np.int32)], HAIR)
    bearded = Crop(rgb, crop.crop_from_frame, crop.landmarks_px, crop.template)
    assert at(bare(bearded), crop.landmarks_px[57] * 0.5 + crop.landmarks_px[8] * 0.5) > 0.9

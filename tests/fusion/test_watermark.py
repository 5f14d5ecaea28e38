"""The mark on a lattice: where it is put, how much, and what is said of pictures with and without it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from facexcli.fusion.watermark import add_mark
from facexcli.fusion.watermark_box import box_in
from facexcli.fusion.watermark_search import FOUND_LOG10, Evidence, weigh
from facexcli.fusion.watermark_waves import GRID_PX, PUBLIC_KEY, make_dither
from facexcli.types import Array
from tests.fusion.conftest import paint_face

SIDE = 256
GRID_FROM_CROP = np.diag([GRID_PX / SIDE, GRID_PX / SIDE, 1.0]) + np.array([[0, 0, -0.25], [0, 0, -0.25], [0, 0, 0]])
RUN_ID = 0xC0FFEE42
LUMA = np.array([0.2126, 0.7152, 0.0722])


def a_face(seed: int = 0) -> Array:
    """float32 (SIDE, SIDE, 3) in 0..1: a painted face with something of the grain of skin."""
    grain = np.random.default_rng(seed).standard_normal((SIDE, SIDE)).astype(np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 2.0)
    rgb = cv2.GaussianBlur(paint_face(SIDE).rgb, (0, 0), 1.5).astype(np.float32)
    return np.clip((rgb + 20 * grain[..., None]) / 255, 0, 1).astype(np.float32)


def an_oval() -> Array:
    alpha = np.zeros((SIDE, SIDE), np.float32)
    cv2.ellipse(alpha, (SIDE // 2, 145), (75, 95), 0, 0, 360, 1.0, -1)
    return cv2.GaussianBlur(alpha, (0, 0), 3.0) * (cv2.dilate(alpha, np.ones((5, 5))) > 0)


def marked(rgb: Array, key: bytes = PUBLIC_KEY, alpha: Array | None = None, run_id: int = RUN_ID) -> Array:
    result = rgb.copy()
    under = (255 * rgb).astype(np.uint8)
    add_mark(result, an_oval() if alpha is None else alpha, under, GRID_FROM_CROP, make_dither(key, run_id))
    return result


def painted(rgb: Array, over: Array) -> Array:
    alpha = an_oval()[..., None]
    return np.asarray(np.round(255 * (alpha * rgb + (1 - alpha) * over)).astype(np.uint8))


def seen(rgb: Array, grid_from_crop: Array = GRID_FROM_CROP) -> Array:
    """float32 (1, GRID_PX, GRID_PX): what a detector gets of one picture, uint8."""
    luma = (rgb.astype(np.float64) @ LUMA).astype(np.float32)
    smaller = cv2.resize(luma, (GRID_PX, GRID_PX), interpolation=cv2.INTER_AREA)
    between = grid_from_crop @ np.linalg.inv(GRID_FROM_CROP)
    return cv2.warpAffine(smaller, between[:2], (GRID_PX, GRID_PX))[None]


def test_only_what_is_painted_changes_and_so_little_that_nobody_sees_it() -> None:
    face, alpha = a_face(), an_oval()
    result = marked(face)
    assert np.array_equal(result[alpha == 0], face[alpha == 0])
    change = 255 * (result - face)
    error = float(np.mean((change * alpha[..., None])[alpha > 0.5] ** 2))
    assert 10 * np.log10(255**2 / error) >= 42
    assert np.abs(change).max() < 12
    assert np.allclose(change[..., 0], change[..., 1], atol=1e-3), "the mark has no colour"


def test_a_face_that_is_hardly_painted_is_left_as_it_is() -> None:
    face = a_face()
    assert np.array_equal(marked(face, alpha=np.zeros((SIDE, SIDE), np.float32)), face)
    assert np.array_equal(marked(face, alpha=0.3 * an_oval()), face)


def test_a_crop_that_cuts_the_face_off_can_be_marked() -> None:
    face, alpha = a_face(), np.ones((SIDE, SIDE), np.float32)
    moved = GRID_FROM_CROP.copy()
    moved[0, 2] += 70
    add_mark(face, alpha, (255 * face).astype(np.uint8), moved, make_dither(PUBLIC_KEY, RUN_ID))
    assert np.isfinite(face).all()


def test_what_is_nearly_black_or_white_stays_in_range() -> None:
    face = np.clip(2.5 * a_face() - 0.75, 0, 1)
    result = marked(face)
    assert result.min() == 0 and result.max() == 1


def test_a_crop_that_is_the_grid_at_a_larger_size_is_marked_like_any_other() -> None:
    """Its pixels are used without a warp; with one, the mark is the same, but for what a warp does to grain."""
    face, alpha = cv2.GaussianBlur(a_face(), (0, 0), 3.0), an_oval()
    under, dither = (255 * face).astype(np.uint8), make_dither(PUBLIC_KEY, RUN_ID)
    changes = []
    for offset_px in (0.0, 0.01):
        result, matrix = face.copy(), GRID_FROM_CROP.copy()
        matrix[:2, 2] += offset_px
        assert (box_in(matrix, (SIDE, SIDE)).box_from_small is None) == (offset_px == 0)
        add_mark(result, alpha, under, matrix, dither)
        changes.append(255 * (result - face)[alpha > 0.5])
    assert np.corrcoef(changes[0].ravel(), changes[1].ravel())[0, 1] > 0.95


def test_a_box_beyond_the_crop_changes_nothing() -> None:
    face, alpha = a_face(), np.ones((SIDE, SIDE), np.float32)
    result, matrix = face.copy(), GRID_FROM_CROP.copy()
    matrix[:2, 2] -= 500
    add_mark(result, alpha, (255 * face).astype(np.uint8), matrix, make_dither(PUBLIC_KEY, RUN_ID))
    assert np.array_equal(result, face)


Attack = Callable[[Array], Array]


def _as_jpeg(quality: int) -> Attack:
    def attack(rgb: Array) -> Array:
        done, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])
        assert done
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))

    return attack


def _at_half_size(rgb: Array) -> Array:
    half = cv2.resize(rgb, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(half, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def _brighter(rgb: Array) -> Array:
    return np.clip(rgb.astype(np.float32) * 1.005 + 6, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("attack", [_as_jpeg(75), _at_half_size, _brighter], ids=["jpeg", "half", "brighter"])
def test_a_mark_survives(attack: Attack) -> None:
    face = a_face()
    found = weigh(seen(attack(painted(marked(face), face))), PUBLIC_KEY)
    assert found.is_found
    assert found.run_id == RUN_ID or not found.is_read


def test_the_run_is_read() -> None:
    face = a_face(3)
    found = weigh(seen(painted(marked(face), face)), PUBLIC_KEY)
    assert found.is_read and found.run_id == RUN_ID


def test_a_face_that_is_found_a_little_elsewhere_still_bears_its_mark() -> None:
    face = a_face(1)
    turned = np.eye(3)
    turned[:2] = cv2.getRotationMatrix2D((64, 72), 0.8, 1.012)
    turned[:2, 2] += (0.7, -0.9)
    assert weigh(seen(painted(marked(face), face), turned @ GRID_FROM_CROP), PUBLIC_KEY).is_found


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_found_without_a_mark_or_by_another_key(seed: int) -> None:
    face = a_face(seed)
    plain = weigh(seen(painted(face, face)), PUBLIC_KEY)
    other = weigh(seen(painted(marked(face, key=b"somebody's own"), face)), PUBLIC_KEY)
    assert max(plain.log10_chance, other.log10_chance) < FOUND_LOG10 / 2


def test_what_is_flat_says_nothing() -> None:
    assert not weigh(np.full((1, GRID_PX, GRID_PX), 128, np.float32), PUBLIC_KEY).is_found


def test_the_chance_is_a_bound() -> None:
    """Over many keys, the evidence against one unmarked picture has a mean of at most 1 in plain numbers."""
    picture = seen(painted(a_face(), a_face()))
    ratios = [10 ** weigh(picture, f"key {number}".encode()).log10_chance for number in range(5)]
    # Below 1 it is cut off at 1, so that 2 is a bound, and chance may double that.
    assert np.mean(ratios) < 4


def test_runs_and_keys_have_marks_of_their_own() -> None:
    one = make_dither(PUBLIC_KEY, RUN_ID)
    assert one.dtype == np.float32 and one.min() >= 0 and one.max() < 1
    assert np.array_equal(one, make_dither(PUBLIC_KEY, RUN_ID))
    same = one == make_dither(PUBLIC_KEY, RUN_ID ^ 0x00010001)
    assert 0.5 < same.mean() < 0.75, "most say only that there is a mark"
    assert np.mean(one == make_dither(b"somebody's own", RUN_ID)) < 0.05


def test_a_run_id_is_told_only_where_it_is_certain() -> None:
    assert not Evidence(9.0, 1, 0.5).is_read
    assert not Evidence(1.0, 1, 1.0).is_read
    assert Evidence(9.0, 1, 0.99).is_read

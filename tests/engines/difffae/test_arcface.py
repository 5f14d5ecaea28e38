"""f_id by ArcFace, on a made network with its signature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facexcli.engines.difffae.arcface import open_arcface
from facexcli.errors import WeightsError
from facexcli.faces.align import arcface_chip
from facexcli.types import Array, Crop
from facexcli.weights.catalog import catalog
from facexcli.weights.store import Store
from tests.engines.graphs import add, recogniser_graph


@pytest.fixture
def crop() -> Crop:
    rgb = np.random.default_rng(1).integers(0, 256, (128, 128, 3), np.uint8)
    turn = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points = np.stack([64 + 30 * np.cos(turn), 64 + 36 * np.sin(turn)], axis=1).astype(np.float32)
    return Crop(rgb, np.eye(3), points, "ffhq")


def with_network(folder: Path, graph: bytes) -> Store:
    store = Store(folder / "models")
    add(store, "antelopev2", {file: graph for file in catalog()["antelopev2"].files})
    return store


def by_hand(crop: Crop) -> Array:
    chip = arcface_chip(crop.rgb, crop.landmarks_px).astype(np.float64) / 127.5 - 1
    pooled = chip.reshape(7, 16, 7, 16, 3).mean(axis=(1, 3)).transpose(2, 0, 1).ravel()
    answer = pooled @ np.random.default_rng(5).normal(size=(147, 512)).astype(np.float32)
    return np.asarray(answer / np.linalg.norm(answer))


def test_the_embedding_of_the_aligned_chip_has_length_one(tmp_path: Path, crop: Crop) -> None:
    found = open_arcface(with_network(tmp_path, recogniser_graph()))(crop)
    assert found.shape == (512,) and found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(crop), atol=1e-5)


def test_without_it_the_command_that_brings_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        open_arcface(Store(tmp_path / "models"))
    assert "facex models pull antelopev2" in str(caught.value.hint)

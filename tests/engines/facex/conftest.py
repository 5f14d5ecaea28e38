"""Faces without pictures of anybody, and the tiny network with the structure of the real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facexcli.faces.align import TEMPLATES
from facexcli.types import Crop, TemplateName
from tests.one_thread import one_thread as one_thread

SIZE_PX = 64


@pytest.fixture
def network() -> Any:
    """Random weights, and a controller that says something: its zero convolutions are not zero any more."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from facexcli.engines.facex.config import PRESETS
    from facexcli.engines.facex.model import FaceXNetwork

    torch.manual_seed(0)
    network = FaceXNetwork(PRESETS["tiny"]).eval().requires_grad_(False)
    for layer in network.controller.layers.values():
        for parameter in layer.zero.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    torch.nn.init.normal_(network.regions.absent)
    return network


@pytest.fixture
def checkpoint(network: Any, tmp_path: Path) -> Path:
    from facexcli.engines.facex.checkpoint import save_checkpoint

    path = tmp_path / "tiny.safetensors"
    save_checkpoint(network, network.config, path)
    return path


@pytest.fixture
def facts() -> Callable[[int], Any]:
    """What perception might say of a face, by a number: eight masks that add up to 1, and coefficients."""
    pytest.importorskip("diffusers")
    from facexcli.engines.facex.config import MOTION_SIZES, PRESETS
    from facexcli.engines.facex.ford import FaceFacts

    def made(seed: int) -> FaceFacts:
        random = np.random.default_rng(seed)
        masks = random.random((8, SIZE_PX, SIZE_PX), np.float32)
        return FaceFacts(
            random.integers(0, 256, (SIZE_PX, SIZE_PX, 3), np.uint8),
            masks / masks.sum(axis=0),
            random.standard_normal(PRESETS["tiny"].identity_shape, np.float32),
            {name: random.standard_normal(count, np.float32) for name, count in MOTION_SIZES.items()},
        )

    return made


@pytest.fixture
def crop() -> Callable[..., Crop]:
    """The mean face, a little moved, in a picture of blotches, by a number."""

    def made(seed: int, template: TemplateName = "ffhq", size_px: int = SIZE_PX) -> Crop:
        random = np.random.default_rng(seed)
        blotches = random.integers(0, 256, (8, 8, 3), np.uint8)
        rgb = np.kron(blotches, np.ones((size_px // 8, size_px // 8, 1), np.uint8))
        landmarks = TEMPLATES[template].points_px(size_px) + random.normal(0, 0.3, (68, 2))
        return Crop(rgb, np.eye(3), landmarks.astype(np.float32), template, seed, 1)

    return made

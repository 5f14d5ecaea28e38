"""What every engine owes its callers. A new engine is added to the registry and is tested here without a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facexcli.engines.auto import swappers
from facexcli.engines.base import Engine, EngineOptions
from facexcli.engines.mesh.engine import MeshEngine
from facexcli.engines.registry import engine_factories, open_engine
from facexcli.errors import NoFaceError, UsageError
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.source import find_source_face
from facexcli.media.image import read_image
from facexcli.pipeline.painter import CropShape
from facexcli.recipes import RECIPES, Recipe, recipe_named
from facexcli.types import Array, Crop, EditRequest, Face, Motion, TemplateName

SWAPPERS = {entry.name: entry.facts["family"] for entry in swappers()}
_FAMILIES = {family: name for name, family in reversed(SWAPPERS.items())}
ENGINES = sorted(name for name in engine_factories() if name not in SWAPPERS or name in _FAMILIES.values())
"""All of them, but of swappers that differ only in their numbers one a family."""
TASKS = tuple(RECIPES)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    if request.param in SWAPPERS:
        monkeypatch.setenv("FACEX_HOME", str(request.getfixturevalue("made_swappers")))
    opened = engine_factories()[request.param]()
    if request.param in ("facex", "difffae"):
        weights = request.getfixturevalue(f"tiny_{request.param}")
        opened.configure(EngineOptions(weights=weights, device="cpu", steps=2))  # type: ignore[attr-defined]
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def made_swappers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a small graph of each family: half as red as its target."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from tests.engines.graphs import install

    home = tmp_path_factory.mktemp("home")
    for name in _FAMILIES.values():
        install(home / "data" / "weights", name, gain=(0.5, 1, 1))
    return home


@pytest.fixture(scope="module")
def tiny_facex(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the smallest network. Its weights are random, but its zero convolutions let conditions speak."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from facexcli.engines.facex.checkpoint import save_checkpoint
    from facexcli.engines.facex.config import PRESETS
    from facexcli.engines.facex.model import FaceXNetwork

    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = FaceXNetwork(PRESETS["tiny"])
    for layer in network.controller.layers.values():
        torch.nn.init.normal_(layer.zero.weight)
    path = tmp_path_factory.mktemp("facex") / "tiny.safetensors"
    save_checkpoint(network, network.config, path)
    return path


@pytest.fixture(scope="module")
def tiny_difffae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the smallest network, of random weights."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from facexcli.engines.difffae.checkpoint import save_network
    from facexcli.engines.difffae.config import PRESETS
    from facexcli.engines.difffae.model import DiffFAENetwork

    torch.manual_seed(0)
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("difffae") / "tiny.safetensors"
    save_network(DiffFAENetwork(PRESETS["tiny"]), path)
    return path


@pytest.fixture(scope="module")
def cropper(eval_data: Path) -> _Cropper:
    return _Cropper(eval_data / "london")


class _Cropper:
    """Aligned faces of the London set."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._analyzer = DlibAnalyzer()
        self._faces: dict[str, tuple[Array, Face]] = {}

    def crop(self, name: str, template: TemplateName, size_px: int) -> Crop:
        if name not in self._faces:
            rgb = read_image(self._folder / f"{name}.jpg")
            self._faces[name] = rgb, find_source_face(rgb, self._analyzer)
        rgb, face = self._faces[name]
        height, width = rgb.shape[:2]
        return CropShape(template, size_px, (width, height)).crop_still(rgb, face)


def requests_for(engine: Engine, recipe: Recipe, cropper: _Cropper, size_px: int) -> list[EditRequest]:
    """Two requests with one identity: different drivers for a reenactment, else different canvases."""
    template = engine.spec.templates[recipe.name]
    canvases = [cropper.crop(name, template, size_px) for name in ("009_neutral", "009_smiling")]
    motion = Motion(np.arange(2), np.stack([crop.landmarks_px for crop in canvases]))
    if not recipe.moves:
        still = cropper.crop("033_neutral", template, size_px)
        identity = engine.prepare([still if "source" in recipe.rows.values() else canvases[0]], motion)
        hole = None
        if recipe.name == "edit":
            able = engine.spec.takes["edit"]
            taken = [name for name in ("lips", "eyebrows") if name in able] or ["lighting"]
            recipe = recipe.with_rows(dict.fromkeys(taken, "query"))
        elif recipe.name == "inpaint":
            hole = np.zeros((size_px, size_px), np.uint8)
            hole[size_px // 3 : size_px // 2, size_px // 3 : -size_px // 3] = 255
        queries = dict.fromkeys(recipe.provided_by("query"), still)
        return [EditRequest(canvas, identity, recipe, queries, hole_mask=hole) for canvas in canvases]
    portrait = cropper.crop("033_neutral", template, size_px)
    identity = engine.prepare([portrait], motion)
    drivers = [
        Crop(crop.rgb, np.eye(3), crop.landmarks_px, crop.template, index) for index, crop in enumerate(canvases)
    ]
    return [
        EditRequest(portrait, identity, recipe, dict.fromkeys(recipe.provided_by("driving"), driver))
        for driver in drivers
    ]


@pytest.mark.parametrize("task", TASKS)
def test_a_patch_has_the_shape_range_and_rim_that_it_promises(engine: Engine, task: str, cropper: _Cropper) -> None:
    if task not in engine.spec.recipes:
        pytest.skip(f"{engine.spec.name} does not offer {task}")
    for size_px in sorted(engine.spec.crop_sizes_px)[:2]:
        for patch in engine.render(requests_for(engine, recipe_named(task), cropper, size_px)):
            assert patch.rgb.shape == (size_px, size_px, 3)
            assert patch.alpha.shape == (size_px, size_px)
            assert patch.rgb.dtype == patch.alpha.dtype == np.float32
            assert np.isfinite(patch.rgb).all()
            assert patch.alpha.min() >= 0 and patch.alpha.max() <= 1
            assert patch.alpha.max() > 0.9


@pytest.mark.parametrize("task", TASKS)
def test_a_request_gives_the_same_patch_alone_and_in_a_batch(engine: Engine, task: str, cropper: _Cropper) -> None:
    if task not in engine.spec.recipes:
        pytest.skip(f"{engine.spec.name} does not offer {task}")
    requests = requests_for(engine, recipe_named(task), cropper, min(engine.spec.crop_sizes_px))
    together = engine.render(requests)
    for request, patch in zip(reversed(requests), reversed(together), strict=True):
        (alone,) = engine.render([request])
        np.testing.assert_array_equal(alone.rgb, patch.rgb)
        np.testing.assert_array_equal(alone.alpha, patch.alpha)


@pytest.mark.parametrize("task", TASKS)
def test_different_requests_give_different_patches(engine: Engine, task: str, cropper: _Cropper) -> None:
    if task not in engine.spec.recipes:
        pytest.skip(f"{engine.spec.name} does not offer {task}")
    one, other = engine.render(requests_for(engine, recipe_named(task), cropper, min(engine.spec.crop_sizes_px)))
    assert np.abs(one.rgb - other.rgb).mean() > 0.002


def test_requests_are_not_changed(engine: Engine, cropper: _Cropper) -> None:
    task = min(engine.spec.recipes & {"swap", "reenact"}, default="edit")
    (request, _) = requests_for(engine, recipe_named(task), cropper, min(engine.spec.crop_sizes_px))
    rgb, landmarks = request.canvas.rgb.copy(), request.canvas.landmarks_px.copy()
    engine.render([request])
    np.testing.assert_array_equal(request.canvas.rgb, rgb)
    np.testing.assert_array_equal(request.canvas.landmarks_px, landmarks)


def test_no_requests_give_no_patches(engine: Engine) -> None:
    assert engine.render([]) == []


def test_no_source_is_an_error(engine: Engine) -> None:
    with pytest.raises(NoFaceError):
        engine.prepare([])


def test_closing_twice_is_allowed(engine: Engine) -> None:
    engine.close()
    engine.close()


def test_every_engine_describes_itself(engine: Engine) -> None:
    spec = engine.spec
    assert spec.name in ENGINES
    assert spec.summary and spec.licence and spec.recipes
    assert set(spec.templates) >= spec.recipes
    assert all(size >= 64 for size in spec.crop_sizes_px)


class _Foreign:
    """What a third party's package announces: a name, and something that loads."""

    name = "theirs"

    def __init__(self, loaded: type | ImportError) -> None:
        self._loaded = loaded

    def load(self) -> type:
        if isinstance(self._loaded, ImportError):
            raise self._loaded
        return self._loaded


def test_an_engine_of_another_package_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facexcli.engines.registry.entry_points", lambda group: [_Foreign(MeshEngine)])
    assert isinstance(open_engine("theirs", "swap").engine, MeshEngine)


def test_an_engine_that_cannot_be_loaded_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = _Foreign(ImportError("no module named torch"))
    monkeypatch.setattr("facexcli.engines.registry.entry_points", lambda group: [broken])
    with pytest.raises(UsageError, match="torch"):
        open_engine("theirs", "swap")


def test_an_unknown_engine_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        open_engine("mash", "swap")
    assert "mesh" in caught.value.hint


def test_an_engine_that_cannot_do_the_task_says_what_it_can() -> None:
    with pytest.raises(UsageError, match="cannot do") as caught:
        open_engine("mesh", "inpaint")
    assert "swap" in caught.value.hint

"""FLAME, DECA and checkpoints: files of the same form as the real ones, made here, small."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.numpy import save_file  # noqa: E402
from scipy import sparse  # noqa: E402

from facexcli.engines.base import EngineOptions  # noqa: E402
from facexcli.engines.difffae.checkpoint import load_network, load_regions, save_network, save_regions  # noqa: E402
from facexcli.engines.difffae.config import PRESETS, DiffFAEConfig  # noqa: E402
from facexcli.engines.difffae.deca import SIZES, DecaEncoder, load_deca  # noqa: E402
from facexcli.engines.difffae.engine import DiffFAEEngine  # noqa: E402
from facexcli.engines.difffae.flame import Flame, FlameMesh, load_flame, open_flame  # noqa: E402
from facexcli.engines.difffae.model import DiffFAENetwork  # noqa: E402
from facexcli.engines.difffae.slots import SlotAutoencoder  # noqa: E402
from facexcli.errors import UsageError, WeightsError  # noqa: E402
from facexcli.geometry.face_shape import MEAN_SHAPE  # noqa: E402
from facexcli.geometry.model3d import Pose, project, rotation_matrix  # noqa: E402
from facexcli.types import Array, Crop  # noqa: E402
from facexcli.weights.convert import convert  # noqa: E402
from facexcli.weights.store import Store  # noqa: E402

STEPS = 12


def head() -> dict[str, object]:
    """A sphere of 10 cm with FLAME's tables: the first shape number widens it, the first expression lifts its front."""
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, STEPS), np.linspace(0, np.pi, STEPS))
    points = 0.1 * np.stack([np.cos(u) * np.sin(v), np.cos(v), np.sin(u) * np.sin(v)], axis=-1).reshape(-1, 3)
    row, column = np.meshgrid(np.arange(STEPS - 1), np.arange(STEPS - 1), indexing="ij")
    a = (row * STEPS + column).ravel()
    faces = np.concatenate([np.stack([a, a + 1, a + STEPS], 1), np.stack([a + 1, a + STEPS + 1, a + STEPS], 1)])
    count = len(points)
    shapes = np.zeros((count, 3, 400))
    shapes[:, 0, 0] = points[:, 0]
    shapes[:, 1, 300] = 0.05 * (points[:, 2] > 0.05)
    regressor = np.full((5, count), 1 / count)
    weights = np.zeros((count, 5))
    low = points[:, 1] < -0.02
    weights[low, 2], weights[~low, 0] = 1, 1
    return {
        "v_template": points, "shapedirs": shapes, "posedirs": np.zeros((count, 3, 36)),
        "J_regressor": sparse.csc_matrix(regressor), "weights": weights, "f": faces.astype(np.uint32),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], range(5)], np.int64), "bs_type": "lrotmin",
    }  # fmt: skip


@pytest.fixture
def flame_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As FLAME is published: a plain pickle, with chumpy's arrays in it, which is not installed here."""
    chumpy, module = types.ModuleType("chumpy"), types.ModuleType("chumpy.ch")

    class Ch:
        def __init__(self, x: Array) -> None:
            self.x = x

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    module.Ch = Ch  # type: ignore[attr-defined]
    tables = head()
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "chumpy", chumpy)
        patched.setitem(sys.modules, "chumpy.ch", module)
        path = tmp_path / "generic_model.pkl"
        path.write_bytes(pickle.dumps({**tables, "shapedirs": Ch(tables["shapedirs"])}, protocol=2))  # type: ignore[arg-type]
    return path


@pytest.fixture
def mesh(flame_pickle: Path, tmp_path: Path) -> FlameMesh:
    convert(flame_pickle, tmp_path / "flame.safetensors")
    return load_flame(tmp_path / "flame.safetensors")


def test_flame_s_pickle_is_converted_without_being_trusted(flame_pickle: Path, tmp_path: Path) -> None:
    dropped = convert(flame_pickle, tmp_path / "flame.safetensors")
    assert "bs_type" in dropped
    mesh = load_flame(tmp_path / "flame.safetensors")
    tables = head()
    np.testing.assert_allclose(mesh.template, tables["v_template"], atol=1e-7)
    np.testing.assert_allclose(mesh.joints, tables["J_regressor"].toarray(), atol=1e-7)  # type: ignore[attr-defined]
    np.testing.assert_allclose(mesh.shapes, tables["shapedirs"], atol=1e-7)


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch broken",)


def test_a_pickle_with_a_program_in_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"v_template": _Bomb()}, protocol=2))
    with pytest.raises(WeightsError, match="system"):
        convert(tmp_path / "bad.pkl", tmp_path / "bad.safetensors")
    assert not (tmp_path / "broken").exists()


def test_a_flame_of_another_size_is_told_by_the_store(flame_pickle: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"expected v_template of 5023 x 3"):
        Store(tmp_path / "weights").add("flame", flame_pickle)


def test_a_file_that_is_no_flame_is_told(tmp_path: Path) -> None:
    save_file({"v_template": np.zeros((4, 3), np.float32)}, str(tmp_path / "no.safetensors"))
    with pytest.raises(WeightsError, match="lacks shapedirs"):
        load_flame(tmp_path / "no.safetensors")
    tables = {name: np.asarray(value) for name, value in head().items() if isinstance(value, np.ndarray)}
    tables |= {"J_regressor": np.zeros((5, STEPS**2)), "shapedirs": np.zeros((STEPS**2, 3, 10))}
    save_file(tables, str(tmp_path / "old.safetensors"))
    with pytest.raises(WeightsError, match="another version: shapedirs"):
        load_flame(tmp_path / "old.safetensors")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_flame(tmp_path / "absent.safetensors")


def test_flame_s_numbers_do_what_they_say(mesh: FlameMesh) -> None:
    nothing = np.zeros(100), np.zeros(50), np.zeros(3)
    rest = mesh.vertices(*nothing)
    shift = rest - head()["v_template"] * np.array((1, -1, -1))  # y and z turned round, about the root joint
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-6)
    wide = mesh.vertices(np.eye(100)[0], *nothing[1:])
    np.testing.assert_allclose(wide[:, 0], 2 * rest[:, 0], atol=1e-6)
    np.testing.assert_allclose(wide[:, 1:], rest[:, 1:], atol=1e-6)
    jaw = np.abs(mesh.vertices(nothing[0], nothing[1], np.array((0.3, 0, 0))) - rest).max(axis=1)
    low = rest[:, 1] > 0.02  # y points down in face space
    assert jaw[low].max() > 0.01 and jaw[~low].max() < 1e-6
    outward = (mesh.normals(rest) * rest).sum(axis=1)
    assert np.quantile(outward, 0.1) > 0


def test_flame_renders_what_deca_says(mesh: FlameMesh) -> None:
    torch.manual_seed(0)
    encoder = DecaEncoder(width=2).eval()
    last = encoder.layers[2]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
        names = list(SIZES)
        start = {name: sum(SIZES[other] for other in names[: names.index(name)]) for name in names}
        last.bias[start["camera"]] = 8.0
        last.bias[start["light"] : start["light"] + 3] = 2.0
        last.bias[start["pose"] + 1] = 0.3  # about y, which points up: to the picture's right
    pose = Pose(rotation_matrix(0, 0, 0), 40.0, np.array((63.5, 50.0)))
    rgb = np.full((128, 128, 3), (180, 120, 90), np.uint8)
    crop = Crop(rgb, np.eye(3), project(MEAN_SHAPE, pose).astype(np.float32), "ffhq")
    model = Flame(mesh, encoder)
    found = model.coefficients(crop)
    assert found.pose[0] == pytest.approx(np.degrees(0.3), abs=0.1)
    assert np.abs(found.pose[1:]).max() < 1e-3
    made = model.render([found], 128)
    assert 0.05 < made.visible.mean() < 0.9
    seen = made.rgb[0][made.visible[0]]
    assert np.abs(np.median(seen, axis=0) - (180, 120, 90)).max() < 12  # its own texture under its own light


def test_deca_s_checkpoint_is_read_by_its_own_names(tmp_path: Path) -> None:
    encoder = DecaEncoder(width=2)
    tables = {"E_flame": dict(encoder.state_dict()), "E_detail": {"x": torch.zeros(1)}, "epoch": 3}
    torch.save(tables, tmp_path / "deca_model.tar")
    convert(tmp_path / "deca_model.tar", tmp_path / "deca.safetensors")
    rgb = np.random.default_rng(0).integers(0, 255, (224, 224, 3), np.uint8)
    code = load_deca(tmp_path / "deca.safetensors").code(rgb)
    expected = encoder.eval().code(rgb)
    np.testing.assert_array_equal(code.shape, expected.shape)
    assert code.light.shape == (9, 3) and code.expression.shape == (50,)
    save_file({"E_flame.encoder.conv1.weight": np.zeros((2, 3, 7, 7), np.float32)}, str(tmp_path / "cut.safetensors"))
    with pytest.raises(WeightsError, match="not DECA's encoder"):
        load_deca(tmp_path / "cut.safetensors")


def test_what_is_not_installed_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="flame is not installed") as caught:
        open_flame(Store(tmp_path))
    assert "facex models add flame" in caught.value.hint


def test_checkpoints_come_back_whole_and_are_not_mixed_up(tmp_path: Path) -> None:
    config = PRESETS["tiny"]
    network, regions = DiffFAENetwork(config), SlotAutoencoder(config)
    save_network(network, tmp_path / "net.safetensors")
    save_regions(regions, tmp_path / "rsc.safetensors")
    again = load_network(tmp_path / "net.safetensors")
    assert again.config == config
    picture = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(again.regions(picture).tokens, network.regions(picture).tokens)
    assert load_regions(tmp_path / "rsc.safetensors").config == config
    with pytest.raises(WeightsError, match="not a DiffFAE checkpoint"):
        load_network(tmp_path / "rsc.safetensors")
    with pytest.raises(WeightsError, match="no such file"):
        load_network(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EngineOptions(), "has no weights"),
        (EngineOptions(weights=Path("absent")), "no such file"),
        (EngineOptions(weights=Path("net.safetensors"), guidance=2.0), "knows no --guidance"),
        (EngineOptions(weights=Path("net.safetensors"), compiled="on"), "is not compiled"),
        (EngineOptions(weights=Path("net.safetensors"), amounts=(("hair", 0.5),)), "a part of hair"),
    ],
)
def test_options_that_cannot_be_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: EngineOptions, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    save_network(DiffFAENetwork(PRESETS["tiny"]), tmp_path / "net.safetensors")
    with pytest.raises((WeightsError, UsageError), match=message):
        DiffFAEEngine().configure(options)


def test_a_checkpoint_on_flame_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEX_HOME", str(tmp_path))
    config = DiffFAEConfig.model_validate({**PRESETS["tiny"].model_dump(), "physical": "flame"})
    save_network(DiffFAENetwork(config), tmp_path / "net.safetensors")
    engine = DiffFAEEngine()
    engine.configure(EngineOptions(weights=tmp_path / "net.safetensors", device="cpu"))
    crop = Crop(np.zeros((64, 64, 3), np.uint8), np.eye(3), np.zeros((68, 2), np.float32), "ffhq")
    with pytest.raises(WeightsError, match="trained on FLAME"):
        engine.prepare([crop])

"""The paper's face model: its published file, its alignment, its 257 numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from safetensors.torch import load_file, save_file  # noqa: E402

from facexcli.affine import transform_points  # noqa: E402
from facexcli.engines.facex.backbone import CHECKPOINT  # noqa: E402
from facexcli.engines.facex.checkpoint import FORMAT, VERSION, _parsed  # noqa: E402
from facexcli.engines.facex.config import MOTION_SIZES, PRESETS, FaceXConfig  # noqa: E402
from facexcli.engines.facex.deep3d import (  # noqa: E402
    INPUT_PX,
    PARTS,
    STANDARD_POINTS,
    CoefficientNetwork,
    input_from_crop,
    load_deep3d,
)
from facexcli.engines.facex.extractors import extractor_names, motion_name, open_decomposer  # noqa: E402
from facexcli.engines.resnet import ResNet50  # noqa: E402
from facexcli.errors import InputError, WeightsError  # noqa: E402
from facexcli.events import SilentReporter  # noqa: E402
from facexcli.faces.align import crop_from_frame, take_crop  # noqa: E402
from facexcli.train import command, variants  # noqa: E402
from facexcli.train.begin import with_motion  # noqa: E402
from facexcli.train.command import LAST, Places  # noqa: E402
from facexcli.train.recipe import recipe_of  # noqa: E402
from facexcli.types import Array, Crop  # noqa: E402
from facexcli.weights.store import Store  # noqa: E402

NAME = "deep3dfacerecon"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the published names and shapes, with weights by chance."""
    with torch.device("meta"):
        state = CoefficientNetwork().state_dict()
    torch.manual_seed(0)
    made = {}
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            made[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)
        elif tensor.ndim == 1:
            made[name] = torch.full(tensor.shape, 0.0 if name.endswith(("bias", "running_mean")) else 1.0)
        else:
            spread = (3 / tensor[0].numel()) ** 0.5
            made[name] = torch.empty(tensor.shape).uniform_(-spread, spread)
        if name.endswith("bn3.weight"):
            made[name] *= 0.2  # else sixteen blocks would make the numbers large
    path = tmp_path_factory.mktemp("deep3d") / f"{NAME}.safetensors"
    save_file({f"net_recon.{name}": tensor for name, tensor in made.items()} | {"opt_00.x": torch.zeros(1)}, str(path))
    return path


def test_names_are_those_of_the_published_code(weights: Path) -> None:
    """ResNet-50 as torchvision names it, without `fc`, and seven layers."""
    names = set(load_file(str(weights)))
    blocks = [f"layer{level}.{place}" for level, count in enumerate((3, 4, 6, 3), 1) for place in range(count)]
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {"conv1.weight", *(f"bn1.{part}" for part in norm)}
    for block in blocks:
        expected |= {f"{block}.conv{n}.weight" for n in (1, 2, 3)}
        expected |= {f"{block}.bn{n}.{part}" for n in (1, 2, 3) for part in norm}
        if block.endswith(".0"):
            expected |= {f"{block}.downsample.0.weight", *(f"{block}.downsample.1.{part}" for part in norm)}
    wanted = {f"net_recon.backbone.{name}" for name in expected}
    wanted |= {f"net_recon.final_layers.{n}.{part}" for n in range(7) for part in ("weight", "bias")}
    assert names - {"opt_00.x"} == wanted
    assert sum(PARTS) == 257


def _published_alignment(landmarks: Array, height: int) -> tuple[float, Array]:
    """Scale and origin, y up, by the least squares of the published code: both rows at once, as one vector."""
    five = np.stack([landmarks[[36, 39]].mean(0), landmarks[[42, 45]].mean(0), *landmarks[[30, 48, 54]]])
    five[:, 1] = height - 1 - five[:, 1]
    system = np.zeros((10, 8))
    system[0::2, :3] = system[1::2, 4:7] = STANDARD_POINTS
    system[0::2, 3] = system[1::2, 7] = 1
    k = np.linalg.lstsq(system, five.reshape(-1))[0]
    return 102 / ((np.linalg.norm(k[:3]) + np.linalg.norm(k[4:7])) / 2), k[[3, 7]]


def test_the_input_is_cut_as_the_published_code_cuts_it(crop: Any) -> None:
    face: Crop = crop(3, size_px=256)
    matrix = input_from_crop(face.landmarks_px)
    scale, origin = _published_alignment(face.landmarks_px.astype(np.float64), 256)
    np.testing.assert_allclose(matrix[:2, :2], scale * np.eye(2), atol=1e-9)
    left, top = origin[0] * scale - INPUT_PX / 2, (256 - origin[1]) * scale - INPUT_PX / 2
    corner = transform_points(matrix, np.array([-0.5, -0.5])) + 0.5  # of the resized picture, seen from the window
    np.testing.assert_allclose(corner, (-left, -top), atol=1e-6)
    eyes = transform_points(matrix, face.landmarks_px[[36, 39, 42, 45]].astype(np.float64)).mean(axis=0)
    np.testing.assert_allclose(eyes, (112, 112 - 0.29 * 102), atol=6)


def test_a_tilted_face_stays_tilted_and_of_its_size(crop: Any) -> None:
    landmarks = crop(3, size_px=256).landmarks_px.astype(np.float64)
    upright = input_from_crop(landmarks)
    turn = cv2.getRotationMatrix2D((128, 128), 25, 1.0)
    tilted = input_from_crop(landmarks @ turn[:, :2].T + turn[:, 2])
    assert tilted[0, 0] == pytest.approx(upright[0, 0], rel=0.02) and tilted[0, 1] == tilted[1, 0] == 0
    with pytest.raises(ValueError, match="coincide"):
        input_from_crop(np.ones((68, 2)))


def test_the_same_face_tilted_and_nearer_has_the_same_coefficients(weights: Path, crop: Any) -> None:
    motion = load_deep3d(weights)
    face: Crop = crop(3, size_px=256)
    soft = cv2.GaussianBlur(cv2.copyMakeBorder(face.rgb, 128, 128, 128, 128, cv2.BORDER_REPLICATE), (0, 0), 4)
    landmarks = face.landmarks_px + 128

    def seen(scale: float, turn_deg: float) -> dict[str, Array]:
        """Of the crop of a picture, as the pipeline cuts it: with the head upright."""
        matrix = cv2.getRotationMatrix2D((256, 256), turn_deg, scale)
        picture = cv2.warpAffine(soft, matrix, (512, 512), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        points = landmarks @ matrix[:, :2].T + matrix[:, 2]
        cut = crop_from_frame(points, "ffhq", 256)
        rgb, _ = take_crop(picture, cut, 256)
        return motion(replace(face, rgb=rgb, landmarks_px=transform_points(cut, points).astype(np.float32)))

    plain = seen(1, 0)
    assert {name: value.shape for name, value in plain.items()} == {
        name: (count,) for name, count in MOTION_SIZES.items() if name != "gaze"
    }
    assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in plain.values())
    moved = seen(1.1, 25)
    other = motion(replace(face, rgb=np.full((256, 256, 3), 90, np.uint8)))
    for name, value in plain.items():
        apart = np.abs(other[name] - value).max()
        assert apart > 0 and np.abs(moved[name] - value).max() < 0.1 * apart, name


def test_the_numbers_are_those_of_the_layers_in_order(weights: Path) -> None:
    """Of RGB in 0..1; nothing else is done to the pixels."""
    rgb = np.random.default_rng(0).integers(0, 256, (INPUT_PX, INPUT_PX, 3), np.uint8)
    state = {name.removeprefix("net_recon."): tensor for name, tensor in load_file(str(weights)).items()}
    backbone = ResNet50().eval()
    backbone.load_state_dict({k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")})
    with torch.inference_mode():
        features = backbone(torch.from_numpy(rgb.transpose(2, 0, 1)[None] / np.float32(255)))[0]
    rows = [state[f"final_layers.{n}.weight"][:, :, 0, 0] @ features for n in range(len(PARTS))]
    assert [len(row) for row in rows] == list(PARTS)
    motion = load_deep3d(weights)
    found = motion.coefficients(rgb)
    np.testing.assert_allclose(found, torch.cat(rows), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(motion.coefficients(rgb), found)


def test_other_files_are_told_in_one_line(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="cut short") as caught:
        load_deep3d(tmp_path / "cut.safetensors")
    assert f"facex models add {NAME}" in caught.value.hint
    with torch.device("meta"):
        names = set(CoefficientNetwork().state_dict())

    def told(others: set[str], what: str) -> None:
        path = tmp_path / "other.safetensors"
        save_file({f"net_recon.{name}": torch.zeros(1) for name in others}, str(path))
        with pytest.raises(WeightsError, match=what):
            load_deep3d(path)

    told(names - {"backbone.layer3.4.bn2.running_var"}, r"it lacks backbone.layer3.4.bn2.running_var$")
    told(names | {"backbone.layer3.6.conv1.weight"}, r"it has backbone.layer3.6.conv1.weight, which no")
    told(names, r"is \(1,\), but 'deep3dfacerecon' has \(")


def test_what_is_added_is_what_the_engine_takes(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEX_HOME", str(tmp_path))
    sd15, store = PRESETS["sd15"], Store()
    assert extractor_names(sd15)[2] == "motion landmarks"
    trained_before, trained_here = with_motion(sd15), sd15.model_copy(update={"motion": NAME})
    assert trained_before.motion == "landmarks"
    monkeypatch.setattr(Store, "path", lambda self, name, *_: self.folder / name / f"{name}.safetensors")
    installed = Store.installed
    monkeypatch.setattr(Store, "installed", lambda self, name: name == "antelopev2" or installed(self, name))
    monkeypatch.setattr("facexcli.engines.facex.extractors.FeatureMap", lambda path: None)
    with pytest.raises(WeightsError, match="not installed") as caught:
        open_decomposer(trained_here)
    assert f"facex models add {NAME}" in caught.value.hint
    asked = store.known[NAME].facts["tensors"][f"{NAME}.safetensors"]
    other = {name: torch.zeros(shape) for name, shape in asked.items()}
    other["net_recon.final_layers.6.weight"] = torch.zeros(2, 2048, 1, 1)
    save_file(other, str(tmp_path / "other.safetensors"))
    with pytest.raises(WeightsError, match=r"final_layers.6.weight of 1 x 2048 x 1 x 1, found 2 x"):
        store.add(NAME, tmp_path / "other.safetensors")
    store.add(NAME, weights)
    assert extractor_names(sd15)[2] == f"motion {NAME}"
    assert open_decomposer(sd15).motion.name == NAME
    assert with_motion(sd15).motion == NAME
    assert motion_name(trained_before) == "landmarks", "a network keeps to what it was trained on"
    assert extractor_names(PRESETS["compact"])[2] == "motion landmarks"


def test_a_training_that_goes_on_keeps_to_its_coefficients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "installed", lambda self, name: True)
    sd15 = PRESETS["sd15"]
    assert with_motion(sd15).motion == NAME and with_motion(PRESETS["tiny"]).motion == "auto"
    begun = sd15.model_copy(update={"motion": "landmarks"}).model_dump_json()
    told = {"format": FORMAT, "version": str(VERSION), "config": begun}
    for name in (LAST, CHECKPOINT):
        save_file({}, str(tmp_path / name), told)
    assert with_motion(sd15, tmp_path / LAST).motion == "landmarks"
    assert with_motion(sd15, tmp_path / "none").motion == NAME and with_motion(sd15, tmp_path.parent).motion == NAME
    prepared: list[str] = []

    def note(recipe: object, config: FaceXConfig, *_: object) -> None:
        prepared.append(config.motion)
        raise InputError("no more is asked")

    monkeypatch.setattr(command, "prepared_faces", note)
    monkeypatch.setattr(variants, "prepared_faces", note)
    recipe, reporter = recipe_of({"config": "sd15"}, ""), SilentReporter()
    for begun_from in (tmp_path, tmp_path / CHECKPOINT):
        with pytest.raises(InputError):
            command.run_training(recipe, Places(tmp_path, tmp_path / "out", tmp_path, begun_from), reporter)
    with pytest.raises(InputError):
        variants._judged("base", recipe, recipe, Places(tmp_path, tmp_path, tmp_path), reporter)
    assert prepared == ["landmarks"] * 3


def test_checkpoints_from_before_there_was_a_choice_keep_to_landmarks(tmp_path: Path) -> None:
    values = PRESETS["sd15"].model_dump(exclude={"motion"})
    text = FaceXConfig.model_validate(values).model_dump_json(exclude={"motion"})
    assert _parsed(tmp_path, text).motion == "landmarks"
    assert _parsed(tmp_path, PRESETS["sd15"].model_dump_json()).motion == "auto"
    assert _parsed(tmp_path, PRESETS["compact"].model_dump_json(exclude={"motion"})) == PRESETS["compact"]

"""Checkpoints that are right, and everything that is not one."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from facexcli.engines.facex.backbone import PULLED, checkpoint_of, load_backbone, load_network  # noqa: E402
from facexcli.engines.facex.checkpoint import fingerprint, load_checkpoint, read_config, save_checkpoint  # noqa: E402
from facexcli.engines.facex.config import PRESETS, UNetShape  # noqa: E402
from facexcli.errors import OutputError, WeightsError  # noqa: E402
from facexcli.weights.catalog import catalog  # noqa: E402
from facexcli.weights.store import Store  # noqa: E402


def metadata(path: Path) -> dict[str, str]:
    with safe_open(str(path), "pt") as file:
        return dict(file.metadata())


def test_a_checkpoint_gives_the_same_network_back(network: Any, checkpoint: Path) -> None:
    found = load_network(checkpoint)
    assert found.config == network.config == read_config(checkpoint)
    for (name, one), (_, other) in zip(
        sorted(network.state_dict().items()), sorted(found.state_dict().items()), strict=True
    ):
        assert torch.equal(one, other), name
    assert not found.training
    (ordinary := checkpoint.parent / "plain").write_bytes(b"")
    assert checkpoint.stat().st_mode == ordinary.stat().st_mode, "others may read it as they may any file"


def test_a_folder_stands_for_the_checkpoint_in_it(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(WeightsError, match=r"no facex\.safetensors"):
        checkpoint_of(folder)
    checkpoint.rename(folder / "facex.safetensors")
    assert load_network(folder).config.name == "tiny"


def test_a_network_on_a_public_backbone_carries_only_what_was_trained(network: Any, tmp_path: Path) -> None:
    paper = network.config.model_copy(update={"perception": "paper"})
    save_checkpoint(network, paper, tmp_path / "x.safetensors")
    parts = {name.partition(".")[0] for name in load_file(tmp_path / "x.safetensors")}
    assert parts == {"regions", "representations", "sd_adapter", "controller", "null_context"}


def broken_absent(path: Path) -> None:
    path.unlink()


def broken_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def broken_text(path: Path) -> None:
    path.write_text("no weights at all")


def broken_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weights": [1, 2, 3]}))


def broken_torch_save(path: Path) -> None:
    torch.save({"weights": torch.zeros(3)}, path)


def broken_altered(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 0xFF
    path.write_bytes(content)


def broken_foreign(path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, str(path))


def broken_version(path: Path) -> None:
    tensors = load_file(path)
    save_file(tensors, str(path), {**metadata_of_tiny(tensors), "version": "99"})


def broken_config(path: Path) -> None:
    save_file(load_file(path), str(path), {**metadata_of_tiny({}), "config": "{"})


def broken_names(path: Path) -> None:
    tensors = load_file(path)
    del tensors["regions.absent"]
    save_file(tensors, str(path), metadata_of_tiny(tensors))


def broken_more_names(path: Path) -> None:
    tensors = {**load_file(path), "surprise": torch.zeros(1)}
    save_file(tensors, str(path), metadata_of_tiny(tensors))


def broken_shapes(path: Path) -> None:
    tensors = {**load_file(path), "regions.absent": torch.zeros(8, 5)}
    save_file(tensors, str(path), metadata_of_tiny(tensors))


def broken_other_architecture(path: Path) -> None:
    tensors = load_file(path)
    other = PRESETS["tiny"].model_copy(update={"unet": UNetShape(channels=(32, 64, 64), layers_per_block=1)})
    save_file(tensors, str(path), {**metadata_of_tiny(tensors), "config": other.model_dump_json()})


def metadata_of_tiny(tensors: dict[str, Any]) -> dict[str, str]:
    config = json.dumps(PRESETS["tiny"].model_dump())
    return {"format": "facex", "version": "1", "config": config, "sha256": fingerprint(tensors)}


@pytest.mark.parametrize(
    ("breaking", "said"),
    [
        (broken_absent, "no such file"),
        (broken_short, "cut short"),
        (broken_text, "not a safetensors file"),
        (broken_pickle, "pickle"),
        (broken_torch_save, "pickle"),
        (broken_altered, "not those that were saved"),
        (broken_foreign, "not a FaceX checkpoint"),
        (broken_version, "layout 99"),
        (broken_config, "configuration cannot be read"),
        (broken_names, "lacks regions.absent"),
        (broken_more_names, "has surprise"),
        (broken_shapes, "is (8, 5)"),
        (broken_other_architecture, "another architecture"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_one_line(checkpoint: Path, breaking: Any, said: str) -> None:
    breaking(checkpoint)
    with pytest.raises(WeightsError) as caught:
        load_checkpoint(checkpoint)
    assert str(checkpoint) in caught.value.message
    assert said in caught.value.message
    assert "\n" not in caught.value.message and caught.value.hint


def test_a_checkpoint_appears_complete_or_not_at_all(network: Any, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        save_checkpoint(network, network.config, tmp_path / "nowhere" / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def backbone(network: Any, tmp_path: Path) -> Path:
    """A folder in diffusers' layout with the tiny UNet in it."""
    network.unet.save_pretrained(tmp_path / "unet")
    return tmp_path


def test_a_missing_backbone_names_what_brings_it(network: Any, tmp_path: Path) -> None:
    network.config = network.config.model_copy(update={"name": "sd15"})
    with pytest.raises(WeightsError, match="unet: missing") as caught:
        load_backbone(network, tmp_path, Store(tmp_path / "store"))
    assert caught.value.hint == "facex models pull stable_diffusion_v1_5"
    network.config = network.config.model_copy(update={"name": "sd21"})
    with pytest.raises(WeightsError) as caught:
        load_backbone(network, tmp_path, Store(tmp_path / "store"))
    assert "pull" not in caught.value.hint, "nothing in the catalog brings that UNet"


def test_what_is_to_be_pulled_is_in_the_catalog() -> None:
    for names in PULLED.values():
        assert set(names.values()) <= set(catalog())


def test_another_kind_of_unet_is_told_apart(network: Any, backbone: Path) -> None:
    network.config = network.config.model_copy(update={"width": 99})
    with pytest.raises(WeightsError, match="cross_attention_dim is 64, tiny needs 99"):
        load_backbone(network, backbone)


def test_a_unet_whose_weights_do_not_fit_its_configuration_is_refused(network: Any, backbone: Path) -> None:
    (weights,) = (backbone / "unet").glob("*.safetensors")
    tensors = load_file(weights)
    tensors["conv_in.weight"] = tensors["conv_in.weight"][:, :5].contiguous()
    save_file(tensors, str(weights), {"format": "pt"})
    with pytest.raises(WeightsError, match="unet: not a UNet2DConditionModel") as caught:
        load_backbone(network, backbone)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("changed", "said"), [({"conv_in.weight": None}, "lacks conv_in.weight"), ({"surprise": 1}, "has surprise")]
)
def test_a_unet_that_lacks_weights_or_has_foreign_ones_is_not_filled_up_with_noise(
    network: Any, backbone: Path, changed: dict[str, Any], said: str
) -> None:
    (weights,) = (backbone / "unet").glob("*.safetensors")
    tensors = load_file(weights)
    for name, value in changed.items():
        if value is None:
            del tensors[name]
        else:
            tensors[name] = torch.zeros(value)
    save_file(tensors, str(weights), {"format": "pt"})
    with pytest.raises(WeightsError, match=said) as caught:
        load_backbone(network, backbone)
    assert str(backbone / "unet") in caught.value.message and caught.value.hint


def test_a_damaged_backbone_is_refused(network: Any, backbone: Path) -> None:
    (weights,) = (backbone / "unet").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(WeightsError, match="not a UNet2DConditionModel"):
        load_backbone(network, backbone)


def test_a_backbone_in_the_store_is_verified_and_taken(network: Any, tmp_path: Path) -> None:
    """The tiny UNet under the name of the big one; the VAE, which comes next, is then what is missing."""
    network.unet.save_pretrained(tmp_path / "given" / "unet")
    known = catalog()["stable_diffusion_v1_5"]
    store = Store(tmp_path / "store", {**catalog(), known.name: replace(known, sha256={}, size_bytes={}, facts={})})
    store.add(known.name, tmp_path / "given")
    expected = {name: tensor.clone() for name, tensor in network.unet.state_dict().items()}
    for parameter in network.unet.parameters():
        parameter.zero_()
    network.config = network.config.model_copy(update={"name": "sd15"})
    with pytest.raises(WeightsError, match="vae: missing") as caught:
        load_backbone(network, tmp_path, store)
    assert caught.value.hint == "facex models pull sd_vae_ft_mse"
    for name, tensor in network.unet.state_dict().items():
        assert torch.equal(tensor, expected[name])

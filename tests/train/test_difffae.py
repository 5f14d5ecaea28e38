"""DiffFAE's trainings: what they learn from, that it is the same every time, and that they learn."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("accelerate")

from facexcli.cli.app import main  # noqa: E402
from facexcli.engines.difffae.checkpoint import load_network, load_regions  # noqa: E402
from facexcli.engines.difffae.config import PRESETS, DiffFAEConfig  # noqa: E402
from facexcli.engines.difffae.roles import ROLES, expected_regions, slot_roles  # noqa: E402
from facexcli.errors import InputError, UsageError  # noqa: E402
from facexcli.geometry.face_shape import MEAN_SHAPE  # noqa: E402
from facexcli.train.difffae import DiffFAETraining, RegionTraining  # noqa: E402
from facexcli.train.portraits import Portraits, prepare  # noqa: E402

TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def portraits(eval_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Portraits:
    """Three views of each of two people, and a file that is none."""
    folder, home = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("home")
    for name in ("london/009_neutral.jpg", "portraits/faker_0032.jpg"):
        shutil.copy(eval_data / name, folder)
    (folder / "broken.jpg").write_bytes(b"no picture")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("FACEX_HOME", str(home))
        found = prepare(folder, 64)
        again = prepare(folder, 64)
    np.testing.assert_array_equal(found.rgb, again.rgb)  # the second time out of the cache
    return found


def test_stills_become_several_views_and_bad_files_are_listed(portraits: Portraits) -> None:
    assert len(portraits) == 6
    assert [Path(name).name for name in portraits.skipped] == ["broken.jpg"]
    assert portraits.owner.tolist() == [0, 0, 0, 1, 1, 1]
    assert portraits.rgb.shape == portraits.rendered.shape == (6, 64, 64, 3)
    np.testing.assert_allclose(np.linalg.norm(portraits.identity, axis=1), 1, atol=1e-4)
    inside = portraits.mask & (portraits.rendered.max(axis=3) > 0)
    off = np.abs(portraits.rgb.astype(int) - portraits.rendered).mean(axis=3)
    assert off[inside].mean() < 14  # I_R of a view is that view's own face
    assert np.abs(portraits.rgb[0].astype(int) - portraits.rgb[1]).mean() > 4


def test_a_folder_without_people_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no stills and no clips"):
        prepare(tmp_path, 64)


def test_batches_depend_on_their_key_alone_and_pairs_are_of_one_person(portraits: Portraits) -> None:
    training = DiffFAETraining(TINY, portraits, 0)
    one, again, other = training.batch(5, 8), training.batch(5, 8), training.batch(6, 8)
    for name, values in one.items():
        assert torch.equal(values, again[name])
    assert not torch.equal(one["query"], other["query"])
    views = training._views
    queries = np.arange(6)
    mates = views.mates(queries, np.random.default_rng(0).random(6))
    np.testing.assert_array_equal(portraits.owner[mates], portraits.owner[queries])
    assert (mates != queries).all()


def test_what_is_mirrored_is_mirrored_together(portraits: Portraits) -> None:
    batch = RegionTraining(TINY, portraits, 0).batch(1, 16)
    face = batch["regions"][:, 0]
    for rgb, region in zip(batch["rgb"], face, strict=True):
        views = [(torch.from_numpy(each).permute(2, 0, 1) / 127.5 - 1) for each in portraits.rgb]
        plain = min(range(6), key=lambda i: float((views[i] - rgb).abs().mean()))
        flipped = min(range(6), key=lambda i: float((views[i].flip(2) - rgb).abs().mean()))
        is_flipped = (views[flipped].flip(2) - rgb).abs().mean() < (views[plain] - rgb).abs().mean()
        expected = torch.from_numpy(expected_regions(portraits.mask[flipped if is_flipped else plain], 16))[0]
        torch.testing.assert_close(region, expected.flip(1) if is_flipped else expected)


def test_regions_learn_to_put_portraits_together(portraits: Portraits) -> None:
    training = RegionTraining(TINY, portraits, 0)
    before = training.validate()
    _descend(training, 25, 2e-3)
    after = training.validate()
    assert after.score > before.score
    assert after.values["psnr_db"] > before.values["psnr_db"] + 0.5
    assert training.grid().shape[2] == 3


def test_the_denoiser_learns_and_what_is_frozen_stays(portraits: Portraits) -> None:
    training = DiffFAETraining(TINY, portraits, 0)
    before = training.validate()
    _descend(training, 12, 2e-3)
    after = training.validate()
    assert after.values["denoising"] < before.values["denoising"]
    assert after.values["attention"] >= 0
    training.grid()


def _descend(training: RegionTraining | DiffFAETraining, steps: int, rate: float) -> None:
    optimizer = torch.optim.AdamW(training.network.parameters(), rate)
    random = torch.Generator()
    for step in range(steps):
        optimizer.zero_grad()
        training.loss(training.batch(step, 6), random.manual_seed(step)).backward()
        optimizer.step()


def test_ablations_leave_out_what_they_say(portraits: Portraits) -> None:
    values = {**TINY.model_dump(), "identity": "none", "attention_weight": 0.0, "region_prior": 0.0}
    training = DiffFAETraining(DiffFAEConfig.model_validate(values), portraits, 0)
    batch = training.batch(0, 2)
    assert "identity" not in batch and "regions" not in batch
    assert "attention" not in training.validate().values


def test_roles_are_told_by_where_slots_look() -> None:
    landmarks = (MEAN_SHAPE[:, :2] * 70 + (128, 105)).astype(np.float32)
    from facexcli.fusion.mask import face_outline, fill

    regions = expected_regions(fill(face_outline(landmarks), 256) > 127, 32)
    np.testing.assert_allclose(regions.sum(axis=0), 1, atol=1e-5)
    order = [2, 0, 3, 1]
    roles = slot_roles(regions[order], landmarks, 256)
    assert roles == {role: order.index(place) for place, role in enumerate(ROLES)}
    with pytest.raises(UsageError, match="2 slots"):
        slot_roles(regions[:2], landmarks, 256)


def test_the_commands_train_both_and_the_second_goes_on_from_the_first(
    eval_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEX_HOME", str(tmp_path / "home"))
    data, rsc, net = tmp_path / "data", tmp_path / "rsc", tmp_path / "net"
    data.mkdir()
    shutil.copy(eval_data / "portraits" / "faker_0032.jpg", data)
    common = ["--data", str(data), "--batch-size", "2", "--device", "cpu"]
    assert main(["train", "difffae-rsc", *common, "--out", str(rsc), "--steps", "2"]) == 0, capsys.readouterr().err
    assert load_regions(rsc / "best.safetensors").config == TINY
    assert main(["train", "difffae-rsc", *common, "--out", str(rsc), "--steps", "2"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train", "difffae-rsc", *common, "--out", str(rsc), "--steps", "3", "--resume"]) == 0
    arguments = ["--rsc", str(rsc / "best.safetensors"), *common, "--out", str(net), "--steps", "1"]
    assert main(["train", "difffae", *arguments]) == 0, capsys.readouterr().err
    assert load_network(net / "best.safetensors").config == TINY
    assert (net / "grid.png").is_file() and (net / "metrics.csv").is_file()
    assert main(["train", "difffae", *arguments, "--slots", "2"]) == 2
    assert main(["train", "difffae", "--config", "paper", *common, "--out", str(net)]) == 2
    assert "--physical embedded" in capsys.readouterr().err

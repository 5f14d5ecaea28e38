"""The engine around the network: its weights, its noise, its batches, and what it does with a number that is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from facexcli.cli.app import main  # noqa: E402
from facexcli.engines.base import EngineOptions  # noqa: E402
from facexcli.engines.facex.config import PRESETS  # noqa: E402
from facexcli.engines.facex.engine import FaceXEngine  # noqa: E402
from facexcli.engines.facex.execution import Execution  # noqa: E402
from facexcli.engines.facex.ford import embedded_decomposer  # noqa: E402
from facexcli.engines.registry import open_engine  # noqa: E402
from facexcli.errors import NoFaceError, UsageError, WeightsError  # noqa: E402
from facexcli.media.probe import probe  # noqa: E402
from facexcli.media.reader import FrameReader  # noqa: E402
from facexcli.recipes import recipe_named, with_regions  # noqa: E402
from facexcli.types import Crop, EditRequest, Motion  # noqa: E402

CropMaker = Callable[..., Crop]


@pytest.fixture
def engine(checkpoint: Path) -> FaceXEngine:
    return opened(checkpoint)


def opened(checkpoint: Path, **options: Any) -> FaceXEngine:
    engine = FaceXEngine()
    engine.configure(EngineOptions(weights=checkpoint, device="cpu", **{"steps": 2, **options}))
    return engine


def swaps(engine: FaceXEngine, crop: CropMaker, count: int, seed: int = 0) -> list[EditRequest]:
    canvases = [crop(10 + index) for index in range(count)]
    motion = Motion(np.arange(count), np.stack([canvas.landmarks_px for canvas in canvases]))
    identity = engine.prepare([crop(0)], motion)
    return [EditRequest(canvas, identity, recipe_named("swap"), seed=seed) for canvas in canvases]


def test_the_same_seed_gives_the_same_frames_in_any_batch(checkpoint: Path, crop: CropMaker) -> None:
    patches = {}
    for batch_size in (None, 1, 2, 4):
        engine = opened(checkpoint, batch_size=batch_size)
        patches[batch_size] = [patch.rgb for patch in engine.render(swaps(engine, crop, 4, seed=7))]
    np.testing.assert_array_equal(patches[None], patches[1])
    for batch_size in (2, 4):  # sums in another order: far below the step of an 8-bit picture
        np.testing.assert_allclose(patches[batch_size], patches[1], atol=2e-4)


def test_another_seed_gives_another_face(engine: FaceXEngine, crop: CropMaker) -> None:
    one, again, other = (engine.render(swaps(engine, crop, 1, seed))[0].rgb for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).mean() > 0.01


def test_noise_stays_with_the_track(engine: FaceXEngine, crop: CropMaker) -> None:
    """A frame that looks the same is the same, wherever in the video it stands."""
    (request,) = swaps(engine, crop, 1)
    later = replace(request, canvas=replace(request.canvas, frame_index=99))
    elsewhere = replace(request, canvas=replace(request.canvas, track_id=5))
    here, there, another = (patch.rgb for patch in engine.render([request, later, elsewhere]))
    np.testing.assert_array_equal(here, there)
    assert np.abs(here - another).mean() > 0.01


@pytest.mark.parametrize("sampler", ["dpm++", "ddim", "pndm"])
def test_outside_of_the_faces_the_patch_is_the_canvas(checkpoint: Path, crop: CropMaker, sampler: str) -> None:
    engine = opened(checkpoint, sampler=sampler, steps=3)
    (request,) = swaps(engine, crop, 1)
    (patch,) = engine.render([request])
    canvas = request.canvas.rgb / 255
    corner = (slice(0, 8), slice(0, 8))
    np.testing.assert_allclose(patch.rgb[corner], canvas[corner], atol=1e-6)
    assert np.abs(patch.rgb - canvas)[30:40, 30:40].mean() > 0.05


def test_regions_can_be_chosen_and_taken_from_a_third_person(engine: FaceXEngine, crop: CropMaker) -> None:
    (request,) = swaps(engine, crop, 1)
    recipe = request.recipe.with_rows({"lips": "query"})
    taken = [
        engine.render([replace(request, recipe=recipe, providers={"lips": crop(seed)})])[0].rgb for seed in (50, 51)
    ]
    assert np.abs(taken[0] - taken[1]).mean() > 1e-5
    (only,) = engine.render([replace(request, recipe=with_regions(request.recipe, ["lips"]))])
    (whole,) = engine.render([request])
    canvas = request.canvas.rgb / np.float32(255)
    changed = [(np.abs(patch.rgb - canvas).max(axis=2) > 1e-5).sum() for patch in (only, whole)]
    assert 0 < changed[0] < changed[1] / 2


def test_guidance_changes_the_face(checkpoint: Path, crop: CropMaker) -> None:
    found = []
    for guidance in (1.0, 3.0):
        engine = opened(checkpoint, guidance=guidance)
        found.append(engine.render(swaps(engine, crop, 1))[0].rgb)
    assert np.abs(found[0] - found[1]).mean() > 1e-3


def test_a_reenactment_follows_its_driver_and_fades_at_the_rim(engine: FaceXEngine, crop: CropMaker) -> None:
    portrait, drivers = crop(0, "head"), [crop(20, "head"), crop(21, "head")]
    identity = engine.prepare([portrait], Motion(np.arange(2), np.stack([each.landmarks_px for each in drivers])))
    recipe = recipe_named("reenact")
    requests = [
        EditRequest(portrait, identity, recipe, dict.fromkeys(recipe.provided_by("driving"), driver))
        for driver in drivers
    ]
    one, other = engine.render(requests)
    assert np.abs(one.rgb - other.rgb).mean() > 1e-3
    assert one.alpha[32, 32] == 1 and one.alpha[0].max() == one.alpha[:, -1].max() == 0


def test_sources_are_looked_at_once_for_all_tracks(
    engine: FaceXEngine, crop: CropMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    stills = [crop(0), crop(1)]
    first = engine.prepare(stills)
    second = engine.prepare(list(stills))
    assert second.tokens is first.tokens
    assert engine.prepare([crop(0)]).tokens is not first.tokens


def poison(times: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the next `times` batches of pictures hold a number that is none."""
    calls: list[int] = []
    fetched = Execution._fetched

    def poisoned(self: Execution, values: Any) -> Any:
        calls.append(len(values))
        return fetched(self, values * torch.nan if len(calls) <= times else values)

    monkeypatch.setattr(Execution, "_fetched", poisoned)
    return calls


def test_a_frame_that_is_no_number_is_computed_again_and_told(
    engine: FaceXEngine, crop: CropMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = swaps(engine, crop, 1)
    (expected,) = engine.render(requests)
    assert poison(1, monkeypatch) == []
    (patch,) = engine.render(requests)
    np.testing.assert_array_equal(patch.rgb, expected.rgb)
    assert "full precision" in patch.warnings[0]


def test_a_frame_that_stays_no_number_is_left_as_it_was(
    engine: FaceXEngine, crop: CropMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = swaps(engine, crop, 1)
    calls = poison(2, monkeypatch)
    (patch,) = engine.render(requests)
    assert len(calls) == 2
    assert not patch.alpha.any() and np.isfinite(patch.rgb).all()
    assert "left as it was" in patch.warnings[0]


def test_without_weights_there_is_one_clear_line(tmp_path: Path, crop: CropMaker) -> None:
    with pytest.raises(WeightsError, match="no weights") as caught:
        open_engine("facex", "swap", EngineOptions())
    assert "--weights" in caught.value.hint
    with pytest.raises(WeightsError):
        FaceXEngine().prepare([crop(0)])
    with pytest.raises(WeightsError, match="no such file"):
        open_engine("facex", "swap", EngineOptions(weights=tmp_path / "nothing.safetensors"))


def test_weights_for_an_engine_that_takes_none_are_not_passed_over(checkpoint: Path) -> None:
    for name in ("auto", "mesh"):
        with pytest.raises(UsageError, match="takes no --weights") as caught:
            open_engine(name, "swap", EngineOptions(weights=checkpoint))
        assert "--engine" in caught.value.hint


def test_without_torch_there_is_one_clear_line(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facexcli.engines.facex.engine.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="torch") as caught:
        open_engine("facex", "swap", EngineOptions(weights=checkpoint))
    assert "facexcli[diffusion]" in caught.value.hint


def test_the_crop_is_the_checkpoints(checkpoint: Path) -> None:
    choice = open_engine("facex", "swap", EngineOptions(weights=checkpoint))
    assert choice.engine.spec.crop_sizes_px == (64,)


def test_a_communitys_unet_draws_another_face_if_it_has_the_shape(
    checkpoint: Path, network: Any, crop: CropMaker, tmp_path: Path
) -> None:
    with torch.no_grad():
        for parameter in network.unet.parameters():
            parameter.mul_(1.1)
    network.unet.save_pretrained(tmp_path / "pipeline" / "unet")
    plain = opened(checkpoint)
    (own,) = plain.render(swaps(plain, crop, 1))
    for named in (tmp_path / "pipeline", tmp_path / "pipeline" / "unet"):
        engine = opened(checkpoint, unet=named)
        (other,) = engine.render(swaps(engine, crop, 1))
        assert np.abs(own.rgb - other.rgb).mean() > 1e-3
    told = tmp_path / "pipeline" / "unet" / "config.json"
    told.write_text(told.read_text().replace('"cross_attention_dim": 64', '"cross_attention_dim": 768'))
    with pytest.raises(WeightsError, match="cross_attention_dim is 768"):
        opened(checkpoint, unet=tmp_path / "pipeline")
    with pytest.raises(WeightsError, match="no UNet"):
        opened(checkpoint, unet=tmp_path)
    with pytest.raises(UsageError, match="unknown weights"):
        opened(checkpoint, unet=Path("dreamshaper"))


def test_a_pasted_reference_shows_the_new_face(checkpoint: Path, crop: CropMaker) -> None:
    found = {}
    for kind in ("auto", "cut", "paste", "warp"):
        engine = opened(checkpoint, swap_reference=kind)
        found[kind] = engine.render(swaps(engine, crop, 1))[0].rgb
    assert np.array_equal(found["auto"], found["cut"])  # as it was trained
    assert np.abs(found["cut"] - found["paste"]).mean() > 1e-4 and np.abs(found["paste"] - found["warp"]).mean() > 1e-4


def test_a_hole_is_filled_and_nothing_else_is_touched(engine: FaceXEngine, crop: CropMaker) -> None:
    canvas = crop(10)
    hole = np.zeros((64, 64), np.uint8)
    hole[20:36, 24:40] = 255
    request = EditRequest(canvas, engine.prepare([canvas]), recipe_named("inpaint"), hole_mask=hole)
    (patch,) = engine.render([request])
    assert patch.outlined and patch.alpha[28, 32] == 1
    assert not patch.alpha[:12].any() and not patch.alpha[:, :16].any()
    np.testing.assert_allclose(patch.rgb[:12], canvas.rgb[:12] / 255, atol=1e-6)
    assert np.abs(patch.rgb - canvas.rgb / 255)[24:32, 28:36].mean() > 0.05


def test_a_mixture_takes_each_row_from_its_own_provider(engine: FaceXEngine, crop: CropMaker) -> None:
    canvas, recipe = crop(10), recipe_named("edit").with_rows({"lips": "query", "hair": "query", "expression": "query"})
    identity = engine.prepare([canvas])
    base = {"lips": crop(50), "hair": crop(51), "expression": crop(52)}
    (first,) = engine.render([EditRequest(canvas, identity, recipe, base)])
    for row in base:
        (other,) = engine.render([EditRequest(canvas, identity, recipe, {**base, row: crop(60)})])
        assert np.abs(first.rgb - other.rgb).mean() > 1e-6, row


def test_no_source_is_an_error_before_weights_are(crop: CropMaker) -> None:
    with pytest.raises(NoFaceError):
        FaceXEngine().prepare([])


def test_a_network_of_the_papers_extractors_does_not_take_stand_ins() -> None:
    with pytest.raises(WeightsError, match="ArcFace"):
        embedded_decomposer(PRESETS["sd15"])


def lumas(path: Path, count: int = 3) -> list[Any]:
    with FrameReader(path, probe(path)) as frames:
        return [frame.planes[0].copy() for frame in islice(frames, count)]


def test_a_clip_is_swapped_and_reenacted_from_the_command_line(
    checkpoint: Path, eval_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, portrait = str(eval_data / "talking" / "grid_brbk7n.mpg"), str(eval_data / "london" / "033_neutral.jpg")
    options = ["--engine", "facex", "--weights", str(checkpoint), "--steps", "2", "--trim", "#0..#3", "-q"]
    frames = []
    for run in ("one", "two"):
        out = tmp_path / f"{run}.mkv"
        assert main(["swap", portrait, clip, *options, "--codec", "ffv1", "-o", str(out)]) == 0, capsys.readouterr().err
        frames.append(lumas(out))
    original = lumas(Path(clip), 1)[0]
    assert len(frames[0]) == 3
    np.testing.assert_array_equal(frames[0], frames[1])
    changed = np.abs(frames[0][0].astype(int) - original) > 0
    assert 0.01 < changed.mean() < 0.5, "the face is new, and the rest is the decoder's own"
    moving = tmp_path / "moving.mkv"
    assert main(["reenact", portrait, "--driving", clip, *options, "-o", str(moving)]) == 0
    assert probe(moving).kind == "video"
    assert main(["swap", portrait, clip, "--engine", "facex", "-o", str(tmp_path / "no.mkv")]) == 5
    assert "--weights" in capsys.readouterr().err and not (tmp_path / "no.mkv").exists()

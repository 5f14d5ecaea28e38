"""What a machine cannot do, and what a user is told of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from facexcli.engines.base import EngineOptions, told_by  # noqa: E402
from facexcli.engines.facex.backbone import load_network  # noqa: E402
from facexcli.engines.facex.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from facexcli.engines.facex.config import PRESETS  # noqa: E402
from facexcli.engines.facex.cost import expectation, flop_per_face  # noqa: E402
from facexcli.engines.facex.engine import FaceXEngine  # noqa: E402
from facexcli.engines.facex.execution import open_execution  # noqa: E402
from facexcli.engines.facex.render import FaceXRenderer  # noqa: E402
from facexcli.errors import DeviceError, WeightsError  # noqa: E402
from facexcli.events import Warned  # noqa: E402
from facexcli.recipes import recipe_named  # noqa: E402
from facexcli.types import Crop, EditRequest  # noqa: E402
from tests.heard import Heard  # noqa: E402

LARGE = PRESETS["sd15"].model_copy(update={"size_px": 512})


def renderer_of(network: Any, **options: Any) -> FaceXRenderer:
    chosen = EngineOptions(**options)
    return FaceXRenderer(open_execution(network, chosen), chosen)


@pytest.mark.parametrize("room", [1, 2, 3])
def test_a_batch_that_does_not_fit_is_halved_until_it_does(
    network: Any, crop: Callable[..., Crop], monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    renderer = renderer_of(network, device="cpu", steps=1, batch_size=4)
    identity = renderer.prepare([crop(0)])
    requests = [EditRequest(crop(10 + index), identity, recipe_named("swap")) for index in range(5)]
    expected = renderer.render(requests)
    tried: list[int] = []
    whole = renderer._sampled

    def cramped(used: Any, jobs: list[Any]) -> Any:
        tried.append(len(jobs))
        if len(jobs) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(used, jobs)

    monkeypatch.setattr(renderer, "_sampled", cramped)
    for one, other in zip(renderer.render(requests), expected, strict=True):
        np.testing.assert_allclose(one.rgb, other.rgb, atol=2e-4)
    assert tried[0] == 4
    tried.clear()
    renderer.render(requests)
    assert max(tried) <= room, "it remembers what fits"


def test_one_face_that_does_not_fit_in_a_batch_that_was_filled_up_is_tried_by_itself(
    network: Any, crop: Callable[..., Crop], monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer = renderer_of(network, device="cpu", steps=1, batch_size=4)
    request = EditRequest(crop(10), renderer.prepare([crop(0)]), recipe_named("swap"))
    tried: list[int] = []
    whole = renderer._sampled

    def cramped(used: Any, jobs: list[Any]) -> Any:
        tried.append(used.batch)
        if used.batch > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(used, jobs)

    monkeypatch.setattr(renderer, "_sampled", cramped)
    assert len(renderer.render([request])) == 1
    assert tried == [4, 2, 1]


def test_no_room_for_one_face_is_one_clear_error(
    network: Any, crop: Callable[..., Crop], monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer = renderer_of(network, device="cpu", steps=1)
    request = EditRequest(crop(10), renderer.prepare([crop(0)]), recipe_named("swap"))

    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(renderer, "_sampled", full)
    with pytest.raises(DeviceError, match="not enough memory") as caught:
        renderer.render([request])
    assert caught.value.exit_code == 6 and "--device cpu" in caught.value.hint


def test_the_null_branch_is_looked_up_once(
    network: Any, crop: Callable[..., Crop], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    whole = type(network).null_steering

    def counted(self: Any, batch: int) -> Any:
        made.append(batch)
        return whole(self, batch)

    monkeypatch.setattr(type(network), "null_steering", counted)
    renderer = renderer_of(network, device="cpu", steps=1, guidance=2.0, batch_size=2)
    identity = renderer.prepare([crop(0)])
    renderer.render([EditRequest(crop(10 + index), identity, recipe_named("swap")) for index in range(4)])
    assert made == [1]


def test_a_large_network_on_the_cpu_says_how_long_it_takes(network: Any, tmp_path: Path) -> None:
    engine = FaceXEngine()
    engine._config, engine._options = LARGE, EngineOptions(device="cpu", steps=10)
    heard = Heard()
    assert "identity arcface" in told_by(engine, heard)
    (event,) = heard.events
    assert isinstance(event, Warned) and "TFLOP" in event.message and "asked for" in event.message
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(network, network.config, path)
    small, silent = FaceXEngine(), Heard()
    small.configure(EngineOptions(weights=path, device="cpu"))
    assert told_by(small, silent) == ("identity dlib", "regions landmarks", "motion landmarks", "gaze iris")
    assert silent.events == []


def test_the_cost_of_a_face_is_what_the_networks_are_known_to_cost() -> None:
    """At 512 px, 10 steps: UNet 803 and FRC 65 GFLOP a step, VAE 3632 for both ways, CLIP 162 a picture."""
    assert flop_per_face(LARGE, 10) == pytest.approx(12.6e12, rel=0.05)
    tiny = PRESETS["tiny"]
    step = flop_per_face(tiny, 11) - flop_per_face(tiny, 10)
    assert flop_per_face(tiny, 10, guidance=2.0) - flop_per_face(tiny, 10) == 10 * step
    assert expectation(12.9e12, 60e9) == "a face takes at least 4 minutes (12.9 TFLOP at 60 GFLOP/s)"


def test_a_network_is_loaded_without_making_weights_up(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("random weights were made")

    monkeypatch.setattr(torch.nn.init, "trunc_normal_", refused)
    network = load_network(checkpoint)
    assert not any(tensor.is_meta for tensor in [*network.parameters(), *network.buffers()])


def test_a_backbone_that_a_checkpoint_lacks_takes_no_memory_before_it_is_read(network: Any, tmp_path: Path) -> None:
    paper = network.config.model_copy(update={"perception": "paper", "encoder_width": 1024, "inpainting": "tokens"})
    from facexcli.engines.facex.model import FaceXNetwork

    with torch.device("meta"):
        shapes = FaceXNetwork(paper)
    own = torch.nn.Module()
    for name in ("regions", "representations", "sd_adapter", "controller"):
        setattr(own, name, getattr(shapes, name).to_empty(device="cpu"))
    own.register_buffer("null_context", torch.zeros(1, paper.null_tokens, paper.width))
    save_checkpoint(own, paper, tmp_path / "paper.safetensors")
    found = load_checkpoint(tmp_path / "paper.safetensors")
    assert all(parameter.is_meta for parameter in found.unet.parameters())
    assert not any(parameter.is_meta for parameter in found.controller.parameters())


def test_the_empty_prompt_comes_from_the_text_encoder(network: Any, tmp_path: Path) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel

    from facexcli.engines.facex.backbone import _fill_null_context

    shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    encoder = CLIPTextModel(CLIPTextConfig(vocab_size=99, **shape)).eval()
    encoder.save_pretrained(tmp_path)
    _fill_null_context(network, tmp_path)
    count = network.config.null_tokens
    with torch.inference_mode():
        expected = encoder(torch.tensor([[97, 98, *[98] * (count - 2)]])).last_hidden_state
    torch.testing.assert_close(network.null_context, expected)
    narrow = CLIPTextModel(CLIPTextConfig(vocab_size=99, **{**shape, "hidden_size": 32}))
    narrow.save_pretrained(tmp_path / "narrow")
    network.null_context.zero_()
    with pytest.raises(WeightsError, match="32 wide"):
        _fill_null_context(network, tmp_path / "narrow")


def test_guidance_without_the_empty_prompt_is_refused(network: Any) -> None:
    network.config = network.config.model_copy(update={"perception": "paper"})
    with pytest.raises(WeightsError, match="text encoder"):
        open_execution(network, EngineOptions(device="cpu", guidance=3.0))

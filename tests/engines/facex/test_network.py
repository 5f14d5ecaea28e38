"""The tiny network: every class and every path of the real one."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from facexcli.diffusion.sample import sample  # noqa: E402
from facexcli.diffusion.schedule import SamplingPlan  # noqa: E402
from facexcli.engines.facex.config import PRESETS, REGIONS, FaceXConfig, config_named  # noqa: E402
from facexcli.engines.facex.controller import transformer_blocks  # noqa: E402
from facexcli.engines.facex.ford import face_tensors  # noqa: E402
from facexcli.engines.facex.model import TRAINED, FaceXNetwork, joined  # noqa: E402
from facexcli.engines.facex.regions import mask_pool  # noqa: E402
from facexcli.errors import UsageError  # noqa: E402

TINY = PRESETS["tiny"]
PARTS = 1e6


@pytest.fixture
def seen() -> torch.Tensor:
    """What the UNet sees of two faces."""
    return torch.randn(2, TINY.input_channels, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def context() -> torch.Tensor:
    return torch.randn(2, 17, TINY.width, generator=torch.Generator().manual_seed(2))


def steered(network: FaceXNetwork, seen: torch.Tensor, steering: Any) -> torch.Tensor:
    return network.unet(seen, 500, None, cross_attention_kwargs={"steering": steering}).sample


def plain(network: FaceXNetwork) -> UNet2DConditionModel:
    """The same UNet as diffusers runs it, without a controller anywhere near."""
    unet = UNet2DConditionModel(**network.config.unet_arguments())
    unet.load_state_dict(network.unet.state_dict())
    return unet.eval().requires_grad_(False)


def test_training_starts_at_the_frozen_unet(seen: torch.Tensor, context: torch.Tensor) -> None:
    torch.manual_seed(3)
    fresh = FaceXNetwork(TINY).eval().requires_grad_(False)
    expected = plain(fresh)(seen, 500, context).sample
    assert torch.equal(steered(fresh, seen, fresh.steering(context)), expected)


def test_a_trained_controller_changes_the_answer_and_the_null_branch_does_not_ask_it(
    network: FaceXNetwork, seen: torch.Tensor, context: torch.Tensor
) -> None:
    expected = plain(network)(seen, 500, context).sample
    assert not torch.allclose(steered(network, seen, network.steering(context)), expected, atol=1e-3)
    network.null_context.copy_(context[:1, : TINY.null_tokens])
    null = plain(network)(seen, 500, network.null_context.expand(2, -1, -1)).sample
    assert torch.equal(steered(network, seen, network.null_steering(2)), null)


def test_folded_and_unfolded_controllers_agree(
    network: FaceXNetwork, seen: torch.Tensor, context: torch.Tensor
) -> None:
    expected = steered(network, seen, network.steering(context))
    before = sum(parameter.numel() for parameter in network.controller.parameters())
    network.controller.fold()
    network.controller.fold()
    assert sum(parameter.numel() for parameter in network.controller.parameters()) < before
    # One matrix instead of two rounds once less: a few units in the last place of float32.
    torch.testing.assert_close(steered(network, seen, network.steering(context)), expected, rtol=1e-4, atol=1e-5)


def test_a_community_unet_takes_the_place_of_the_frozen_one(
    network: FaceXNetwork, seen: torch.Tensor, context: torch.Tensor
) -> None:
    names = set(network.unet.state_dict())
    torch.manual_seed(4)
    other = UNet2DConditionModel(**TINY.unet_arguments())
    assert set(other.state_dict()) == names, "attaching the controller renamed weights"
    before = steered(network, seen, network.steering(context))
    network.unet.load_state_dict(other.state_dict())
    after = steered(network, seen, network.steering(context))
    assert not torch.allclose(before, after, atol=1e-3)
    copied = deepcopy(network)
    assert torch.equal(steered(copied, seen, copied.steering(context)), after)


def test_every_block_has_its_own_layer(network: FaceXNetwork) -> None:
    assert len(network.controller.layers) == len(transformer_blocks(network.unet)) == 4


def test_keys_and_values_made_once_serve_all_steps(
    network: FaceXNetwork, context: torch.Tensor, facts: Callable[[int], Any]
) -> None:
    plan = SamplingPlan("dpm++", 3, prediction=TINY.prediction)
    noise = torch.randn(2, 48, 16, 16, generator=torch.Generator().manual_seed(5))
    channels = torch.zeros(2, 49, 16, 16)
    once = network.predictor(network.steering(context), channels)

    def anew(latent: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return network.predictor(network.steering(context), channels)(latent, timestep)

    assert torch.equal(sample(once, plan, noise), sample(anew, plan, noise))


def test_tokens_of_a_source_made_once_are_those_made_again(network: FaceXNetwork, facts: Callable[[int], Any]) -> None:
    source = face_tensors([facts(0)])
    first, again = network.tokens(source), network.tokens(source)
    for name, value in first.parts.items():
        assert torch.equal(value, again[name])


def test_tokens_are_worked_out_one_by_one(network: FaceXNetwork) -> None:
    """What lets tokens be cached, and picked from several faces: no token knows of the others."""
    tokens = torch.randn(1, 9, TINY.width, generator=torch.Generator().manual_seed(6))
    alone = torch.cat([network.sd_adapter(tokens[:, place : place + 1]) for place in range(9)], dim=1)
    torch.testing.assert_close(network.sd_adapter(tokens), alone)


def test_a_face_has_a_token_for_all_that_it_is_told_by(network: FaceXNetwork, facts: Callable[[int], Any]) -> None:
    tokens = network.tokens(face_tensors([facts(0), facts(1)]))
    assert set(tokens.parts) == {"identity", *REGIONS, "expression", "pose", "gaze", "texture", "light"}
    assert joined(list(tokens.parts.values())).shape == (2, 4 + 8 + 5, TINY.width)
    assert not torch.allclose(tokens["lips"], tokens["nose"])


def test_mask_pooling_is_the_mean_under_the_mask() -> None:
    features, masks = torch.randn(2, 5, 6, 7), torch.rand(2, 3, 6, 7)
    masks[1, 2] = 0
    pooled = mask_pool(features, masks)
    for face in range(2):
        for region in range(3):
            total, weight = torch.zeros(5), 1e-6
            for row in range(6):
                for column in range(7):
                    total += features[face, :, row, column] * masks[face, region, row, column]
                    weight += float(masks[face, region, row, column])
            torch.testing.assert_close(pooled[face, region], total / weight, rtol=1e-4, atol=1e-5)


def test_a_region_that_is_not_there_has_its_own_token(network: FaceXNetwork) -> None:
    coarse, masks = torch.randn(1, TINY.encoder_width, 16, 16), torch.zeros(1, 8, 64, 64)
    masks[:, 2] = 1
    found = network.regions(coarse, masks)
    assert torch.equal(found[0, 0], network.regions.absent[0])
    assert not torch.allclose(found[0, 2], network.regions.absent[2])


def test_a_batch_is_its_faces(network: FaceXNetwork, facts: Callable[[int], Any]) -> None:
    four = [facts(seed) for seed in range(4)]
    noise = torch.randn(4, 48, 16, 16, generator=torch.Generator().manual_seed(7))
    plan = SamplingPlan("ddim", 3, prediction=TINY.prediction)

    def run(chosen: slice) -> torch.Tensor:
        tensors = face_tensors(four[chosen])
        context = joined(list(network.tokens(tensors).parts.values()))
        channels = network.reference_channels(tensors.rgb, tensors.masks[:, :1])
        return sample(network.predictor(network.steering(context), channels), plan, noise[chosen])

    together = run(slice(0, 4))
    alone = torch.cat([run(slice(place, place + 1)) for place in range(4)])
    # The same sums in another order: float32's rounding, some steps later.
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("part", "millions"),
    [("unet", 859.5), ("codec", 83.7), ("controller", 56), ("regions", 3.67), ("trained", 71)],
)
def test_sd15_has_the_papers_size(part: str, millions: float) -> None:
    with torch.device("meta"):
        network = FaceXNetwork(PRESETS["sd15"])
    children = dict(network.named_children())
    counted = [children[name] for name in (TRAINED if part == "trained" else (part,))]
    found = sum(parameter.numel() for child in counted for parameter in child.parameters()) / PARTS
    assert found == pytest.approx(millions, rel=0.02)
    assert len(network.controller.layers) == 16


def test_the_compact_network_is_compact() -> None:
    config = PRESETS["compact"]
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counted:
        network = FaceXNetwork(config).eval()
        steering = network.steering(torch.empty(1, 17, config.width))
        before = counted.get_total_flops()
        steered(network, torch.empty(1, config.input_channels, config.latent_px, config.latent_px), steering)
    assert sum(parameter.numel() for parameter in network.unet.parameters()) <= 25 * PARTS
    assert sum(4 * parameter.numel() for parameter in network.parameters()) <= 64e6  # bytes
    assert counted.get_total_flops() - before <= 5e9


def test_a_configuration_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        config_named("tinny")
    assert "tiny" in caught.value.hint
    with pytest.raises(ValueError, match="frozen UNet"):
        FaceXConfig.model_validate(PRESETS["sd15"].model_dump() | {"inpainting": "channels"})


def test_the_configuration_survives_json() -> None:
    for config in PRESETS.values():
        assert FaceXConfig.model_validate_json(config.model_dump_json()) == config


def test_the_latent_of_a_picture_without_a_vae_is_exact(network: FaceXNetwork) -> None:
    picture = torch.rand(1, 3, 64, 64)
    assert torch.equal(network.codec.decode(network.codec.encode(picture)), picture)
    assert np.prod(network.codec.encode(picture).shape) == picture.numel()

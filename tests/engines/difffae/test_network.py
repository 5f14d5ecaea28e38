"""Slots, identity, attention, and the losses that they are trained by."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from facexcli.engines.difffae.config import PRESETS, DiffFAEConfig  # noqa: E402
from facexcli.engines.difffae.denoiser import AdaIN, Denoiser, attention_loss  # noqa: E402
from facexcli.engines.difffae.model import DiffFAENetwork  # noqa: E402
from facexcli.engines.difffae.slots import RegionSlots, SlotAttention, SlotAutoencoder  # noqa: E402
from tests.one_thread import one_thread as one_thread  # noqa: E402

TINY = PRESETS["tiny"]


@pytest.fixture(autouse=True)
def seeded(one_thread: None) -> None:
    torch.manual_seed(0)


def changed(**values: object) -> DiffFAEConfig:
    return DiffFAEConfig.model_validate({**TINY.model_dump(), **values})


def test_slots_compete_for_each_place() -> None:
    slots = RegionSlots(TINY)(torch.randn(2, 3, 64, 64))
    assert slots.tokens.shape == (2, 4, 64)
    assert slots.masks.shape == (2, 4, TINY.grid_px, TINY.grid_px)
    torch.testing.assert_close(slots.masks.sum(dim=1), torch.ones(2, 16, 16))
    assert slots.masks.min() >= 0


def test_slots_go_with_where_they_start_and_not_with_the_order_of_places() -> None:
    attention = SlotAttention(4, 16, 3)
    inputs, order = torch.randn(2, 50, 16), torch.tensor([2, 0, 3, 1])
    tokens, masks = attention(inputs)
    other, other_masks = attention(inputs, attention.start[order])
    torch.testing.assert_close(other, tokens[:, order])
    torch.testing.assert_close(other_masks, masks[:, order])
    places = torch.randperm(50)
    shuffled, shuffled_masks = attention(inputs[:, places])
    torch.testing.assert_close(shuffled, tokens)
    torch.testing.assert_close(shuffled_masks, masks[:, :, places])


def test_parts_are_put_together_to_a_picture() -> None:
    again, masks = SlotAutoencoder(TINY)(torch.randn(2, 3, 64, 64))
    assert again.shape == (2, 3, 64, 64)
    torch.testing.assert_close(masks.sum(dim=1), torch.ones(2, 64, 64))


def test_adain_starts_as_the_identity_map_and_obeys_eq_4() -> None:
    layer, features, who = AdaIN(8, 6), torch.randn(3, 6, 5, 5) * 4 + 1, torch.randn(3, 8)
    torch.testing.assert_close(layer(features, who), features)
    torch.nn.init.normal_(layer.layer.weight)
    found = layer(features, who)
    assert not torch.allclose(found[0], layer(features, who.flip(0))[0])
    # Per channel it is a scale and a shift of the normalised features.
    flat = (found - features).flatten(2)
    normal = (features - features.mean((2, 3), keepdim=True)).flatten(2)
    slope = (flat * normal).sum(2) / normal.square().sum(2)
    residual = flat - slope[..., None] * normal
    torch.testing.assert_close(residual, residual.mean(2, keepdim=True).expand_as(residual), atol=1e-4, rtol=1e-4)


def test_the_identity_reaches_the_denoiser_once_it_is_learnt() -> None:
    denoiser = Denoiser(TINY).eval()
    latent, slots, step = torch.randn(1, 48, 16, 16), torch.randn(1, 4, 64), torch.tensor(500)
    one, other = torch.randn(2, 1, 128)
    with torch.no_grad():
        torch.testing.assert_close(
            denoiser(latent, step, latent, slots, one), denoiser(latent, step, latent, slots, other)
        )
        for module in denoiser.modules():
            if isinstance(module, AdaIN):
                torch.nn.init.normal_(module.layer.weight, std=0.1)
        assert not torch.allclose(
            denoiser(latent, step, latent, slots, one), denoiser(latent, step, latent, slots, other)
        )


def test_cross_attention_sums_to_one_over_the_slots_and_changes_no_answer() -> None:
    denoiser = Denoiser(TINY).eval()
    latent, slots, who = torch.randn(2, 48, 16, 16), torch.randn(2, 4, 64), torch.randn(2, 128)
    maps: list[torch.Tensor] = []
    with torch.no_grad():
        watched = denoiser(latent, torch.tensor([10, 900]), latent, slots, who, maps)
        plain = denoiser(latent, torch.tensor([10, 900]), latent, slots, who)
    torch.testing.assert_close(watched, plain, atol=1e-5, rtol=1e-4)
    found = denoiser.attention_map(maps)
    assert found.shape == (2, 4, TINY.grid_px, TINY.grid_px)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, 16, 16))
    assert len(maps) == sum(1 for name in denoiser.unet.attn_processors if ".attn2." in name)


def test_the_attention_loss_is_none_when_maps_agree_and_teaches_only_one_side() -> None:
    masks = torch.rand(2, 4, 8, 8, requires_grad=True)
    assert attention_loss(masks, masks.detach()) == 0
    cross = torch.rand(2, 4, 8, 8, requires_grad=True)
    loss = attention_loss(cross, masks)
    loss.backward()
    assert loss > 0 and cross.grad is not None and masks.grad is None


@pytest.mark.parametrize("count", [2, 4, 8])
def test_ablations_are_one_option_each(count: int) -> None:
    slots = {**TINY.slots.model_dump(), "count": count}
    network = DiffFAENetwork(changed(slots=slots, identity="none", attention_weight=0.0))
    assert not any(isinstance(module, AdaIN) for module in network.modules())
    tokens = network.regions(torch.randn(1, 3, 64, 64)).tokens
    assert tokens.shape == (1, count, 64)
    latent = torch.randn(1, 48, 16, 16)
    assert network.denoiser(latent, torch.tensor(3), latent, tokens).shape == latent.shape


def test_the_paper_s_sizes() -> None:
    with torch.device("meta"):
        network = DiffFAENetwork(PRESETS["paper"])
    encoder = sum(parameter.numel() for parameter in network.regions.encoder.parameters())
    assert 12e6 < encoder < 18e6  # about 15 M (app. B)
    assert PRESETS["paper"].grid_px == 32 and PRESETS["paper"].latent_px == 64
    assert network.denoiser.unet.config["in_channels"] == 6


def test_a_size_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ValueError, match="halved"):
        changed(size_px=72, encoder={**TINY.encoder.model_dump(), "patch_px": 4, "multipliers": (1, 2, 4)})

"""Sampling on a data distribution whose answer is known, and the pieces around it."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from facexcli.diffusion.fuse import MaskedFusion, add_noise, latent_mask  # noqa: E402
from facexcli.diffusion.noise import track_noise  # noqa: E402
from facexcli.diffusion.sample import Start, guided, sample  # noqa: E402
from facexcli.diffusion.schedule import SamplingPlan, noise_schedule, signal_levels  # noqa: E402
from facexcli.diffusion.solver import ArraySolver  # noqa: E402
from facexcli.errors import UsageError  # noqa: E402

MEAN, SPREAD = 0.7, 0.4


class Gaussian:
    """Data from N(MEAN, SPREAD²): the best possible prediction has a closed form at every noise level."""

    def __init__(self, plan: SamplingPlan) -> None:
        self._levels, self._plan = noise_schedule(plan).double(), plan
        self.calls = 0

    def __call__(self, latent: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        level = self._levels[int(timestep)]
        noise = (latent - level.sqrt() * MEAN) * (1 - level).sqrt() / (level * SPREAD**2 + 1 - level)
        if self._plan.prediction == "epsilon":
            return noise
        clean = (latent - (1 - level).sqrt() * noise) / level.sqrt()
        if self._plan.prediction == "sample":
            return clean
        return level.sqrt() * noise - (1 - level).sqrt() * clean

    def answer(self, noise: torch.Tensor) -> torch.Tensor:
        """Where the probability flow takes `noise`: a Gaussian's flow is affine."""
        level = self._levels[-1]
        return MEAN + SPREAD * (noise - level.sqrt() * MEAN) / (level * SPREAD**2 + 1 - level).sqrt()


@pytest.fixture
def noise() -> torch.Tensor:
    return track_noise([(1, 2)], (4, 8, 8), "test").double()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize(
    ("sampler", "karras", "steps", "tolerance"),
    # Evenly spaced timesteps leave a long last step, which rules the error; Karras's levels do not.
    [("ddim", False, 500, 0.02), ("dpm++", False, 250, 0.02), ("dpm++", True, 40, 0.005), ("pndm", False, 250, 0.02)],
)
def test_a_known_gaussian_is_reached(
    sampler: str, karras: bool, steps: int, tolerance: float, prediction: str, noise: torch.Tensor
) -> None:
    plan = SamplingPlan(sampler, steps, karras, prediction)
    model = Gaussian(plan)
    found = sample(model, plan, noise)
    assert float((found - model.answer(noise)).abs().max()) < tolerance


def test_more_steps_come_nearer(noise: torch.Tensor) -> None:
    for sampler in ("ddim", "dpm++"):
        errors = []
        for steps in (5, 20, 80):
            plan = SamplingPlan(sampler, steps)
            model = Gaussian(plan)
            errors.append(float((sample(model, plan, noise) - model.answer(noise)).abs().max()))
        assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("sampler", ["ddim", "dpm++", "pndm"])
def test_levels_rise_to_a_clean_image(sampler: str) -> None:
    levels = signal_levels(SamplingPlan(sampler, 7).scheduler())
    assert levels == sorted(levels)
    assert levels[-1] == 1


@pytest.mark.parametrize("sampler", ["ddim", "dpm++", "pndm"])
def test_outside_of_the_mask_the_canvas_is_untouched(sampler: str, noise: torch.Tensor) -> None:
    canvas = torch.linspace(-1, 1, noise.numel(), dtype=noise.dtype).view_as(noise)
    pixels = torch.zeros(1, 1, 32, 32)
    pixels[..., 10:20, 9:21] = 0.3
    mask = latent_mask(pixels, (8, 8)).to(noise.dtype)
    plan = SamplingPlan(sampler, 5)
    found = sample(Gaussian(plan), plan, noise, MaskedFusion(mask, canvas, noise))
    outside = (mask == 0).expand_as(found)
    assert torch.equal(found[outside], canvas[outside])
    assert not torch.isclose(found[~outside], canvas[~outside]).any()


def test_a_mask_covers_every_cell_that_it_touches() -> None:
    pixels = torch.zeros(1, 1, 16, 16)
    pixels[0, 0, 3, 4] = 0.01
    assert latent_mask(pixels, (4, 4)).nonzero().tolist() == [[0, 0, 0, 1]]


def test_guidance_of_one_costs_nothing(noise: torch.Tensor) -> None:
    plan = SamplingPlan("ddim", 3)
    model, null = Gaussian(plan), Gaussian(plan)
    predict = guided(model, null, 1.0)
    sample(predict, plan, noise)
    assert predict is model and null.calls == 0
    more = guided(model, lambda latent, timestep: torch.zeros_like(latent), 2.5)
    assert torch.equal(more(noise, torch.tensor(10)), 2.5 * model(noise, torch.tensor(10)))


@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
def test_a_start_is_kept_as_far_as_its_strength_says(sampler: str, noise: torch.Tensor) -> None:
    plan = SamplingPlan(sampler, 10)
    model = Gaussian(plan)
    previous = torch.full_like(noise, MEAN)
    assert torch.equal(sample(model, plan, noise, start=Start(previous, 0.0)), previous)
    assert torch.equal(sample(model, plan, noise, start=Start(previous, 1.0)), sample(model, plan, noise))
    moved = [
        float((sample(model, plan, noise, start=Start(previous, strength)) - previous).abs().mean())
        for strength in (0.2, 0.5, 0.8)
    ]
    assert moved == sorted(moved)


def test_noise_is_a_tracks_own() -> None:
    both = track_noise([(5, 1), (5, 2)], (2, 3), "latent")
    assert torch.equal(both[1:], track_noise([(5, 2)], (2, 3), "latent"))
    assert not torch.equal(both[0], both[1])
    assert abs(float(track_noise([(0, 0)], (64, 64), "latent").std()) - 1) < 0.05
    assert not np.array_equal(track_noise([(5, 1)], (2, 3), "fusion"), both[:1])


def test_a_clean_level_is_the_image_itself() -> None:
    image = torch.rand(1, 3, 4, 4)
    assert add_noise(image, torch.full_like(image, torch.nan), 1.0) is image


def test_what_cannot_be_sampled_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        SamplingPlan("dpm")  # type: ignore[arg-type]
    assert "dpm++" in caught.value.hint
    with pytest.raises(UsageError, match="Karras"):
        SamplingPlan("ddim", karras=True)
    with pytest.raises(UsageError, match="0 sampling steps"):
        SamplingPlan(steps=0)
    latent = torch.zeros(1, 1, 2, 2)
    with pytest.raises(UsageError, match="previous frame"):
        sample(Gaussian(SamplingPlan()), SamplingPlan("pndm"), latent, start=Start(latent, 0.5))
    with pytest.raises(ValueError, match="strength"):
        Start(latent, 1.5)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize(("sampler", "karras"), [("dpm++", True), ("dpm++", False), ("ddim", False)])
@pytest.mark.parametrize("steps", [1, 2, 3, 6, 7, 15, 33])
@pytest.mark.parametrize("strength", [None, 0.5])
def test_arrays_are_walked_as_tensors_are(
    sampler: str, karras: bool, steps: int, prediction: str, strength: float | None
) -> None:
    """Whatever a network answers: the solver of numpy is diffusers' own, with a canvas and from a start too."""
    plan = SamplingPlan(sampler, steps, karras, prediction)  # type: ignore[arg-type]
    random = np.random.default_rng(0)
    noise, canvas, begun = random.standard_normal((3, 1, 2, 4, 4), np.float32)
    mask = random.integers(0, 2, (1, 1, 4, 4)).astype(np.float32)
    weights = random.standard_normal((4, 4), np.float32) / 2
    seen: list[list[int]] = [[], []]

    def by_torch(latent: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        seen[0].append(int(timestep))
        return latent @ torch.from_numpy(weights)

    def by_numpy(latent: np.ndarray, timestep: int) -> np.ndarray:
        seen[1].append(int(timestep))
        return np.asarray(latent @ weights)

    tensors = [torch.from_numpy(each) for each in (noise, canvas, begun, mask)]
    expected = sample(
        by_torch, plan, tensors[0], MaskedFusion(tensors[3], tensors[1], tensors[0]),
        None if strength is None else Start(tensors[2], strength),
    )  # fmt: skip
    found = sample(
        by_numpy, plan, noise, MaskedFusion(mask, canvas, noise),
        None if strength is None else Start(begun, strength), ArraySolver(plan),
    )  # fmt: skip
    assert seen[0] == seen[1] and found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_pndm_is_left_to_torch() -> None:
    with pytest.raises(UsageError, match="torch"):
        ArraySolver(SamplingPlan("pndm", 4))

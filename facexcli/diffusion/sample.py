"""Sampling: from noise to a latent, with whatever predicts the noise. No engine is known here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facexcli.diffusion.fuse import add_noise
from facexcli.diffusion.schedule import signal_levels
from facexcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from facexcli.diffusion.fuse import MaskedFusion, Values
    from facexcli.diffusion.schedule import SamplingPlan

    Predict = Callable[[Values, Values], Values]
    """(latent (B, C, h, w), timestep (), on the CPU) -> what the network predicts, (B, C, h, w)."""


@dataclass(frozen=True, slots=True)
class Start:
    """A latent to set out from instead of pure noise (SDEdit, Meng et al. 2022).

    latent: (B, C, h, w), clean, for example the previous frame's result. strength: 0..1, the share of the steps that
    is walked; 1 forgets the latent, 0 returns it.
    """

    latent: Values
    strength: float

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength must lie in 0..1, got {self.strength}")


def sample(
    predict: Predict,
    plan: SamplingPlan,
    noise: Values,
    fusion: MaskedFusion | None = None,
    start: Start | None = None,
    scheduler: Any = None,
) -> Values:
    """Walk from noise to a clean latent, (B, C, h, w). Pure: nothing of one sampling is left for the next.

    Args:
        predict: the network with its conditions; called once a step (twice at one of PNDM's).
        plan: solver and steps.
        noise: standard normal, (B, C, h, w).
        fusion: holds what is outside of a mask on the canvas, after each step.
        start: begin at a known latent. Raises UsageError with PNDM, whose first two steps belong together.
        scheduler: a fresh one with its timesteps set, in the place of the plan's, which is torch's.
    """
    if start is not None and plan.sampler == "pndm":
        raise UsageError("sampler 'pndm' cannot start from the previous frame", "use dpm++ or ddim with --temporal")
    scheduler = scheduler or plan.scheduler()  # its numbers stay on the CPU: no step waits for the device to tell one
    levels, timesteps = signal_levels(scheduler), scheduler.timesteps
    first = 0 if start is None else len(timesteps) - round(start.strength * len(timesteps))
    latent = noise if start is None or not first else add_noise(start.latent, noise, levels[first - 1])
    if first and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)  # DPM-Solver++ counts its steps; DDIM goes by the timestep
    for timestep, level in zip(timesteps[first:], levels[first:], strict=True):
        prediction = predict(latent, timestep)
        if plan.prediction == "sample" and plan.sampler == "pndm":
            prediction = noise_in(latent, prediction, float(scheduler.alphas_cumprod[int(timestep)]))
        latent = scheduler.step(prediction, timestep, latent, return_dict=False)[0]
        if fusion is not None:
            latent = fusion(latent, level)
    return latent


def noise_in(latent: Values, clean: Values, signal_level: float) -> Values:
    """The noise that makes `latent` out of a clean one at abar = `signal_level`: DDPM, eq. 4, solved for it."""
    return (latent - float(signal_level**0.5) * clean) / float((1 - signal_level) ** 0.5)


def guided(predict: Predict, predict_null: Predict, guidance: float) -> Predict:
    """Classifier-free guidance (Ho and Salimans 2022): null + guidance * (conditioned - null).

    At guidance 1 that is `predict` itself, and the null branch is never run.
    """
    if guidance == 1:
        return predict

    def both(latent: Values, timestep: Values) -> Values:
        null = predict_null(latent, timestep)
        return null + guidance * (predict(latent, timestep) - null)

    return both

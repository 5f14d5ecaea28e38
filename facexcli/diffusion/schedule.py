"""Noise schedules and the solvers that walk them: diffusers' schedulers behind one value.

A scheduler keeps its place and its history, so every sampling makes its own: `SamplingPlan` is what is shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from facexcli.errors import UsageError, unknown_name
from facexcli.settings import SamplerName

if TYPE_CHECKING:
    from collections.abc import Callable

Prediction = Literal["epsilon", "v_prediction", "sample"]
"""What a network answers: the noise, the velocity, or the clean latent itself, in diffusers' words."""
SAMPLERS: tuple[SamplerName, ...] = get_args(SamplerName)
TRAIN_TIMESTEPS = 1000


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """Which solver, how many steps, and what the network predicts.

    karras: the noise levels of Karras et al. 2022, eq. 5, instead of evenly spaced timesteps; DPM-Solver++ only.
    The betas are Stable Diffusion's: their roots run evenly from `beta_start` to `beta_end` (Rombach et al. 2022).
    Raises UsageError for a solver that is not known, or for what it cannot do.
    """

    sampler: SamplerName = "dpm++"
    steps: int = 10
    karras: bool = False
    prediction: Prediction = "epsilon"
    beta_start: float = 0.00085
    beta_end: float = 0.012

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise unknown_name("sampler", self.sampler, SAMPLERS)
        if not 1 <= self.steps <= TRAIN_TIMESTEPS:
            raise UsageError(f"{self.steps} sampling steps", f"take 1 to {TRAIN_TIMESTEPS}")
        if self.karras and self.sampler != "dpm++":
            raise UsageError(f"sampler {self.sampler!r} has no Karras noise levels", "use dpm++")

    def scheduler(self) -> Any:
        """A fresh scheduler of diffusers with its timesteps set, at the beginning of its walk; on the CPU."""
        made = _MAKERS[self.sampler](self)
        made.set_timesteps(self.steps)
        return made


def noise_schedule(plan: SamplingPlan) -> Any:
    """The product of the alphas up to each training timestep, abar_t: float32 tensor (1000,)."""
    return _MAKERS["ddim"](plan).alphas_cumprod


def signal_levels(scheduler: Any) -> list[float]:
    """abar after each step of a scheduler whose timesteps are set; 1 after the last one: a clean image."""
    if getattr(scheduler, "sigmas", None) is not None:
        return [1 / (1 + float(sigma) ** 2) for sigma in scheduler.sigmas[1:]]
    following = scheduler.timesteps[1:]
    return [*(float(scheduler.alphas_cumprod[int(timestep)]) for timestep in following), 1.0]


def _shared(plan: SamplingPlan) -> dict[str, Any]:
    return {
        "num_train_timesteps": TRAIN_TIMESTEPS,
        "beta_start": plan.beta_start,
        "beta_end": plan.beta_end,
        "beta_schedule": "scaled_linear",
        "prediction_type": plan.prediction,
        "timestep_spacing": "trailing",  # starts at the noise that it is given, however few the steps (Lin et al. 2024)
    }


def _dpm(plan: SamplingPlan) -> Any:
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

    return DPMSolverMultistepScheduler(**_shared(plan), solver_order=2, use_karras_sigmas=plan.karras)


def _ddim(plan: SamplingPlan) -> Any:
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    return DDIMScheduler(**_shared(plan), clip_sample=False, set_alpha_to_one=True)


def _pndm(plan: SamplingPlan) -> Any:
    from diffusers.schedulers.scheduling_pndm import PNDMScheduler

    known = {**_shared(plan), "prediction_type": _noise_for_pndm(plan.prediction)}
    return PNDMScheduler(**known, skip_prk_steps=True, set_alpha_to_one=True)


def _noise_for_pndm(prediction: Prediction) -> Prediction:
    """PNDM does not take the clean latent: it is told the noise (see `sample`)."""
    return "epsilon" if prediction == "sample" else prediction


_MAKERS: dict[SamplerName, Callable[[SamplingPlan], Any]] = {"dpm++": _dpm, "ddim": _ddim, "pndm": _pndm}

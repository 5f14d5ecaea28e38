"""DPM-Solver++ and DDIM on numpy arrays: what diffusers' schedulers do, for networks that run without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facexcli.diffusion.schedule import TRAIN_TIMESTEPS
from facexcli.errors import UsageError

if TYPE_CHECKING:
    from facexcli.diffusion.schedule import SamplingPlan
    from facexcli.types import Array

_KARRAS_RHO = 7


class ArraySolver:
    """A walk of a plan at its beginning, with the parts of a scheduler that `sample` uses.

    DPM-Solver++(2M) with midpoints (Lu et al. 2022, algorithm 2), or DDIM (Song et al. 2021, eq. 12), which is its
    first order on evenly spaced timesteps. Raises UsageError for PNDM.
    """

    def __init__(self, plan: SamplingPlan) -> None:
        if plan.sampler == "pndm":
            raise UsageError("sampler 'pndm' needs torch", "use dpm++ or ddim, or the network that was exported")
        roots = np.linspace(plan.beta_start**0.5, plan.beta_end**0.5, TRAIN_TIMESTEPS, dtype=np.float32)
        self.alphas_cumprod: Array = np.cumprod(1 - roots**2, dtype=np.float32).astype(np.float64)
        self._prediction, self._order = plan.prediction, 2 if plan.sampler == "dpm++" else 1
        sigmas = ((1 - self.alphas_cumprod) / self.alphas_cumprod) ** 0.5
        even = np.round(np.arange(TRAIN_TIMESTEPS, 0, -TRAIN_TIMESTEPS / plan.steps)).astype(np.int64) - 1
        if plan.karras:
            ends = sigmas[[-1, 0]] ** (1 / _KARRAS_RHO)
            walked = (ends[0] + np.linspace(0, 1, plan.steps) * (ends[1] - ends[0])) ** _KARRAS_RHO
            places = np.interp(np.log(walked), np.log(sigmas), np.arange(TRAIN_TIMESTEPS))
            self.timesteps: Array = np.round(places).astype(np.int64)
        else:
            self.timesteps, walked = even, sigmas[even]
        following = [*walked[1:], 0.0]
        if self._order == 1:  # by a fixed number of timesteps, which need not be where the next step begins
            nexts = even - TRAIN_TIMESTEPS // plan.steps
            following = [float(sigmas[at]) if at >= 0 else 0.0 for at in nexts]
        self.sigmas = None if self._order == 1 else np.array([*walked, 0.0])
        self._legs = [(_scales(here), _scales(there)) for here, there in zip(walked, following, strict=True)]
        self._at = 0
        self._before: Array | None = None

    def set_begin_index(self, index: int) -> None:
        """Leave out the steps before."""
        self._at = index

    def step(self, prediction: Array, timestep: int, latent: Array, *, return_dict: bool = False) -> tuple[Array]:
        """The latent (B, C, h, w) after the next step."""
        del timestep, return_dict
        (alpha, sigma), (next_alpha, next_sigma) = self._legs[self._at]
        clean = self._clean(prediction, latent, alpha, sigma)
        aim, last = clean, len(self._legs) - 1  # which ends without noise, and so is of the first order
        if self._order == 2 and self._before is not None and self._at < last:
            (old_alpha, old_sigma), _ = self._legs[self._at - 1]
            here = np.log(alpha / sigma)
            ratio = (here - np.log(old_alpha / old_sigma)) / (np.log(next_alpha / next_sigma) - here)
            aim = clean + np.float32(0.5 / ratio) * (clean - self._before)
        kept, gained = next_sigma / sigma, next_alpha - next_sigma * alpha / sigma
        self._at, self._before = self._at + 1, clean
        return (np.float32(kept) * latent + np.float32(gained) * aim,)

    def _clean(self, prediction: Array, latent: Array, alpha: float, sigma: float) -> Array:
        if self._prediction == "sample":
            return prediction
        if self._prediction == "epsilon":
            return (latent - np.float32(sigma) * prediction) / np.float32(alpha)
        return np.float32(alpha) * latent - np.float32(sigma) * prediction


def _scales(sigma: float) -> tuple[float, float]:
    """Shares of signal and noise, sqrt(abar) and sqrt(1 - abar), at sqrt((1 - abar) / abar) = sigma."""
    alpha = 1 / float((sigma**2 + 1) ** 0.5)
    return alpha, float(sigma) * alpha

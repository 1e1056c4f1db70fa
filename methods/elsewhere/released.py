"""Samplers of few-step models on a discrete path, as diffusers' schedulers have them.

euler is DDIM (song2021denoising, arXiv:2010.02502, eq. 12 without noise) between given labels. lcm is the multistep
sampler of latent consistency models (luo2023latent, arXiv:2310.04378, algorithm 3; section numbers unchecked), tcd that
of trajectory consistency distillation (zheng2024trajectory, arXiv:2402.19159, gamma-sampling, unchecked): both after
LCMScheduler and TCDScheduler of diffusers. sim is the single step of score implicit matching (luo2024one,
arXiv:2410.16794), after its authors' code: D(x) = x - sigma eps(x/sqrt(1 + sigma^2)) at x = sigma z, sigma = 2.5.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..denoiser import Condition, Denoiser
from ..method import Draws, Method
from ..paths import Path, VPDiscrete, expand
from ..specs.released import ReleasedOptions

SIGMA_DATA = 0.5
"""Of LCM's boundary condition."""
TIME_SCALE = 10.0
"""LCM's labels are multiplied by it."""
ORIGINAL_STEPS = 50
"""Of the schedule that LCM and TCD were distilled over: every 20th of 1000 labels."""

SIM_SIGMA = 2.5
"""The noise level that SIM's text-to-image generator was trained at."""
SIM_LARGEST = 0.001
"""Below it SIM's code keeps no 1 - beta."""


def trailing_labels(steps: int, labels: int) -> list[int]:
    """round(N - i N/K) - 1 for i = 0, ..., K - 1: diffusers' `trailing` spacing."""
    return [round(labels - i * labels / steps) - 1 for i in range(steps)]


def distilled_labels(steps: int, labels: int) -> list[int]:
    """K of the ORIGINAL_STEPS labels, at floor(linspace(0, 50, K, endpoint=False)) of them, noisiest first."""
    original = [(labels // ORIGINAL_STEPS) * i - 1 for i in range(ORIGINAL_STEPS, 0, -1)]
    return [original[math.floor(i * ORIGINAL_STEPS / steps)] for i in range(steps)]


def boundary_scalings(label: int) -> tuple[float, float]:
    """(c_skip, c_out) of LCM: c_skip = 1 at label 0, and next to nothing at the labels that are used."""
    s = TIME_SCALE * label
    return SIGMA_DATA**2 / (s**2 + SIGMA_DATA**2), s / (s**2 + SIGMA_DATA**2) ** 0.5


def sim_label(sigma: float, path: VPDiscrete) -> float:
    """What SIM's code tells a network at noise level sigma: N - 1 - argmin_j |u_j - sigma|, in bfloat16.

    u_N = 0 and u_{j-1} = sqrt((u_j^2 + 1)/max(1 - beta(j), 0.001) - 1) are its levels, with beta(j) linear in j/N
    between the chain's ends, which are not the chain's own betas.
    """
    first, last, count = path.betas[0], path.betas[-1], path.labels
    u = torch.zeros(count + 1, dtype=torch.float64)
    for j in range(count, 0, -1):
        beta = last + (first - last) * j / count
        u[j - 1] = ((u[j] ** 2 + 1) / max(1 - beta, SIM_LARGEST) - 1).sqrt()
    label = count - 1 - int((u - sigma).abs().argmin())
    return float(torch.tensor(float(label)).bfloat16())


class Released(Method):
    """`teacher` is the network of the folder; it is asked on the path that it was trained on, at whole labels."""

    def __init__(self, teacher: Denoiser, options: ReleasedOptions, seed: int = 0) -> None:
        super().__init__(teacher, seed)
        self.options = options
        path = getattr(teacher, "trained_path", None) or teacher.path
        if not isinstance(path, VPDiscrete):
            raise ValueError(f"a released model has a discrete path, and this network is on {type(path).__name__}")
        self.path, self.network = path, teacher.on(path)
        if options.sampler == "sim" and not self.network.predicts_eps:
            raise ValueError("sim is a formula for a network that predicts eps, and this one does not")

    def labels(self, nfe: int) -> list[int]:
        """Those given, or those of the sampler's scheduler. ValueError for one that the path does not have."""
        n = self.path.labels
        spaced = trailing_labels if self.options.sampler == "euler" else distilled_labels
        found = list(self.options.labels) or spaced(nfe, n)
        if found[0] >= n:
            raise ValueError(f"label {found[0]} is none of this network's, which are 0 to {n - 1}")
        if len(set(found)) < len(found):
            raise ValueError(f"{self.options.sampler} has fewer than {nfe} labels: give labels, or a smaller NFE")
        return found

    @torch.no_grad()
    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """x0 (B, ...) in `nfe` evaluations from unit noise; lcm and tcd with noise draw more."""
        self.options.steps_for(nfe)
        if self.options.sampler == "sim":
            return self._sim(noise, condition)
        labels = self.labels(nfe)
        step = {"euler": self._euler, "lcm": self._lcm, "tcd": self._tcd}[self.options.sampler]
        x = noise if self.options.start == "unit" else expand(self.path.sigma(self._time(labels[0])), noise) * noise
        for j, label in enumerate(labels):
            x0 = self.network(x, self._time(label), condition)
            x = step(x, x0, labels, j, draws)
        return x

    def _sim(self, noise: Tensor, condition: Condition) -> Tensor:
        """D(sigma z) at sigma = 2.5: the state has this level, the label that of its neighbour in SIM's table."""
        x = SIM_SIGMA * noise
        eps = self.network.eps(x / math.sqrt(1 + SIM_SIGMA**2), self._time(sim_label(SIM_SIGMA, self.path)), condition)
        return x - SIM_SIGMA * eps

    def _time(self, label: float) -> Tensor:
        return self.path.time_of_label(label)

    def _euler(self, x: Tensor, x0: Tensor, labels: Sequence[int], j: int, draws: Draws | None) -> Tensor:
        """DDIM to the next label, at last to clean data."""
        if j == len(labels) - 1:
            return x0
        return self.path.ddim_step(x, x0, self._time(labels[j]), self._time(labels[j + 1]))

    def _lcm(self, x: Tensor, x0: Tensor, labels: Sequence[int], j: int, draws: Draws | None) -> Tensor:
        """f = c_skip x + c_out D; then alpha f + sigma z at the next label, none after the last."""
        c_skip, c_out = boundary_scalings(labels[j])
        f = c_skip * x + c_out * x0
        if j == len(labels) - 1:
            return f
        return self.path.noisy(f, _fresh(draws, j).to(x), self._time(labels[j + 1]).expand(len(x)))

    def _tcd(self, x: Tensor, x0: Tensor, labels: Sequence[int], j: int, draws: Draws | None) -> Tensor:
        """DDIM to label floor((1 - eta) m), m the next label or at last 0; then noise up to m."""
        following = labels[j + 1] if j < len(labels) - 1 else 0
        below = math.floor((1 - self.options.eta) * following)
        x = self.path.ddim_step(x, x0, self._time(labels[j]), self._time(below))
        if below == following:
            return x
        return noised(self.path, x, below, following, _fresh(draws, j))


def noised(path: Path, x: Tensor, low: int, high: int, z: Tensor) -> Tensor:
    """x at label `low` with noise up to label `high`: sqrt(a_m/a_q) x + sqrt(1 - a_m/a_q) z, a = alpha^2."""
    assert isinstance(path, VPDiscrete)
    ratio = path.alpha(path.time_of_label(high)) / path.alpha(path.time_of_label(low))
    return ratio.to(x) * x + torch.sqrt(1 - ratio**2).to(x) * z.to(x)


def _fresh(draws: Draws | None, j: int) -> Tensor:
    if draws is None:
        raise ValueError("this sampler is stochastic: give draws")
    return draws(j)

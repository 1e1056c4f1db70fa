"""EDM's general form (Karras et al. 2022, algorithm 3): Euler and Heun in t on paths given by sigma(t) and s(t)."""

import math
from dataclasses import dataclass

import pytest
import torch

from fewstep.methods import solvers
from fewstep.methods.denoiser import metered
from fewstep.methods.paths import EDM, Path, VPLinear, as_time
from fewstep.methods.solvers.grids import times
from fewstep.methods.specs.solver import Grid

ENDS = {"vp": None, "ve": (0.02, 100.0), "iddpm": (0.002, 81.0), "edm": (0.002, 80.0)}
"""Noise levels at which each discretisation ends; vp's are VPLinear's at t = 1e-3 and 1."""


@dataclass(frozen=True)
class Scheduled(Path):
    """x_t = s(t) (x0 + sigma(t) eps): a noise schedule by name, and "vp" scaling 1/sqrt(1 + sigma^2) or "none"."""

    schedule: str
    scaling: str
    vp: VPLinear
    t_min = 1e-3
    t_max = 1.0

    def noise_level(self, t):
        t = as_time(t)
        return {"vp": lambda: self.vp.noise_level(t), "ve": t.sqrt, "linear": lambda: t}[self.schedule]()

    def _dlevel(self, t):
        t = as_time(t)
        if self.schedule == "vp":
            return -self.vp.noise_level(t) * self.vp.dhalf_log_snr(t)
        return 0.5 / t.sqrt() if self.schedule == "ve" else torch.ones_like(t)

    def alpha(self, t):
        level = self.noise_level(t)
        return 1 / (1 + level**2).sqrt() if self.scaling == "vp" else torch.ones_like(level)

    def sigma(self, t):
        return self.alpha(t) * self.noise_level(t)

    def dalpha(self, t):
        level = self.noise_level(t)
        moving = -level * self._dlevel(t) * self.alpha(t) ** 3
        return moving if self.scaling == "vp" else torch.zeros_like(level)

    def dsigma(self, t):
        return self.dalpha(t) * self.noise_level(t) + self.alpha(t) * self._dlevel(t)

    def time_at(self, noise_level):
        level = as_time(noise_level)
        return {"vp": lambda: self.vp.time_at(level), "ve": lambda: level**2, "linear": lambda: level}[self.schedule]()


def iddpm_levels(steps, low, high, count=1000):
    """The levels of improved DDPM's cosine schedule in EDM's table, `steps` of those within the ends."""

    def abar(j):
        return math.sin(math.pi / 2 * j / (count * 1.008)) ** 2

    levels = [0.0]
    for j in range(count, 0, -1):
        levels.append(math.sqrt((levels[-1] ** 2 + 1) / max(abar(j - 1) / abar(j), 0.001) - 1))
    kept = [level for level in reversed(levels) if low <= level <= high]
    return torch.tensor([kept[round((len(kept) - 1) / (steps - 1) * i)] for i in range(steps)], dtype=torch.float64)


def levels_of(discretisation, steps, vp):
    low, high = float(vp.noise_level(1e-3)), float(vp.noise_level(1.0))
    if discretisation == "vp":
        return vp.noise_level(torch.linspace(1.0, 1e-3, steps, dtype=torch.float64))
    if discretisation == "iddpm":
        return iddpm_levels(steps, low, high)
    spacing = {"ve": "log-snr", "edm": "karras"}[discretisation]
    return times(Grid(spacing=spacing, end="min"), EDM(low, high), steps - 1)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_reference_ablation_sampler(solver, reference, problem, laws):
    arrays = reference("solvers/edm_official")
    found = [key for key in arrays.meta if "/abl_" in key and f"_{solver}/" in key]
    assert found
    for key in found:
        _, discretisation, schedule, scaling, _ = key.split("/")[1].split("_")
        defaults = VPLinear()
        ends = ENDS[discretisation] or (float(defaults.noise_level(1e-3)), float(defaults.noise_level(1.0)))
        vp = VPLinear.between(*ends)
        path = Scheduled(schedule, scaling, vp)
        steps = arrays.meta[key]["num_steps"]
        grid = torch.cat([path.time_at(levels_of(discretisation, steps, vp)), torch.zeros(1)])
        with metered() as meter:
            x = solvers.get("runge-kutta", tableau=solver, last_step="euler").sample(
                laws("gmm", path), problem["x_T"], times=grid
            )
        expected = arrays[f"{key}/x"]
        deviation = float((x - expected).abs().max()) / max(1.0, float(expected.abs().max()))
        assert deviation <= 1e-6, f"{key}: {deviation:.1e}"
        assert meter.evaluations == len(x) * arrays.meta[key]["nfe"]

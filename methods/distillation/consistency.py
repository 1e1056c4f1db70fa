"""Consistency distillation (Song, Dhariwal, Chen & Sutskever 2023).

A consistency function f(x, t) maps every point of an ODE trajectory to its end: f(x, sigma_min) = x.
The student is taught that one teacher step along the trajectory changes nothing.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..denoiser import Condition, Denoiser, EDMDenoiser
from ..ema import averaged, ema, ramped_ema
from ..method import Draws, Method
from ..options import ConsistencyOptions, HeunOptions, SolverOptions
from ..paths import EDM, expand
from ..randomness import generator
from ..solvers.base import Run
from ..solvers.euler import euler
from ..solvers.grids import karras
from ..solvers.heun import heun


class ConsistencyFunction(EDMDenoiser):
    """EDM's preconditioning shifted so that f(x, sigma_min) = x exactly (paper, appendix C)."""

    def scalings(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return boundary_scalings(sigma, self.sigma_data, self.path.t_min)


def boundary_scalings(sigma: Tensor, sigma_data: float, sigma_min: float) -> tuple[Tensor, Tensor, Tensor]:
    """(c_skip, c_out, c_in) with c_skip = 1 and c_out = 0 at sigma_min."""
    shifted, total = sigma - sigma_min, sigma**2 + sigma_data**2
    return sigma_data**2 / (shifted**2 + sigma_data**2), shifted * sigma_data / total.sqrt(), 1 / total.sqrt()


def l1(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).abs().flatten(1).mean(1)


def l2(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().flatten(1).mean(1)


def pseudo_huber(x: Tensor, y: Tensor) -> Tensor:
    """sqrt(|x - y|^2 + c^2) - c on the vector norm, c = 0.00054 sqrt(d) (Song & Dhariwal 2023)."""
    difference = (x - y).flatten(1)
    c = 0.00054 * difference.shape[1] ** 0.5
    return (difference.square().sum(1) + c**2).sqrt() - c


DISTANCES = {"l1": l1, "l2": l2, "pseudo-huber": pseudo_huber}
ODE_STEPS = {"heun": (heun, HeunOptions()), "euler": (euler, SolverOptions())}


def loss_weight(name: str, t: Tensor, sigma_data: float) -> Tensor:
    """lambda(t) at the noisier time; snr = t^-2 (cm/karras_diffusion.py, get_weightings)."""
    snr = t**-2
    weights = {
        "uniform": torch.ones_like(t),
        "snr": snr,
        "snr+1": snr + 1,
        "karras": snr + 1 / sigma_data**2,
        "truncated-snr": snr.clamp(min=1),
    }
    return weights[name]


def consistency_loss(
    student: Denoiser,
    target: Callable[[Tensor, Tensor], Tensor],
    teacher: Denoiser,
    x0: Tensor,
    noise: Tensor,
    t: Tensor,
    s: Tensor,
    ode_step: str = "heun",
    distance: str = "l2",
) -> Tensor:
    """dist(f(x_t, t), SG f^-(x_s, s)) per sample (B,), unweighted (paper, eq. 7).

    x_t = x0 + t noise; x_s is one teacher step from t (B,) down to s (B,).
    """
    x_t = x0 + expand(t, x0) * noise
    with torch.no_grad():
        solve, options = ODE_STEPS[ode_step]
        x_s = solve(Run.over(teacher, torch.stack([t, s]), x_t, options), x_t)
        y_target = target(x_s, s)
    return DISTANCES[distance](student(x_t, t), y_target)


def multistep(
    f: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    levels: Tensor,
    sigma_min: float,
    draws: Draws | None,
) -> Tensor:
    """Algorithm 1: f at levels[0], then noise sqrt(level^2 - sigma_min^2) added and f again; NFE = len(levels)."""
    x0 = f(levels[0].to(noise) * noise, levels[0])
    for j, level in enumerate(levels[1:]):
        if draws is None:
            raise ValueError("multistep consistency sampling is stochastic: give draws")
        x0 = f(x0 + (level**2 - sigma_min**2).sqrt().to(noise) * draws(j).to(noise), level)
    return x0


class Consistency(Method):
    """Trained once, sampled at any NFE."""

    student: ConsistencyFunction

    def __init__(self, teacher: Denoiser, options: ConsistencyOptions, seed: int = 0) -> None:
        super().__init__(teacher, seed)
        if not isinstance(teacher, EDMDenoiser) or not isinstance(teacher.path, EDM):
            raise ValueError("consistency distillation starts from a teacher network with EDM preconditioning")
        self.options = options
        self.batch_size = options.batch
        self.sigma_data = teacher.sigma_data
        u = torch.linspace(0.0, 1.0, options.grid_points, dtype=torch.float64)
        self.grid = karras(u, teacher.path.t_max, teacher.path.t_min)
        self.student = ConsistencyFunction(copy.deepcopy(teacher.network), teacher.sigma_data, teacher.path)
        self.student.requires_grad_(True).train()
        self.average = averaged(self.student, ramped_ema(options.ema))
        self.target = averaged(self.student, ema(options.target_ema)) if options.target_ema else None

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        x0 = batch["x0"]
        rng = generator(self.seed, "train", int(batch["step"]))
        index = torch.randint(len(self.grid) - 1, (len(x0),), generator=rng)
        noise = torch.randn(x0.shape, generator=rng).to(x0)
        t, s = self.grid[index].to(x0.device), self.grid[index + 1].to(x0.device)
        target = self.target.module if self.target is not None else self.student
        distances = consistency_loss(
            self.student, target, self.teacher, x0, noise, t, s, self.options.ode_step, self.options.distance
        )
        return (loss_weight(self.options.weight, t, self.sigma_data).to(x0) * distances).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            self.student.parameters(), self.options.learning_rate, betas=self.options.betas, fused=True
        )

    def learning_rate_factor(self, step: int, spent: float) -> float:
        """Warm-up in steps, then linear to 0 as the budget runs out."""
        return min(1.0, (step + 1) / max(1, self.options.warmup_steps)) * (1 - spent)

    def update_averages(self) -> None:
        self.average.update_parameters(self.student)
        if self.target is not None:
            self.target.update_parameters(self.student)

    def result(self) -> nn.Module:
        return self.average.module

    @torch.no_grad()
    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """Levels evenly spread on the rho = 7 curve from sigma_max to options.last_level."""
        u = torch.linspace(0.0, self.options.last_level, nfe, dtype=torch.float64)
        levels = karras(u, self.student.path.t_max, self.student.path.t_min).to(noise.device)

        def f(x: Tensor, t: Tensor) -> Tensor:
            return self.average.module(x, t, condition)

        return multistep(f, noise, levels, self.student.path.t_min, draws)

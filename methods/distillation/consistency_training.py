"""Consistency training: the teacher's ODE step is replaced by the data's own direction, x_r = x0 + r eps.

Three papers share the loss w(t, r) d(f(x_t, t), SG f^-(x_r, r)) and the sampler, algorithm 1 of the first; they
differ in a `Recipe`: which levels r < t are paired and how they draw together while the budget is spent, the
weight, the distance, and the target's weights.
  CT (song2023consistency, arXiv:2303.01469): loss eq. 10, algorithm 3; schedules of N and mu in appendix C.
  iCT (song2023improved, arXiv:2310.14189): distance eq. 8, N eq. 9, levels eq. 10, weight section 3.1, target
    without a moving average section 3.2.
  ECT (geng2024consistency, arXiv:2406.14548): r(t), weight and loss as in ECMLoss of the authors' code
    (equation numbers unchecked).
"""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from ..denoiser import Denoiser, EDMDenoiser
from ..ema import Paired
from ..networks.initialise import drawn_anew
from ..paths import Path, expand
from ..randomness import drawn_seed, generator
from ..solvers.grids import karras
from ..specs.consistency_training import ConsistencyTrainingOptions, CTOptions, ECTOptions, ICTOptions
from .consistency import ConsistencyFunction, ConsistencyModel, residual
from .consistency_sampling import Function
from .distances import Distance, distance, l2, pseudo_huber, snr_weight
from .student import preconditioned_network

LevelPairs = tuple[Tensor, Tensor]
"""t and r (B,) float64: the noisier level of each sample, and the cleaner one that it is taught by."""


def training_loss(
    student: Function,
    target: Function,
    x0: Tensor,
    noise: Tensor,
    t: Tensor,
    r: Tensor,
    distance: Distance = l2,
    masks: int = 0,
) -> Tensor:
    """d(f(x_t, t), SG f^-(x_r, r)) per sample (B,), unweighted (CT, eq. 10); x_t = x0 + t eps, x_r = x0 + r eps.

    Where r = 0 the target is x0, and where it is for the whole batch the target network is not run. On the CPU, where
    t and r may stay, that is known without a wait.
    """
    x_t, x_r = x0 + expand(t, x0) * noise, x0 + expand(r, x0) * noise
    return residual(student, clean_at_zero(target), x_t, t, x_r, r, distance, masks)


def clean_at_zero(f: Function) -> Function:
    """f with f(x, 0) = x, whatever the network would say there."""

    def known(x: Tensor, r: Tensor) -> Tensor:
        clean = r == 0
        if bool(clean.all()):
            return x
        # ln 0 must not reach the network; what it says at these levels is not used.
        return torch.where(expand(r, x) == 0, x, f(x, torch.where(clean, 1.0, r)))

    return known


def ct_points(spent: float, s0: int, s1: int) -> int:
    """N, the grid's points at a share `spent` of the training: from s0 to s1 + 1 as a root (CT, appendix C)."""
    return max(math.ceil(math.sqrt(spent * ((s1 + 1) ** 2 - s0**2) + s0**2) - 1), 1) + 1


def ct_decay(points: int, s0: int, mu0: float, mu: str = "code") -> float:
    """The target's decay exp(s0 ln mu0 / N) (CT, appendix C), or with N - 1, as in the released code."""
    return math.exp(s0 * math.log(mu0) / {"code": points - 1, "paper": points}[mu])


def ict_points(spent: float, s0: int, s1: int) -> int:
    """N(spent) = min(s0 2^floor(spent phases), s1) + 1 with phases = log2 floor(s1/s0) + 1 (iCT, eq. 9)."""
    phases = math.log2(s1 // s0) + 1
    # A share computed as k/K may lie one rounding below the doubling it stands for.
    return min(s0 * 2 ** math.floor(spent * phases * (1 + 1e-12)), s1) + 1


@cache
def ascending(path: Path, points: int) -> Tensor:
    """The rho = 7 grid from sigma_min to sigma_max, iCT's direction."""
    return karras(torch.linspace(0.0, 1.0, points, dtype=torch.float64), path.t_max, path.t_min).flip(0)


def lognormal_probabilities(levels: Tensor, mean: float, std: float) -> Tensor:
    """p_i (N - 1,), in proportion to what ln sigma ~ N(mean, std^2) puts between levels i and i + 1 (iCT, eq. 10)."""
    cumulative = torch.erf((levels.log() - mean) / (math.sqrt(2) * std))
    return cumulative.diff() / (cumulative[-1] - cumulative[0])


def ect_stage(spent: float, stages: int) -> int:
    """Stages of equal shares of the training, from 0."""
    return min(math.floor(spent * stages), stages - 1)


def ect_r(t: Tensor, stage: int, q: float, k: float, b: float) -> Tensor:
    """r = max(0, t (1 - (1 + k sigmoid(-b t)) / q^(stage + 1))) (ECT; ECMLoss of the authors' code)."""
    return (t * (1 - (1 + k * torch.sigmoid(-b * t)) / q ** (stage + 1))).clamp(min=0)


@dataclass(frozen=True)
class Recipe:
    """What distinguishes the variants.

    pairs(spent, count, rng): the levels of a batch; weight(t, r): (B,); decay(spent): of the target's moving
    average, None where the target is the student itself; function: the student's preconditioning.
    """

    pairs: Callable[[float, int, torch.Generator], LevelPairs]
    weight: Callable[[Tensor, Tensor], Tensor]
    distance: Distance
    decay: Callable[[float], float] | None
    function: type[EDMDenoiser]


def inverse_distance(t: Tensor, r: Tensor) -> Tensor:
    """1/(t - r): iCT's weight (section 3.1) and ECT's."""
    return 1 / (t - r)


def ct(options: CTOptions, path: Path, sigma_data: float) -> Recipe:
    """Neighbours on a growing rho = 7 grid, each as likely; the target follows ever faster."""

    def pairs(spent: float, count: int, rng: torch.Generator) -> LevelPairs:
        levels = ascending(path, ct_points(spent, options.s0, options.s1))
        i = torch.randint(len(levels) - 1, (count,), generator=rng)
        return levels[i + 1], levels[i]

    def weight(t: Tensor, r: Tensor) -> Tensor:
        return snr_weight(options.weight, t, sigma_data)

    def decay(spent: float) -> float:
        return ct_decay(ct_points(spent, options.s0, options.s1), options.s0, options.mu0, options.mu)

    return Recipe(pairs, weight, distance(options.distance), decay, ConsistencyFunction)


def ict(options: ICTOptions, path: Path, sigma_data: float) -> Recipe:
    """Neighbours on a grid that doubles, lognormally likely; the target is the student."""

    def pairs(spent: float, count: int, rng: torch.Generator) -> LevelPairs:
        levels = ascending(path, ict_points(spent, options.s0, options.s1))
        p = lognormal_probabilities(levels, options.log_sigma_mean, options.log_sigma_std)
        # A single draw takes as many random numbers as there are levels, several take one each.
        i = torch.multinomial(p, max(count, 2), replacement=True, generator=rng)[:count]
        return levels[i + 1], levels[i]

    def huber(x: Tensor, y: Tensor) -> Tensor:
        return pseudo_huber(x, y, options.huber * x[0].numel() ** 0.5)

    return Recipe(pairs, inverse_distance, huber, None, ConsistencyFunction)


def ect(options: ECTOptions, path: Path, sigma_data: float) -> Recipe:
    """t lognormal, r ever nearer to it; the student keeps the teacher's preconditioning."""

    def pairs(spent: float, count: int, rng: torch.Generator) -> LevelPairs:
        normal = torch.randn(count, generator=rng, dtype=torch.float64)
        t = torch.exp(options.log_sigma_mean + options.log_sigma_std * normal)
        return t, ect_r(t, ect_stage(spent, options.stages), options.q, options.k, options.b)

    return Recipe(pairs, inverse_distance, partial(pseudo_huber, c=options.huber), None, EDMDenoiser)


RECIPES: dict[str, Callable[..., Recipe]] = {"ct": ct, "ict": ict, "ect": ect}


class ConsistencyTraining(ConsistencyModel):
    """Consistency training: trained once, sampled at any NFE. The teacher gives at most the first weights.

    It learns the law of the data and their labels: beside a guided teacher its samples are without guidance.
    """

    options: ConsistencyTrainingOptions

    def __init__(self, teacher: Denoiser, options: ConsistencyTrainingOptions, seed: int = 0) -> None:
        given = preconditioned_network(teacher, "consistency training")
        recipe = RECIPES[options.variant.name](options.variant, teacher.path, given.sigma_data)
        start = generator(seed, "init").initial_seed()
        network = copy.deepcopy(given.network) if options.init == "teacher" else drawn_anew(given.network, start)
        student = recipe.function(network, given.sigma_data, given.path)
        floor = teacher.path.t_min if recipe.function is ConsistencyFunction else 0.0
        super().__init__(teacher, student, options, seed, floor)
        self.recipe = recipe
        self.target = copy.deepcopy(self.student).requires_grad_(False) if recipe.decay else None
        self._following = None if self.target is None else Paired(self.target, self.student)

    def drawn(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Noise and masks, which are the same after the levels of any grid."""
        rng, _, _ = self._pairs(int(batch["step"]), 0.0)
        return {"noise": torch.randn(batch["x0"].shape, generator=rng), "masks": drawn_seed(rng)}

    def consistency_step(self, batch: dict[str, Tensor]) -> Tensor:
        x0, condition = batch["x0"], self.condition_of(batch)
        (_, t, r), drawn = self._pairs(int(batch["step"]), self.progress), self.draws_of(batch)
        noise, masks = drawn["noise"].to(x0, non_blocking=True), drawn["masks"]
        networks = (self.student, self.student if self.target is None else self.target)
        student, target = (f.given(condition) for f in networks)
        distances = training_loss(student, target, x0, noise, t, r, self.recipe.distance, masks)
        return (self.recipe.weight(t, r).to(x0, non_blocking=True) * distances).mean()

    def step_kind(self, step: int) -> str:
        kind = super().step_kind(step)
        if kind != "step" or bool((self._pairs(step, self.progress_at(self.spent))[2] > 0).any()):
            return kind
        return "step to clean data"

    def _pairs(self, step: int, progress: float) -> tuple[torch.Generator, Tensor, Tensor]:
        """The step's generator, with the step's levels drawn from it, t and r."""
        rng = generator(self.seed, "train", step)
        return rng, *self.recipe.pairs(progress, self.batch_size, rng)

    def update_averages(self) -> None:
        super().update_averages()
        if self._following is not None and self.recipe.decay is not None and not self.finished:
            self._following.follow(self.recipe.decay(self.progress))

"""Consistency distillation (song2023consistency, arXiv:2303.01469): loss eq. 7, target eq. 6, sampler algorithm 1.

A consistency function f(x, t) maps every point of an ODE trajectory to its end: f(x, sigma_min) = x.
The student is taught that one teacher step along the trajectory changes nothing. The moving average behind the
target is eq. 8, the boundary condition eq. 5 and appendix C; RAdam is liu2020variance (arXiv:1908.03265).
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..denoiser import Condition, Denoiser, EDMDenoiser
from ..ema import Paired
from ..method import Draws
from ..nfe import UnreachableNFE, whole
from ..paths import Scalar, expand
from ..randomness import drawn_seed, generator, noise, seeded
from ..solvers.base import Run
from ..solvers.euler import euler
from ..solvers.grids import karras
from ..solvers.heun import heun
from ..specs.consistency import ConsistencyOptions, ConsistencyStudentOptions, given_levels
from ..specs.heun import HeunOptions
from ..specs.solver import SolverOptions
from ..uses import spent_on
from .consistency_sampling import (
    Function,
    LevelSearch,
    at_positions,
    consistency_sampling,
    levels_within,
    probe,
    search_levels,
    spread_levels,
)
from .distances import Distance, distance, l2, snr_weight
from .student import StudentMethod, preconditioned_network


class ConsistencyFunction(EDMDenoiser):
    """EDM's preconditioning shifted so that f(x, sigma_min) = x exactly (eq. 5, appendix C)."""

    def scalings(self, sigma: Scalar) -> tuple[Scalar, Scalar, Scalar]:
        return boundary_scalings(sigma, self.sigma_data, self.path.t_min)


def boundary_scalings(sigma: Scalar, sigma_data: float, sigma_min: float) -> tuple[Scalar, Scalar, Scalar]:
    """(c_skip, c_out, c_in) with c_skip = 1 and c_out = 0 at sigma_min."""
    shifted, root = sigma - sigma_min, (sigma**2 + sigma_data**2) ** 0.5
    return sigma_data**2 / (shifted**2 + sigma_data**2), shifted * sigma_data / root, 1 / root


ODE_STEPS = {"heun": (heun, HeunOptions()), "euler": (euler, SolverOptions())}


def residual(
    student: Function, target: Function, x_t: Tensor, t: Tensor, x_s: Tensor, s: Tensor, distance: Distance, masks: int
) -> Tensor:
    """dist(f(x_t, t), SG f^-(x_s, s)) per sample (B,), both sides under the dropout masks of seed `masks`."""
    with seeded(masks, x_t.device):
        y = student(x_t, t)
    with torch.no_grad(), spent_on("target"), seeded(masks, x_t.device):
        y_target = target(x_s, s)
    return distance(y, y_target)


def consistency_loss(
    student: Function,
    target: Function,
    teacher: Denoiser,
    x0: Tensor,
    noise: Tensor,
    t: Tensor,
    s: Tensor,
    ode_step: str = "heun",
    distance: Distance = l2,
    masks: int = 0,
) -> Tensor:
    """dist(f(x_t, t), SG f^-(x_s, s)) per sample (B,), unweighted (eq. 7).

    x_t = x0 + t noise; x_s is one teacher step from t (B,) down to s (B,) (eq. 6). Both may stay on the CPU, where
    whether a step ends at clean data is known without a wait.
    """
    x_t = x0 + expand(t, x0) * noise
    solve, options = ODE_STEPS[ode_step]
    with torch.no_grad(), spent_on("teacher"):
        x_s = solve(Run.over(teacher, torch.stack([t, s]), x_t, options), x_t)
    return residual(student, target, x_t, t, x_s, s, distance, masks)


class ConsistencyModel(StudentMethod):
    """What distillation and training share: when the levels are searched, and the sampler.

    `floor` is the noise that the student leaves in its output, see `consistency_sampling`. With options.levels
    "searched" the last step searches the levels, see LevelSearch.
    """

    student: EDMDenoiser
    options: ConsistencyStudentOptions
    progress: float = 0.0
    """The share of its training, without the search, that lies behind a step."""

    def __init__(
        self, teacher: Denoiser, student: EDMDenoiser, options: ConsistencyStudentOptions, seed: int, floor: float
    ) -> None:
        super().__init__(teacher, student, options, seed)
        self.options = options
        self.floor = floor
        self.search: LevelSearch | None = None
        if not isinstance(options.levels, str):
            levels_within(options.levels, student.path)
        if options.levels == "searched":
            self.search = LevelSearch(self.average.module, options.searched_nfe, options.search_rounds)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.options.optimizer == "adam":
            return super().configure_optimizers()
        return torch.optim.RAdam(
            self.student.parameters(), self.options.learning_rate, betas=self.options.betas, foreach=True
        )

    def consistency_step(self, batch: dict[str, Tensor]) -> Tensor:
        """The loss of one training step."""
        raise NotImplementedError

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        step = int(batch["step"])
        self.progress = self.progress_at(self.spent)
        if self.search is None:
            return self.consistency_step(batch)
        self.search.note(step, self.spent)
        if self.search.is_due(step, self.spent):
            self.search.positions.copy_(self.searched(batch["x0"], self.options.searched_nfe))
            self.finished = True
            # Nothing is learned in this step: its gradient and its learning rate are 0.
            return 0 * next(self.student.parameters()).sum()
        if step == 0:
            self.searched(batch["x0"], nfe=1)
        return self.consistency_step(batch)

    def searched(self, like: Tensor, nfe: int) -> Tensor:
        """The positions of nfe levels, on noises of the search's own, shaped and placed as the samples `like`.

        For nfe = 1 there is nothing to find; what one probe evaluates is evaluated.
        """
        if self.quality is None:
            raise ValueError("levels: searched asks the runner for a quality of samples, and got none")
        count, shape = range(self.options.search_samples), like.shape[1:]
        labels = self.teacher.conditions(self.seed, "label-levels", count)
        f = self.function(None if labels is None else labels.to(like.device, non_blocking=True))

        def draws(j: int) -> Tensor:
            return noise(self.seed, f"levels-{j}", count, shape).to(like, non_blocking=True)

        self.average.eval()
        start, path = noise(self.seed, "levels", count, shape).to(like, non_blocking=True), self.student.path
        if nfe == 1:
            probe(f, self.quality, path, start)
        return search_levels(f, self.quality, path, start, draws, nfe, self.floor, self.options.search_rounds)

    def progress_at(self, spent: float) -> float:
        return min(1.0, spent / (1 - (0.0 if self.search is None else self.search.reserve())))

    def step_kind(self, step: int) -> str:
        if self.search is None:
            return "step"
        if self.search.is_due(step, self.spent):
            return "search of levels"
        return "step and a probe" if step == 0 else "step"

    def learning_rate_factor(self, step: int, spent: float) -> float:
        """Warm-up in steps, then linear to 0 as the training's part of the budget runs out; 0 in the search."""
        if self.search is not None and self.search.is_due(step, spent):
            return 0.0
        return super().learning_rate_factor(step, self.progress_at(spent))

    def update_averages(self) -> None:
        if not self.finished:
            super().update_averages()

    def result(self) -> nn.Module:
        return super().result() if self.search is None else self.search

    def function(self, condition: Condition) -> Function:
        """The averaged student as f(x, t)."""

        def f(x: Tensor, t: Tensor) -> Tensor:
            x0: Tensor = self.average.module(x, t, condition)
            return x0.clamp(-1, 1) if self.options.clip_x0 else x0

        return f

    def levels(self, nfe: int) -> Tensor:
        """The noise levels of nfe evaluations. UnreachableNFE where they were neither searched nor given."""
        if not isinstance(given := self.options.levels, str):
            return torch.tensor(given[: len(given_levels(nfe, given))], dtype=torch.float64)
        if self.search is None:
            return spread_levels(self.student.path, nfe, self.options.last_level)
        found = self.search.positions[:nfe]
        if len(found) < nfe or found.isnan().any():
            raise UnreachableNFE(f"no levels were searched for {nfe} evaluations")
        return at_positions(self.student.path, found)

    def learned(self) -> list[tuple[str, list[float]]]:
        """The searched levels."""
        if self.search is None or self.search.positions.isnan().any():
            return []
        levels = self.levels(self.options.searched_nfe).tolist()
        return [("evaluation", [float(j + 1) for j in range(len(levels))]), ("sigma", levels)]

    @torch.no_grad()
    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """x0 by multistep consistency sampling (algorithm 1) over `levels`."""
        return consistency_sampling(
            self.function(condition),
            noise,
            self.levels(whole(nfe)).to(noise.device, non_blocking=True),
            self.floor,
            draws,
        )


class Consistency(ConsistencyModel):
    """Consistency distillation: trained once, sampled at any NFE."""

    options: ConsistencyOptions

    def __init__(self, teacher: Denoiser, options: ConsistencyOptions, seed: int = 0) -> None:
        network = preconditioned_network(teacher, "consistency distillation")
        student = ConsistencyFunction(copy.deepcopy(network.network), network.sigma_data, network.path)
        super().__init__(teacher, student, options, seed, floor=network.path.t_min)
        self.distance = distance(options.distance)
        u = torch.linspace(0.0, 1.0, options.grid_points, dtype=torch.float64)
        self.grid = karras(u, teacher.path.t_max, teacher.path.t_min)
        self.target = copy.deepcopy(self.student).requires_grad_(False) if options.target_ema else None
        self._following = None if self.target is None else Paired(self.target, self.student)

    def indices(self, batch: Mapping[str, Any]) -> tuple[torch.Generator, Tensor]:
        """The step's generator, with the samples' places (B,) on the grid drawn from it."""
        rng = generator(self.seed, "train", int(batch["step"]))
        return rng, torch.randint(len(self.grid) - 1, (len(batch["x0"]),), generator=rng)

    def drawn(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        rng, _ = self.indices(batch)
        return {"noise": torch.randn(batch["x0"].shape, generator=rng), "masks": drawn_seed(rng)}

    def consistency_step(self, batch: dict[str, Tensor]) -> Tensor:
        x0, condition = batch["x0"], self.condition_of(batch)
        drawn, (_, index) = self.draws_of(batch), self.indices(batch)
        noise, masks = drawn["noise"].to(x0, non_blocking=True), drawn["masks"]
        t, s = self.grid[index], self.grid[index + 1]
        networks = (self.student, self.student if self.target is None else self.target, self.teacher)
        student, target, teacher = (f.given(condition) for f in networks)
        distances = consistency_loss(
            student, target, teacher, x0, noise, t, s, self.options.ode_step, self.distance, masks
        )
        return (
            snr_weight(self.options.weight, t, self.student.sigma_data).to(x0, non_blocking=True) * distances
        ).mean()

    def update_averages(self) -> None:
        super().update_averages()
        if self._following is not None and not self.finished:
            self._following.follow(self.options.target_ema)

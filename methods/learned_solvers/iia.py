"""IIA, improved integration approximation (Zhang, Niwa & Kleijn, ICLR 2024): least squares in a solver's own steps.

In each step the base solver's update is replaced by, or joined with, a combination of a few columns that are
already at hand. Their coefficients are fitted so that the step lands where M steps of the base solver inside
the same interval do, from the same state: one batch of noises, step after step, each from where the fitted one
before it ended. The step to clean data is the base solver's own.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from .. import solvers
from ..denoiser import Condition, Denoiser
from ..method import Draws, Method
from ..nfe import UnreachableNFE
from ..randomness import noise
from ..solvers import grids
from ..solvers.adams import equal_steps, history, weighted
from ..solvers.base import Node, Run, Solve, Solver, ddim, eps_of, nodes, transfer
from ..solvers.ddim import ddim_eta
from ..solvers.dpm_solver import multistep, multistep_step
from ..solvers.exponential import History, Integrator
from ..solvers.heun import heun
from ..solvers.pndm import ipndm, s_pndm, s_pndm_eps
from ..specs.iia import IIAOptions, iia_steps
from ..specs.solver import Grid
from ..uses import spent_on

RANK_TOLERANCE = 0.75
"""Singular values below the dtype's eps to this power, as a share of the largest, are zero: rounding is not fitted.

After a plain DDIM step x has moved only as D did, hence eps too: the two differences are one direction.
"""

Combine = Callable[[int, Tensor, Tensor, Sequence[Tensor]], Tensor]
"""(i, x, plain, columns) -> plain + sum_k c_ik columns[k], the state after step i from x: c stored, or fitted now."""

Gradients = Callable[[Tensor, Tensor, Tensor, Tensor, Node, Node], tuple[Tensor, ...]]
"""(x, D, x ahead, D ahead, t, s) -> what Heun's step from t to s adds up, in x/alpha."""

Step = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(i, x, D) -> (the base solver's state after step i, the eps that it moved along)."""


def iia_edm(run: Run, x: Tensor, combine: Combine, r: int) -> Tensor:
    """IIA-EDM: z_{i+1} = z_i + sum_{j<=r} beta_ij (z_{i-j} - D_{i-j}) + gamma_ij (D_{i-j} - D~_{i-j+1}).

    z = x/alpha, D~ the denoiser at Heun's predicted state. Heun itself has beta_i0 = (rho_{i+1} - rho_i)/rho_i
    and gamma_i0 = (rho_{i+1} - rho_i)/(2 rho_{i+1}), rho = sigma/alpha, and no history.
    """
    return _from_slopes(run, x, combine, r, _residuals, lambda t, s: s.alpha)


def biia_edm(run: Run, x: Tensor, combine: Combine, r: int) -> Tensor:
    """BIIA-EDM: z_{i+1} = z_i + (rho_{i+1} - rho_i) sum_{j<=r} gamma_ij (d_{i-j} + d'_{i-j+1})/2.

    d and d' are Heun's two slopes eps; Heun itself has gamma_i0 = 1 and no history.
    """
    return _from_slopes(run, x, combine, r, _mean_slope, lambda t, s: s.alpha * (s.level - t.level))


def _residuals(x: Tensor, x0: Tensor, ahead: Tensor, x0_ahead: Tensor, t: Node, s: Node) -> tuple[Tensor, ...]:
    return x / t.alpha - x0, x0 - x0_ahead


def _mean_slope(x: Tensor, x0: Tensor, ahead: Tensor, x0_ahead: Tensor, t: Node, s: Node) -> tuple[Tensor, ...]:
    return ((eps_of(x, x0, t) + eps_of(ahead, x0_ahead, s)) / 2,)


def _from_slopes(
    run: Run, x: Tensor, combine: Combine, r: int, gradients: Gradients, scale: Callable[[Node, Node], Any]
) -> Tensor:
    """Heun's evaluations, with the gradients of this step and of the r before it as columns."""
    run.needs_signal("Heun steps in sigma/alpha, which is infinite")
    past: deque[tuple[Tensor, ...]] = deque(maxlen=r + 1)
    for i, (t, s) in enumerate(pairwise(run.nodes)):
        x0 = run.x0(x, t)
        ahead = ddim(x, x0, t, s)
        if s.clean:
            return ahead
        past.appendleft(gradients(x, x0, ahead, run.x0(ahead, s), t, s))
        columns = [scale(t, s) * gradient for step in past for gradient in step]
        x = combine(i, x, (s.alpha / t.alpha) * x, columns)
    return x


def with_differences(steps_of: Callable[[Run], Step]) -> Callable[[Run, Tensor, Combine, int], Tensor]:
    """IIA-DDIM and its kin: x_{i+1} = base step + sum_{j<r} phi_ij dD_{i-j} + psi_ij deps_{i-j}, dD_i = D_i - D_{i-1}.

    This is the paper's IIA-DDIM. Its forms for the other solvers could not be checked, and this one is natural:
    eps is the mean that a PNDM's step goes along, for DPM-Solver++(2M) the network's; D is the network's in all.
    """

    def solve(run: Run, x: Tensor, combine: Combine, r: int) -> Tensor:
        base_step = steps_of(run)
        past: deque[tuple[Tensor, Tensor]] = deque(maxlen=r + 1)
        for i, (t, s) in enumerate(pairwise(run.nodes)):
            x0 = run.x0(x, t)
            plain, eps = base_step(i, x, x0)
            past.appendleft((x0, eps))
            columns = [a - b for newer, older in pairwise(past) for a, b in zip(newer, older, strict=True)]
            x = plain if s.clean or not columns else combine(i, x, plain, columns)
        return x

    return solve


def _ddim_steps(run: Run) -> Step:
    def step(i: int, x: Tensor, x0: Tensor) -> tuple[Tensor, Tensor]:
        t, s = run.nodes[i : i + 2]
        return ddim(x, x0, t, s), eps_of(x, x0, t)

    return step


def _dpmpp_2m_steps(run: Run) -> Step:
    form, values = Integrator(noise=False), History(run.order)

    def step(i: int, x: Tensor, x0: Tensor) -> tuple[Tensor, Tensor]:
        return multistep_step(run, form, values, i, x, x0), eps_of(x, x0, run.nodes[i])

    return step


def _s_pndm_steps(run: Run) -> Step:
    run.needs_signal("PNDM divides by alpha")
    values = history(2)

    def step(i: int, x: Tensor, x0: Tensor) -> tuple[Tensor, Tensor]:
        t, s = run.nodes[i : i + 2]
        values.appendleft(eps_of(x, x0, t))
        eps = s_pndm_eps(run, x, values, t, s)
        return transfer(x, eps, t, s), eps

    return step


def _ipndm_steps(run: Run) -> Step:
    values = history(run.options.max_order)

    def step(i: int, x: Tensor, x0: Tensor) -> tuple[Tensor, Tensor]:
        t, s = run.nodes[i : i + 2]
        values.appendleft(eps_of(x, x0, t))
        eps = equal_steps(values)
        return transfer(x, eps, t, s) if t.signal else ddim(x, x0, t, s), eps

    return step


@dataclass(frozen=True)
class Variant:
    """fine: the base solver as it runs inside an interval; fine_options, fine_grid: where that differs from the whole.

    width: columns per step of history; own: whether the current step has some without a past.
    """

    solve: Callable[[Run, Tensor, Combine, int], Tensor]
    fine: Solve
    width: int = 2
    own: bool = False
    fine_options: dict[str, Any] = field(default_factory=dict)
    fine_grid: dict[str, Any] = field(default_factory=dict)

    def columns(self, i: int, r: int) -> int:
        """How many coefficients step i (from 0) has."""
        return self.width * (min(i, r) + self.own)


EVEN_LEVELS = {"spacing": "karras", "rho": 1.0}
VARIANTS = {
    "heun": Variant(iia_edm, heun, own=True, fine_grid=EVEN_LEVELS),
    "heun-basic": Variant(biia_edm, heun, width=1, own=True, fine_grid=EVEN_LEVELS),
    "ddim": Variant(with_differences(_ddim_steps), ddim_eta),
    # Its order falls at the end of a run, and the end of an interval is none.
    "dpmpp-2m": Variant(with_differences(_dpmpp_2m_steps), multistep, fine_options={"lower_order_final": False}),
    "s-pndm": Variant(with_differences(_s_pndm_steps), s_pndm),
    "ipndm": Variant(with_differences(_ipndm_steps), ipndm),
}


def least_squares(columns: Sequence[Tensor], target: Tensor) -> Tensor:
    """c (K,) that minimises |sum_k c_k columns[k] - target|^2 over the batch and all pixels, in float64.

    The smallest c where the columns depend on each other, up to the rounding of their own dtype.
    """
    tolerance = torch.finfo(columns[0].dtype).eps ** RANK_TOLERANCE
    a = torch.stack([column.double().flatten() for column in columns], 1).cpu()
    b = target.double().flatten().cpu()
    return torch.linalg.lstsq(a, b[:, None], rcond=tolerance, driver="gelsd").solution[:, 0]


def base_solver(options: IIAOptions) -> Solver:
    """The solver that is fitted, on the grid of the options."""
    solver = solvers.get(options.base, grid=options.grid)
    assert isinstance(solver, Solver)
    return solver


class FittedSolver(nn.Module):
    """A base solver over `steps` steps with its fitted coefficients (steps, columns), newest columns first.

    Rows are filled up with zeros where a step has fewer columns, or none.
    """

    coefficients: Tensor

    def __init__(self, options: IIAOptions, steps: int) -> None:
        super().__init__()
        self.options, self.variant, self.base = options, VARIANTS[options.solver], base_solver(options)
        width = self.variant.columns(steps, options.r)
        self.register_buffer("coefficients", torch.full((steps, width), torch.nan, dtype=torch.float64))

    def coefficient_count(self, clean: bool) -> int:
        """How many are fitted, on a grid that does or does not end at clean data."""
        return sum(self.variant.columns(i, self.options.r) for i in range(len(self.coefficients) - clean))

    def stored(self, i: int, x: Tensor, plain: Tensor, columns: Sequence[Tensor]) -> Tensor:
        """Combine with the coefficients as they are."""
        return plain + weighted(self.coefficients[i, : len(columns)].tolist(), columns)

    def sample(self, denoiser: Denoiser, noise: Tensor, **how: Any) -> Tensor:
        """Solver.sample with the fitted coefficients. Raises RuntimeError before they are fitted."""
        if self.coefficients.isnan().any():
            raise RuntimeError("IIA's coefficients are not fitted yet: train it first")
        return self._solver(lambda run: self.stored).sample(denoiser, noise, **how)

    def fit(
        self, denoiser: Denoiser, noise: Tensor, times: Tensor, condition: Condition = None
    ) -> tuple[Tensor, Tensor]:
        """Fit every step in turn from unit `noise` (B, ...): (x0, the mean squared residual of the fits)."""
        self.coefficients.zero_()
        residuals: list[Tensor] = []

        def fitting(run: Run) -> Combine:
            def combine(i: int, x: Tensor, plain: Tensor, columns: Sequence[Tensor]) -> Tensor:
                with spent_on("ground truth"):
                    target = self._fine(run, i, x)
                self.coefficients[i, : len(columns)] = least_squares(columns, target - plain)
                x = self.stored(i, x, plain, columns)
                residuals.append((target - x).square().mean())
                return x

            return combine

        x0 = self._solver(fitting).sample(denoiser, noise, times=times, condition=condition)
        return x0, torch.stack(residuals).mean()

    def _solver(self, combine_of: Callable[[Run], Combine]) -> Solver:
        """The base solver with this variant's steps: its grid, its NFE, its checks."""
        return replace(self.base, solve=lambda run, x: self.variant.solve(run, x, combine_of(run), self.options.r))

    def _fine(self, run: Run, i: int, x: Tensor) -> Tensor:
        """Where M steps of the base solver lead from x at node i."""
        t, s = run.nodes[i : i + 2]
        grid: Grid = self.options.grid.model_copy(update=self.variant.fine_grid)
        times = grids.within(grid, run.path, t.time.cpu(), s.time.cpu(), self.options.substeps)
        options = run.options.model_copy(update=self.variant.fine_options)
        return self.variant.fine(replace(run, nodes=nodes(run.path, times, x), options=options), x)


class IIA(Method):
    """IIA for one NFE: one training step fits it, on noises of its own and without data."""

    def __init__(self, teacher: Denoiser, options: IIAOptions, seed: int = 0, nfe: int = 9) -> None:
        super().__init__(teacher, seed)
        if teacher.sample_shape is None:
            raise ValueError("iia needs the teacher's sample_shape: it draws its own noise")
        self.options, self.batch_size, self.nfe = options, options.batch, nfe
        self.automatic_optimization = False
        steps = base_solver(options).steps(nfe)
        self.times = grids.times(options.grid, teacher.path, steps)
        self.ends_clean = bool(teacher.path.sigma(self.times[-1]) == 0)
        self.solver = FittedSolver(options, iia_steps(steps, self.ends_clean, VARIANTS[options.solver].own))

    def step_kind(self, step: int) -> str:
        return "fit"

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        assert self.teacher.sample_shape is not None
        start = noise(self.seed, "trajectory", range(self.batch_size), self.teacher.sample_shape)
        labels = self.teacher.conditions(self.seed, "label-trajectory", range(self.batch_size))
        labels = None if labels is None else labels.to(batch["x0"].device)
        _, residual = self.solver.fit(self.teacher, start.to(batch["x0"]), self.times, labels)
        self.finished = True
        return residual

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return []

    def result(self) -> nn.Module:
        return self.solver

    def trainable_count(self) -> int:
        return self.solver.coefficient_count(self.ends_clean)

    def facts(self) -> dict[str, Any]:
        return {"solver": self.options.solver, "r": self.options.r, "steps": len(self.times) - 1}

    def learned(self) -> list[tuple[str, list[float]]]:
        """Each column's coefficients by step, newest first."""
        columns = self.solver.coefficients.T.tolist()
        steps = [float(i + 1) for i in range(len(columns[0]))]
        return [("step", steps), *((f"coefficient {k + 1}", column) for k, column in enumerate(columns))]

    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """x0 by the fitted solver. Raises UnreachableNFE for another NFE than the one it was fitted for."""
        if nfe != self.nfe:
            raise UnreachableNFE(f"this IIA solver was fitted for {self.nfe} evaluations")
        return self.solver.sample(self.teacher, noise, nfe=nfe, condition=condition)

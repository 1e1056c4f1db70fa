"""IIA, improved integration approximation (zhang2024on, arXiv:2304.11328): least squares in a solver's own steps.

In each step the base solver's update is replaced by, or joined with, a combination of a few columns that are
already at hand (iia_updates.py, with the sections of its formulas). The loss of a step is the mean squared error
to a target: where M finer steps of the base solver inside the same interval lead from the same state (sections
3.2 and 3.3, equation numbers unchecked). One batch of noises is fitted step after step, each from where the
fitted one before it ended. The step to clean data is the base solver's own.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .. import solvers
from ..denoiser import Condition, Denoiser
from ..method import Draws, Method
from ..nfe import UnreachableNFE, whole
from ..on_host import OnHost
from ..randomness import noise
from ..solvers import grids
from ..solvers.base import Run, Solver, nodes
from ..solvers.combinations import weighted
from ..specs.iia import IIAOptions, iia_steps
from ..specs.solver import Grid
from ..uses import spent_on
from .iia_updates import VARIANTS, Combine

RANK_TOLERANCE = 0.75
"""Singular values below the dtype's eps to this power, as a share of the largest, are zero: rounding is not fitted.

After a plain DDIM step x has moved only as D did, hence eps too: the two differences are one direction.
"""


def least_squares(columns: Sequence[Tensor], target: Tensor) -> Tensor:
    """c (K,) that minimises |sum_k c_k columns[k] - target|^2 over the batch and all pixels, in float64.

    The smallest c where the columns depend on each other, up to the rounding of their own dtype.
    """
    tolerance = torch.finfo(columns[0].dtype).eps ** RANK_TOLERANCE
    # On the CPU: no GPU knows the driver that takes columns which depend on each other.
    both = torch.stack([column.double().flatten() for column in (*columns, target)], 1).cpu()
    a, b = both[:, :-1].contiguous(), both[:, -1:].contiguous()
    return torch.linalg.lstsq(a, b, rcond=tolerance, driver="gelsd").solution[:, 0]


def iia_base(options: IIAOptions) -> Solver:
    """The solver that is fitted, on the grid of the options."""
    solver = solvers.get(options.base, grid=options.grid)
    assert isinstance(solver, Solver)
    return solver


class FittedSolver(OnHost):
    """A base solver over `steps` steps with its fitted coefficients (steps, columns), newest columns first.

    Rows are filled up with zeros where a step has fewer columns, or none.
    """

    coefficients: Tensor
    on_host = ("coefficients",)

    def __init__(self, options: IIAOptions, steps: int) -> None:
        super().__init__()
        self.options, self.variant, self.base = options, VARIANTS[options.solver], iia_base(options)
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
        times = grids.within(grid, run.path, t.number, s.number, self.options.substeps)
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
        base = iia_base(options)
        path, steps = base.on_path(teacher)[0].path, base.steps(nfe)
        self.times = grids.times(options.grid, path, steps)
        self.ends_clean = bool(path.sigma(self.times[-1]) == 0)
        self.solver = FittedSolver(options, iia_steps(steps, self.ends_clean, VARIANTS[options.solver].own))

    def step_kind(self, step: int) -> str:
        return "fit"

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        assert self.teacher.sample_shape is not None
        start = noise(self.seed, "trajectory", range(self.batch_size), self.teacher.sample_shape)
        labels = self.teacher.conditions(self.seed, "label-trajectory", range(self.batch_size))
        labels = None if labels is None else labels.to(batch["x0"].device, non_blocking=True)
        _, residual = self.solver.fit(self.teacher, start.to(batch["x0"], non_blocking=True), self.times, labels)
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
        if whole(nfe) != self.nfe:
            raise UnreachableNFE(f"this IIA solver was fitted for {self.nfe} evaluations")
        return self.solver.sample(self.teacher, noise, nfe=nfe, condition=condition)

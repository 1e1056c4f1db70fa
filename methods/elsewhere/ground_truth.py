"""The exact solution as a row: what RK45 (dormand1980family) makes of each noise, at the NFE that it takes."""

import torch
from torch import Tensor

from ..denoiser import Condition, Denoiser
from ..method import Draws, Method
from ..solvers.rk45 import AdaptiveSolver
from ..specs.ground_truth import GroundTruthOptions


class GroundTruth(Method):
    """The teacher's probability-flow ODE, solved to options.tolerance."""

    measures_nfe = True

    def __init__(self, teacher: Denoiser, options: GroundTruthOptions, seed: int = 0) -> None:
        super().__init__(teacher, seed)
        self.solver = AdaptiveSolver() if options.tolerance is None else AdaptiveSolver(options.tolerance)

    @torch.no_grad()
    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """x0 (B, ...) from unit noise in as many evaluations as the tolerance asks for; `nfe` is not looked at."""
        return self.solver.sample(self.teacher, noise, condition=condition)

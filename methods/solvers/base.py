"""What every training-free solver shares: options, grid, the start from noise, the exact NFE."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from ..denoiser import Condition, Denoiser, metered
from ..options import Grid
from ..paths import Path, expand
from .grids import times as grid_times

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x, t) -> x0 with the condition already bound."""

Steps = Callable[[Denoise, Path, Tensor, Tensor], Tensor]
"""(denoise, path, x, times) -> x at the last time: what a solver's file defines."""


@dataclass(frozen=True)
class Solver:
    """A solver with its options: `solve` runs it over a time grid, `steps` says how many steps an NFE buys."""

    name: str
    solve: Steps
    steps: Callable[[int], int]
    grid: Grid = field(default_factory=lambda: Grid())

    @torch.no_grad()
    def sample(
        self,
        denoiser: Denoiser,
        noise: Tensor,
        nfe: int | None = None,
        times: Tensor | None = None,
        condition: Condition = None,
    ) -> Tensor:
        """x0 (B, ...) from unit Gaussian noise (B, ...), which is scaled by sigma(times[0]) inside.

        Give `nfe` (evaluations per sample, met exactly) or `times` (K + 1 decreasing times on the
        denoiser's path). Raises UnreachableNFE where the solver cannot spend exactly `nfe`, ValueError
        for neither or both, RuntimeError if the evaluations counted differ from `nfe`.
        """
        if (nfe is None) == (times is None):
            raise ValueError("give nfe or times, one of the two")
        if nfe is not None and nfe < 1:
            raise ValueError(f"nfe must be at least 1, not {nfe}")
        if times is None:
            assert nfe is not None
            times = grid_times(self.grid, denoiser.path, self.steps(nfe))
        x = expand(denoiser.path.sigma(times[0]), noise) * noise
        with metered() as meter:
            x0 = self.solve(lambda x, t: denoiser(x, t, condition), denoiser.path, x, times.to(x.device))
        if nfe is not None and meter.evaluations != nfe * len(noise):
            raise RuntimeError(f"{self.name} took {meter.evaluations / len(noise):g} evaluations, not {nfe}")
        return x0


def steps_of(times: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The steps t -> s of a decreasing grid."""
    return list(pairwise(times.unbind()))


def is_clean(path: Path, t: Tensor) -> bool:
    """Whether t, () or (B,), is the time of clean data (sigma = 0), where a step ends on D itself."""
    return bool((path.sigma(t) == 0).all())

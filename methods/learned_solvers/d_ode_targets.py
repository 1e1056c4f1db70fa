"""Where the teacher of a D-ODE solver steps, and after which of its steps the student should be where it is.

`official` targets are those of the code of kim2024distilling (arXiv:2309.16421; section unchecked); the default
refines the student's own grid.
"""

from itertools import accumulate

import torch
from torch import Tensor

from ..paths import Path, VPDiscrete
from ..solvers import grids
from ..solvers.base import Solver
from ..specs.d_ode import DODEOptions

MOST_OFFICIAL = 1000
"""Steps of the released code's teacher on a chain, however many labels that has."""

Steps = tuple[Tensor, list[int]]
"""(times (M + 1,), for each of the student's evaluations how many of the M steps lead to its target)."""


def teacher_steps(options: DODEOptions, base: Solver, path: Path, nfe: int) -> Steps:
    """For the student with `nfe` evaluations. Raises UnreachableNFE where its base solver does."""
    steps, times = base.schedule(path, nfe)
    if options.targets == "official":
        return official(options, path, nfe)
    landings = steps if len(steps) == len(times) - 1 else (1,) * (len(times) - 1)
    parts = grids.divided(options.grid, path, times, [options.scale * count for count in landings])
    ends = accumulate(map(len, parts))
    wanted = [end for end, count in zip(ends, landings, strict=True) for _ in range(count)]
    return torch.cat([*parts, times[-1:]]), wanted


def official(options: DODEOptions, path: Path, nfe: int) -> Steps:
    """As the released code: `scale` x nfe steps of the grid's own (at most a chain's labels, and at most 1000), every
    scale-th wanted.

    The teacher of DPM-Solver is DDIM on a chain's labels, whatever the student's grid, down to clean data.
    """
    count = options.scale * nfe
    if isinstance(path, VPDiscrete):
        count = min(count, path.labels, MOST_OFFICIAL)
    if isinstance(path, VPDiscrete) and options.solver.startswith("dpm-solver"):
        labels = torch.linspace(0, path.labels, count + 1, dtype=torch.float64)[:-1].floor()
        times = path.time_of_label(torch.cat([labels.flip(0), torch.tensor([-1.0], dtype=torch.float64)]))
    else:
        times = grids.times(options.grid, path, count)
    return times, every(count // nfe, nfe, count)


def every(each: int, nfe: int, last: int) -> list[int]:
    """each, 2 each, ..., of which the nfe-th is `last`."""
    return [each * k for k in range(1, nfe)] + [last]

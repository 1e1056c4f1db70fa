"""Multistep consistency sampling (song2023consistency, arXiv:2303.01469, algorithm 1), and its noise levels.

A consistency function f(x, t) -> x0 jumps to data; noise is added again, and it jumps from there.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..method import Draws
from ..on_host import OnHost
from ..paths import Path
from ..solvers.grids import karras
from ..uses import spent_on

Function = Callable[[Tensor, Tensor], Tensor]
"""f(x, t): x (B, ...), t a noise level; x0, like x."""
Quality = Callable[[Tensor], float]
"""quality(x0) of samples (B, ...): lower is better."""


def consistency_sampling(f: Function, noise: Tensor, levels: Tensor, floor: float, draws: Draws | None) -> Tensor:
    """Algorithm 1: f at levels[0], then noise up to each further level and f again; NFE = len(levels).

    noise: unit Gaussian (B, ...); draws(j): the unit noise added before step j + 1. `floor` is the noise that f
    leaves in its output: sigma_min for f(x, sigma_min) = x, 0 for a denoiser. ValueError without draws.
    """
    x0 = f(levels[0].to(noise, non_blocking=True) * noise, levels[0])
    for j, level in enumerate(levels[1:]):
        if draws is None:
            raise ValueError("multistep consistency sampling is stochastic: give draws")
        x0 = f(renoised(x0, level, floor, draws(j)), level)
    return x0


def renoised(x0: Tensor, level: Tensor, floor: float, noise: Tensor) -> Tensor:
    """x0 with noise `floor` raised to noise `level`: sqrt(level^2 - floor^2) is added."""
    return x0 + (level**2 - floor**2).sqrt().to(x0, non_blocking=True) * noise.to(x0, non_blocking=True)


def at_positions(path: Path, positions: Tensor) -> Tensor:
    """The levels at positions of the rho = 7 curve: sigma_max at 0, sigma_min at 1."""
    return karras(positions, path.t_max, path.t_min)


def spread_levels(path: Path, nfe: int, last: float) -> Tensor:
    """nfe levels evenly spread on the rho = 7 curve, from sigma_max to the position `last`."""
    return at_positions(path, torch.linspace(0.0, last, nfe, dtype=torch.float64))


def levels_within(levels: Sequence[float], path: Path) -> None:
    """ValueError unless falling noise levels lie between the path's own, sigma_min and sigma_max."""
    lowest, highest = path.t_min, path.t_max
    if not lowest <= levels[-1] <= levels[0] <= highest * (1 + 1e-6):
        raise ValueError(f"levels from {levels[0]:g} to {levels[-1]:g}; the student knows {highest:g} to {lowest:g}")


@torch.no_grad()
def search_next(
    f: Function,
    quality: Quality,
    path: Path,
    positions: Tensor,
    noise: Tensor,
    draws: Draws,
    floor: float,
    rounds: int = 5,
) -> float:
    """The position of one more level after those at `positions`, by ternary search (song2023consistency, section 3).

    quality(x0) is what to make small, such as a Frechet distance; it must not see the noises that a result is
    later scored on. It is taken to have one valley between the last level and sigma_min: a round looks at two
    levels and drops a third of the interval. The best level looked at is returned.
    Costs len(positions) + 2 rounds evaluations per noise, booked as "selection".
    """
    low, high, tried = float(positions[-1]), 1.0, {}
    with spent_on("selection"):
        x0 = consistency_sampling(f, noise, at_positions(path, positions), floor, draws)
        again = draws(len(positions) - 1)
        for _ in range(rounds):
            third = (high - low) / 3
            one, other = low + third, high - third
            for u in (one, other):
                level = at_positions(path, torch.tensor(u, dtype=torch.float64))
                tried[u] = quality(f(renoised(x0, level, floor, again), level))
            low, high = (low, other) if tried[one] <= tried[other] else (one, high)
    return min(tried, key=lambda u: tried[u])


def search_levels(
    f: Function,
    quality: Quality,
    path: Path,
    noise: Tensor,
    draws: Draws,
    nfe: int,
    floor: float,
    rounds: int = 5,
) -> Tensor:
    """The positions of nfe levels, found greedily: one at a time, those before it kept. Arguments as for search_next.

    Costs sum_j (j + 2 rounds) evaluations per noise over the levels j = 1, ..., nfe - 1 that are sought.
    """
    positions = torch.zeros(1, dtype=torch.float64)
    while len(positions) < nfe:
        found = search_next(f, quality, path, positions, noise, draws, floor, rounds)
        positions = torch.cat([positions, positions.new_tensor([found])])
    return positions


@torch.no_grad()
def probe(f: Function, quality: Quality, path: Path, noise: Tensor) -> None:
    """Evaluate what one look of a search evaluates, to learn what that costs."""
    with spent_on("selection"):
        quality(f(path.t_max * noise, at_positions(path, torch.zeros((), dtype=torch.float64))))


class LevelSearch(OnHost):
    """The search for a student's sampling levels at the end of its training, and what it found.

    What it will cost is measured: the first step also makes one probe, so the first two steps tell how large a
    share of the budget a probe takes, and training stops where just enough is left. `nfe` is the largest number
    of evaluations for which levels are sought, `rounds` how many rounds find one; `function` is searched.
    """

    positions: Tensor
    spent: Tensor
    on_host = ("positions", "spent")

    def __init__(self, function: nn.Module, nfe: int, rounds: int) -> None:
        super().__init__()
        self.function, self.nfe, self.rounds = function, nfe, rounds
        self.register_buffer("positions", torch.full((nfe,), torch.nan, dtype=torch.float64))
        self.register_buffer("spent", torch.full((2,), torch.nan, dtype=torch.float64))

    def note(self, step: int, spent: float) -> None:
        """Remember the share spent before steps 1 and 2. ValueError where the search takes most of the budget."""
        if step in (1, 2):
            self.spent[step - 1] = spent
        if step == 2 and self.reserve() > 0.5:
            share = f"{100 * self.reserve():.0f} % of the budget"
            raise ValueError(f"searching the levels takes {share}: lower search_samples, search_rounds, searched_nfe")

    def reserve(self) -> float:
        """The share of the budget that the search takes, at most; 0 while it is not known."""
        if self.spent.isnan().any():
            return 0.0
        first, second = self.spent.tolist()
        probe = first - (second - first)
        probes = sum(level + 2 * self.rounds for level in range(1, self.nfe))
        return probes * probe

    def is_due(self, step: int, spent: float) -> bool:
        """Whether one more step of training would leave less than the search and a step take."""
        first, second = self.spent.tolist()
        return step > 2 and spent + 2 * (second - first) + self.reserve() > 1

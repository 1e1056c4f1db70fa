"""Dormand-Prince 5(4) (dormand1980family) with an error control for each sample: the truth behind rmse.

On y = x/alpha and s = log(sigma/alpha) the probability-flow ODE (song2021score, arXiv:2011.13456) is dy/ds = y - D,
which is smooth.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..computing import exactly
from ..denoiser import Condition, Denoiser
from ..errors import IntegrationError
from ..paths import expand
from ..specs.rk45 import adaptive
from .base import decreasing

A = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
C = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
E = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
DENSE = (
    (1.0, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432),
    (0.0, 0.0, 0.0, 0.0),
    (0.0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799),
    (0.0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072),
    (0.0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632),
    (0.0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844),
    (0.0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423),
)
"""Shampine's quartic: y(s + theta h) = y(s) + h sum_j k_j sum_p DENSE[j][p] theta^(p+1)."""

SOLVED_LEVELS = (1e-4, 1e4)
"""Beyond these noise levels (a flow runs from infinity to 0) one DDIM step errs by about 1e-8."""

MAX_STEPS = 10_000
"""Steps of one row, rejected ones among them; at a tolerance of 1e-9 a trained network takes some hundreds."""

Slope = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(y (b, ...), s (b,), rows (b,)) -> dy/ds, for the rows of the batch that are still under way."""


OnStep = Callable[[Tensor, Tensor, Tensor, Tensor, list[Tensor]], None]
"""(rows (b,), s (b,), signed step (b,), y (b, ...), stages k): told of every accepted step."""


class DenseOutput:
    """The solution at `nodes` (K,), filled in as the steps pass them; `states` is (K, B, ...)."""

    def __init__(self, nodes: Tensor, like: Tensor) -> None:
        self.nodes = nodes
        self.states = like.new_full((len(nodes), *like.shape), torch.nan)

    def __call__(self, rows: Tensor, s: Tensor, h: Tensor, y: Tensor, k: list[Tensor]) -> None:
        theta = (self.nodes[:, None] - s) / h
        inside = (theta >= -1e-12) & (theta <= 1 + 1e-12)
        weights = torch.tensor(DENSE, dtype=y.dtype, device=y.device)
        for node in inside.any(1).nonzero().flatten().tolist():
            at = inside[node]
            powers = torch.stack([theta[node, at] ** (p + 1) for p in range(4)])
            terms = [expand(share, y) * k_j[at] for share, k_j in zip(weights @ powers, k, strict=True)]
            increment = torch.stack(terms).sum(0)
            self.states[node, rows[at]] = y[at] + expand(h[at], y) * increment


def ignore_step(rows: Tensor, s: Tensor, h: Tensor, y: Tensor, k: list[Tensor]) -> None:
    pass


def dormand_prince(
    slope: Slope,
    y: Tensor,
    start: float,
    end: float,
    tolerance: float,
    on_step: OnStep = ignore_step,
    max_steps: int = MAX_STEPS,
) -> Tensor:
    """Integrate dy/ds from `start` to `end` with rtol = atol = tolerance, each row with its own steps.

    y: (B, ...) float64. A row's result does not depend on the other rows. The last step lands on `end`.
    `on_step` is told of every accepted step, see DenseOutput.
    Raises IntegrationError, with the noise level exp(s) of the first such row, if a row's step size underflows, its
    error is no longer finite, or `max_steps` do not suffice, rejected steps included.
    """
    y = y.clone()
    span, sign = abs(end - start), math.copysign(1.0, end - start)
    done = torch.zeros(len(y), dtype=torch.float64, device=y.device)
    step = torch.full_like(done, span / 20)
    rows = torch.arange(len(y), device=y.device)
    k1 = slope(y, start + 0 * done, rows)
    taken = 0  # By every row that is still under way: all of them step at once.
    while len(rows):
        h = torch.minimum(step[rows], span - done[rows])
        at = start + sign * done[rows]
        if taken == max_steps:
            raise _stalled(at, f"{max_steps} steps do not suffice")
        taken += 1
        k = [k1]
        for a, c in zip(A, C, strict=True):
            increment = sum((weight * k_j for weight, k_j in zip(a, k, strict=True)), torch.zeros_like(k1))
            y_stage = y[rows] + expand(sign * h, k1) * increment
            k.append(slope(y_stage, at + sign * c * h, rows))
        error = expand(h, k1) * sum((e * k_j for e, k_j in zip(E, k, strict=True)), torch.zeros_like(k1))
        scale = tolerance * (1 + torch.maximum(y[rows].abs(), y_stage.abs()))
        ratio = (error / scale).flatten(1).square().mean(1).sqrt()
        if (bad := ~ratio.isfinite()).any():
            raise _stalled(at[bad], "the denoiser's values blow up")
        if (bad := h < 1e-10 * span).any():
            raise _stalled(at[bad], "the denoiser changes too fast for any step size")
        accepted = ratio <= 1
        # Indexing by a mask reads it each time.
        taking = accepted.nonzero().flatten()
        on_step(rows[taking], at[taking], sign * h[taking], y[rows[taking]], [k_j[taking] for k_j in k])
        step[rows] = h * (0.9 * ratio.clamp(min=1e-10) ** -0.2).clamp(0.2, 10.0)
        y[rows[taking]] = y_stage[taking]
        done[rows[taking]] += h[taking]
        k1 = torch.where(expand(accepted.double(), k1) > 0, k[-1], k1)
        active = (done[rows] < span * (1 - 1e-12)).nonzero().flatten()
        rows, k1 = rows[active], k1[active]
    return y


def _stalled(s: Tensor, reason: str) -> IntegrationError:
    """The error of rows that are at log noise levels `s` (b,)."""
    message = "the probability-flow ODE could not be integrated at noise level"
    return IntegrationError(f"{message} {float(s[0].exp()):.3g} (sigma/alpha): {reason}")


@dataclass(frozen=True)
class AdaptiveSolver:
    """The adaptive solver under the names that fixed-step solvers use; its NFE is measured, not asked for."""

    tolerance: float = 1e-5
    name: str = "rk45"

    @torch.no_grad()
    @exactly()
    def sample(
        self,
        denoiser: Denoiser,
        noise: Tensor,
        nfe: int | None = None,
        times: Tensor | Sequence[float] | None = None,
        condition: Condition = None,
        draws: Callable[[int], Tensor] | None = None,
    ) -> Tensor:
        """x0 (B, ...) from unit noise; `times` may give the ends on the denoiser's path.

        Without `times` the ODE is solved from path.t_max to path.t_min, and one DDIM step to clean data
        returns D there. Raises UnreachableNFE if `nfe` is given.
        """
        if nfe is not None:
            adaptive(nfe)
        path = denoiser.path
        ends = decreasing([path.t_max, path.t_min] if times is None else times, path)
        first, last = ends[0], path.time_at(0.0) if times is None else ends[-1]
        levels = path.noise_level(ends[[0, -1]]).clamp(*SOLVED_LEVELS)
        start, end = path.time_at(levels)
        x = expand(path.sigma(first), noise.double()) * noise.double()
        if path.noise_level(first) > levels[0]:
            x = path.ddim_step(x, denoiser(x, first, condition), first, start)

        def slope(y: Tensor, s: Tensor, rows: Tensor) -> Tensor:
            at = path.time_at(s.exp())
            part = condition[rows] if isinstance(condition, Tensor) else condition
            return y - denoiser(expand(path.alpha(at), y) * y, at, part)

        low, high = float(levels[1].log()), float(levels[0].log())
        y = dormand_prince(slope, x / expand(path.alpha(start), x), high, low, self.tolerance)
        x = expand(path.alpha(end), y) * y
        if path.noise_level(last) < levels[1]:
            x = path.ddim_step(x, denoiser(x, end, condition), end, last)
        return x.to(noise.dtype)

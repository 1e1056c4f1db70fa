"""Flow time, and true paths in it (shaul2024bespoke, arXiv:2310.19075, algorithm 2): the target of Bespoke solvers."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..computing import exactly
from ..denoiser import Condition, Denoiser
from ..on_host import OnHost
from ..paths import Path, expand
from ..randomness import noise
from ..solvers.rk45 import SOLVED_LEVELS, DenseOutput, dormand_prince
from ..uses import spent_on

FIRST_LOT = 8
"""True paths that are solved first; what they cost tells how many the second lot can be."""


@dataclass(frozen=True)
class Flow:
    """A denoiser's ODE in flow time r from 0 (noise) to 1 (data), on a flow path: t = span (1 - r).

    `span` is 1, or the t at which the path reaches the largest noise level that the teacher knows.
    """

    denoiser: Denoiser
    span: float

    @classmethod
    def of(cls, teacher: Denoiser, path: Path) -> "Flow":
        """`teacher` on the flow path, from the largest noise level of the teacher's own path."""
        level = teacher.path.noise_level(torch.tensor(teacher.path.t_max, dtype=torch.float64))
        return cls(teacher.on(path), float(path.time_at(level)))

    def time(self, r: Tensor) -> Tensor:
        return self.span * (1 - r)

    def velocity(self, x: Tensor, r: Tensor, condition: Condition = None) -> Tensor:
        """dx/dr for x (B, ...) at a scalar r < 1."""
        t = self.time(r)
        return -self.span * self.denoiser.path.velocity(x, self.denoiser(x, t, condition), t)

    def start(self, noise: Tensor) -> Tensor:
        """x at r = 0 from unit noise (B, ...)."""
        return expand(self.denoiser.path.sigma(self.span), noise) * noise


class GroundTruth(OnHost):
    """`count` true paths at `nodes` evenly spaced flow times, of which the first `solved` are filled in.

    They are buffers, so that checkpoints hold them. Between the nodes a path is its cubic Hermite interpolant.
    `labels` (count,) are the paths' conditions, None for an unconditional teacher.
    """

    states: Tensor
    slopes: Tensor
    solved: Tensor
    labels: Tensor | None
    on_host = ("solved",)

    def __init__(self, count: int, nodes: int, shape: tuple[int, ...], labels: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("labels", labels)
        self.register_buffer("solved", torch.tensor(0))
        self.register_buffer("states", torch.full((nodes, count, *shape), torch.nan))
        self.register_buffer("slopes", torch.full((nodes, count, *shape), torch.nan))

    def next_lot(self, share: float, spent: float) -> int:
        """How many paths to solve before the next step: FIRST_LOT, then as many as `share` of the budget buys at the
        price so far, if these are at least as many again. Paths are the cheaper the more are solved together.

        spent: the share of the budget that is used.
        """
        solved, wanted = int(self.solved), self.states.shape[1]
        if not solved:
            return min(FIRST_LOT, wanted)
        affordable = min(wanted, int(solved * share / max(spent, 1e-9)))
        return affordable - solved if affordable >= min(2 * solved, wanted) else 0

    def step_kind(self, lot: int) -> str:
        """What a step that begins with solving the next `lot` paths is called: "" for none. Each lot is a kind of its
        own: what its paths cost depends on where the solver's steps get small.
        """
        first = int(self.solved) + 1
        return f"true paths {first} to {first + lot - 1}, " if lot else ""

    def solve_next(self, flow: Flow, seed: int, lot: int, tolerance: float) -> None:
        """Fill in the next `lot` paths, whose noises are a function of the seed and their numbers."""
        first = int(self.solved)
        start = noise(seed, "trajectory", range(first, first + lot), self.states.shape[2:])
        with spent_on("ground truth"):
            self.solve(flow, start.to(self.states, non_blocking=True), tolerance)

    @torch.no_grad()
    @exactly()
    def solve(self, flow: Flow, noise: Tensor, tolerance: float) -> None:
        """Fill in the next paths, which start from unit `noise` (b, ...): adaptive RK45 with dense output.

        The slopes come from one evaluation per node; that of r = 1, where there is none, just before it.
        """
        path, first = flow.denoiser.path, int(self.solved)
        mine = slice(first, first + len(noise))
        labels = None if self.labels is None else self.labels[mine]
        r = torch.linspace(0.0, 1.0, len(self.states), dtype=torch.float64, device=noise.device)
        levels = path.noise_level(flow.time(r[[0, -1]])).clamp(*SOLVED_LEVELS)
        top, bottom = path.time_at(levels)
        x = flow.start(noise.double())
        if path.noise_level(flow.time(r[0])) > levels[0]:
            x = path.ddim_step(x, flow.denoiser(x, flow.span, labels), flow.span, top)

        def slope(y: Tensor, s: Tensor, rows: Tensor) -> Tensor:
            at = path.time_at(s.exp())
            return y - flow.denoiser(expand(path.alpha(at), y) * y, at, None if labels is None else labels[rows])

        y = x / expand(path.alpha(top), x)
        dense = DenseOutput(-path.half_log_snr(flow.time(r[1:-1])), y)
        y = dormand_prince(slope, y, float(levels[0].log()), float(levels[1].log()), tolerance, dense)
        x = expand(path.alpha(bottom), y) * y
        states, slopes = self.states[:, mine], self.slopes[:, mine]
        states[0] = flow.start(noise)
        states[-1] = path.ddim_step(x, flow.denoiser(x, bottom, labels), bottom, path.time_at(0.0))
        for i in range(1, len(r) - 1):
            states[i] = expand(path.alpha(flow.time(r[i])), y) * dense.states[i - 1]
        for i in range(len(r) - 1):
            slopes[i] = flow.velocity(states[i], r[i], labels)
        slopes[-1] = flow.velocity(x, 1 - bottom / flow.span, labels)
        self.solved += len(noise)

    def labels_of(self, rows: Tensor) -> Tensor | None:
        """The conditions (b,) of paths `rows` (b,)."""
        return None if self.labels is None else self.labels[rows]

    def at(self, times: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(states, slopes dx/dr) of paths `rows` (b,) at flow `times` (n,): each (n, b, ...)."""
        last = len(self.states) - 1
        position = times.detach().clamp(0, 1) * last
        left = position.floor().clamp(max=last - 1).long()
        theta = (position - left).reshape(-1, *[1] * (self.states.ndim - 1)).to(self.states)
        # Both at once: the nodes alone would be those of every path.
        before, after = (left[:, None], rows), (left[:, None] + 1, rows)
        x0, x1 = self.states[before], self.states[after]
        d0, d1 = self.slopes[before] / last, self.slopes[after] / last
        a, b = 2 * (x0 - x1) + d0 + d1, 3 * (x1 - x0) - 2 * d0 - d1
        return ((a * theta + b) * theta + d0) * theta + x0, ((3 * a * theta + 2 * b) * theta + d0) * last

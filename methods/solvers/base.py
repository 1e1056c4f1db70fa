"""What every training-free solver shares: nodes, the run over them, the start from noise, the exact NFE."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..denoiser import Condition, Denoiser, metered
from ..nfe import Rule, Steps, check_orders, singlestep_steps, steps_for, whole
from ..paths import PATHS, Path, Scalar, VPLinear, axpby, expand, plus
from ..randomness import draws_from
from ..specs.solver import Grid, SolverOptions
from . import grids

THRESHOLD_QUANTILE = 0.995


class Node(NamedTuple):
    """A time of the grid with what a solver needs there: floats, so that a step costs no small tensors and waits for
    no device.
    """

    time: Tensor
    number: Scalar
    """The time as a float."""
    alpha: Scalar
    sigma: Scalar
    dalpha: Scalar
    dsigma: Scalar
    level: Scalar
    half_log_snr: Scalar
    clean: bool
    """sigma = 0: a step ends there on D itself, and eps has no value."""
    signal: bool
    """alpha > 0; without it (a flow's t = 1) level is infinite and x/alpha has no value."""


def nodes(path: Path, times: Tensor, x: Tensor) -> list[Node]:
    """The nodes of times (K,), or (K, B) where each of x's samples has its own. On the CPU they are read
    without a wait.
    """
    clean = (path.sigma(times) == 0).reshape(len(times), -1).all(1).tolist()
    signal = (path.alpha(times) > 0).reshape(len(times), -1).all(1).tolist()
    here = times.to(x.device, non_blocking=True)
    times = times if times.ndim == 1 else here
    alpha, sigma = path.alpha(times), path.sigma(times)
    level, half_log_snr = sigma / alpha, torch.log(alpha) - torch.log(sigma)
    coefficients = (times, alpha, sigma, path.dalpha(times), path.dsigma(times), level, half_log_snr)
    columns = [_scalars(coefficient, x) for coefficient in coefficients]
    return [Node(*fields) for fields in zip(here, *columns, clean, signal, strict=True)]


def _scalars(coefficient: Tensor, x: Tensor) -> list[Scalar]:
    return coefficient.tolist() if coefficient.ndim == 1 else [expand(row, x) for row in coefficient]


def eps_of(x: Tensor, x0: Tensor, t: Node) -> Tensor:
    """eps = (x - alpha D)/sigma."""
    return plus(x, -t.alpha, x0).div_(t.sigma)


def x0_of(x: Tensor, eps: Tensor, t: Node) -> Tensor:
    """D = (x - sigma eps)/alpha."""
    return plus(x, -t.sigma, eps).div_(t.alpha)


def ddim(x: Tensor, x0: Tensor, t: Node, s: Node) -> Tensor:
    """x_s = alpha_s D + sigma_s eps: the exact step if D, or eps, is constant. Holds at alpha_t = 0."""
    ratio = s.sigma / t.sigma
    return axpby(ratio, x, s.alpha - ratio * t.alpha, x0)


def transfer(x: Tensor, eps: Tensor, t: Node, s: Node) -> Tensor:
    """The DDIM step for a given eps: x_s = alpha_s (x - sigma_t eps)/alpha_t + sigma_s eps."""
    ratio = s.alpha / t.alpha
    return axpby(ratio, x, s.sigma - ratio * t.sigma, eps)


@dataclass
class Run:
    """One sampling run, as a solver's file sees it.

    nodes: the grid, noisiest first; per_step: evaluations of each step where `nfe` was asked for;
    draws(j): the j-th unit noise of a stochastic solver; network_eps: (x, t) -> eps of a network that predicts it;
    direct_eps: the same, or of a denoiser that says eps as easily as D; network_moments: (x, t) -> (D, share), see
    Denoiser.moments.
    """

    denoise: Callable[[Tensor, Tensor], Tensor]
    path: Path
    nodes: list[Node]
    options: Any = field(default_factory=SolverOptions)
    order: int = 1
    per_step: Steps = ()
    draws: Callable[[int], Tensor] | None = None
    network_eps: Callable[[Tensor, Tensor], Tensor] | None = None
    network_moments: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    direct_eps: Callable[[Tensor, Tensor], Tensor] | None = None
    _started: bool = False

    @classmethod
    def over(cls, denoiser: Denoiser, times: Tensor, x: Tensor, options: Any) -> "Run":
        """A run over `times` outside of Solver.sample: a distillation's teacher step."""
        return cls(denoiser, denoiser.path, nodes(denoiser.path, times, x), options)

    def x0(self, x: Tensor, t: Node) -> Tensor:
        """D(x, t), evaluated; analytic in the first step if options.afs (dockhorn2022genie, section unchecked)."""
        if self._is_analytic():
            self._started = True
            if not t.signal:
                raise ValueError("afs divides by alpha, which is 0 at the first node: give the grid a noise_max")
            return (x - (t.sigma / (t.alpha**2 + t.sigma**2) ** 0.5) * x) / t.alpha
        if self.network_eps is not None and t.signal:
            x0 = x0_of(x, self.network_eps(x, t.time), t)
        else:
            x0 = self.denoise(x, t.time)
        return x0 if self.options.thresholding is None else _thresholded(x0, self.options.thresholding)

    def eps(self, x: Tensor, t: Node) -> Tensor:
        """The denoiser's own where that says eps and D is not changed; else from x0, as is its cost."""
        if self.direct_eps is None or self.options.thresholding is not None or self._is_analytic():
            return eps_of(x, self.x0(x, t), t)
        return self.direct_eps(x, t.time)

    def moments(self, x: Tensor, t: Node) -> tuple[Tensor, Tensor]:
        """(D, share) at (x, t), evaluated. ValueError where the network says no variance."""
        assert self.network_moments is not None
        x0, share = self.network_moments(x, t.time)
        return (x0 if self.options.thresholding is None else _thresholded(x0, self.options.thresholding)), share

    def _is_analytic(self) -> bool:
        return bool(self.options.afs) and not self._started

    def noise(self, j: int, x: Tensor) -> Tensor:
        """The j-th unit noise, like x."""
        assert self.draws is not None
        return self.draws(j).to(x, non_blocking=True)

    def needs_signal(self, why: str) -> None:
        """ValueError if the grid starts at alpha = 0."""
        if not self.nodes[0].signal:
            raise ValueError(f"{why} at times[0], where alpha is 0: give the grid a noise_max")


def _thresholded(x0: Tensor, least: float) -> Tensor:
    """Dynamic thresholding (saharia2022photorealistic, section 2.3): D clamped to its quantile and divided by it."""
    # torch has no quantile in half precision.
    magnitude = x0.abs().flatten(1).to(torch.promote_types(x0.dtype, torch.float32))
    size = torch.quantile(magnitude, THRESHOLD_QUANTILE, dim=1).clamp(min=least).to(x0.dtype)
    size = size.reshape(-1, *[1] * (x0.ndim - 1))
    return x0.clamp(-size, size) / size


def decreasing(times: Any, path: Path) -> Tensor:
    """`times` as a float64 tensor; ValueError unless they are two or more finite numbers that decrease, at most to
    where the path has clean data.
    """
    try:
        found = torch.as_tensor(times, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"times must be numbers, such as a tensor (K + 1,), not {type(times).__name__}") from None
    if found.ndim != 1 or len(found) < 2:
        raise ValueError(f"times must be K + 1 numbers for K >= 1 steps, not of shape {tuple(found.shape)}")
    if not bool(found.isfinite().all()) or bool((found.diff() >= 0).any()):
        raise ValueError("times must be finite, each less than the one before")
    # VPCosine has clean data a little before 0.
    clean = float(path.time_at(found.new_zeros(())))
    if float(found[-1]) < min(clean, 0.0):
        raise ValueError(f"times must be at least {clean:g}, where data are clean, not {float(found[-1]):g}")
    return found


def fitted(own: Path, grid: Grid) -> VPLinear:
    """VP-linear with the grid's noise levels at its ends, by default those of the path `own`.

    Raises ValueError unless they are finite and fall.
    """
    highest = float(own.noise_level(own.t_max)) if grid.noise_max is None else grid.noise_max
    lowest = float(own.noise_level(own.t_min)) if grid.noise_min is None else grid.noise_min
    if not 0 < lowest < highest < math.inf:
        levels = f"finite noise levels 0 < min < max, not {lowest:g} and {highest:g}"
        raise ValueError(f"vp-linear-fitted needs {levels}: give the grid noise_min and noise_max")
    return VPLinear.between(lowest, highest)


Solve = Callable[[Run, Tensor], Tensor]
"""(run, x at the first node) -> x at the last: what a solver's file defines."""


@dataclass(frozen=True)
class Solver:
    """A solver with its options. `rule` says how many evaluations each step takes; see methods/nfe.py.

    stays: a step from a time to the same leaves x as it is.
    """

    name: str
    solve: Solve
    rule: Rule
    options: Any
    order: int = 1
    inner_nodes: bool = False
    stays: bool = False
    _last: list[Any] = field(default_factory=list, init=False, repr=False, compare=False)

    def steps(self, nfe: int) -> int:
        """How many steps `nfe` evaluations buy on a grid with the options' end; UnreachableNFE if none do."""
        return len(steps_for(nfe, self.rule, self.order, self.options, self.options.grid.end != "min"))

    @torch.no_grad()
    def sample(
        self,
        denoiser: Denoiser,
        noise: Tensor,
        nfe: int | None = None,
        times: Tensor | Sequence[float] | None = None,
        condition: Condition = None,
        draws: Callable[[int], Tensor] | None = None,
    ) -> Tensor:
        """x0 (B, ...) from unit Gaussian noise (B, ...), which is scaled by sigma(times[0]) inside.

        Give `nfe` (evaluations per sample, met exactly) or `times` (K + 1 decreasing times on the
        denoiser's path). A stochastic solver takes its j-th unit noise from draws(j), by default from a
        generator that each row of `noise` seeds. Raises UnreachableNFE where the solver cannot spend
        exactly `nfe`, ValueError for neither or both and for what is no NFE or no grid, RuntimeError if the
        evaluations counted differ.
        """
        if (nfe is None) == (times is None):
            raise ValueError("give nfe or times, one of the two")
        if nfe is not None:
            nfe = whole(nfe)
        denoiser, grid = self.on_path(denoiser)
        if times is not None:
            times = decreasing(times, denoiser.path)
            check_orders(self.options, len(times) - 1)
        steps, at = self._nodes(denoiser.path, nfe, times, grid, noise)

        def eps(x: Tensor, t: Tensor) -> Tensor:
            return denoiser.eps(x, t, condition)

        run = Run(
            lambda x, t: denoiser(x, t, condition),
            denoiser.path,
            at,
            self.options,
            self.order,
            steps,
            draws or draws_from(noise),
            eps if denoiser.predicts_eps else None,
            lambda x, t: denoiser.moments(x, t, condition),
            eps if denoiser.says_eps else None,
        )
        if self.options.denoise_to_zero and run.nodes[-1].clean:
            raise ValueError("denoise_to_zero on a grid that ends at clean data: let the grid end above it")
        with metered() as meter:
            x = self.solve(run, self._start(run.nodes[0]) * noise)
            if self.options.denoise_to_zero:
                x = run.x0(x, run.nodes[-1])
        if nfe is not None and meter.evaluations != nfe * len(noise):
            raise RuntimeError(f"{self.name} took {meter.evaluations / len(noise):g} evaluations, not {nfe}")
        return x

    def _nodes(
        self, path: Path, nfe: int | None, times: Tensor | None, grid: Grid, x: Tensor
    ) -> tuple[Steps, list[Node]]:
        """The evaluations of each step, and the nodes: the last ones again where a batch asks for the same `nfe`."""
        question = (path, grid, nfe, x.device)
        if times is None and self._last and self._last[0][0] == question:
            return self._last[0][1]
        steps, at = self.schedule(path, nfe, times, grid)
        answer = steps, nodes(path, at.double(), x)
        if times is None:
            self._last[:] = [(question, answer)]
        return answer

    def _start(self, first: Node) -> Scalar:
        """The size of the noise at the first node."""
        return first.sigma if self.options.start == "scaled" else (first.alpha**2 + first.sigma**2) ** 0.5

    def on_path(self, denoiser: Denoiser) -> tuple[Denoiser, Grid]:
        """The denoiser on options.path, and the grid from where the teacher's own path starts.

        A grid of labels is on the path that the teacher was trained on.
        """
        grid: Grid = self.options.grid
        if self.options.path == "trained":
            return denoiser.on(denoiser.trained_path or denoiser.path), grid
        if self.options.path is None:
            return grids.on_its_path(grid, denoiser), grid
        if self.options.path == "vp-linear-fitted":
            # Its ends are the grid's: at exactly t_max and t_min, not as the way back from a level leaves them.
            ends = {"noise_min": None, "noise_max": None}
            return denoiser.on(fitted(denoiser.path, grid)), grid.model_copy(update=ends)
        level = float(denoiser.path.noise_level(denoiser.path.t_max))
        if grid.noise_max is None and math.isfinite(level):
            grid = grid.model_copy(update={"noise_max": level})
        return denoiser.on(PATHS[self.options.path]), grid

    def schedule(
        self, path: Path, nfe: int | None = None, times: Tensor | None = None, grid: Grid | None = None
    ) -> tuple[Steps, Tensor]:
        """(evaluations of each step, times), with the nodes inside the steps for solvers that have such.

        One of `nfe` and `times`, as for sample; `grid` is the options' where not given.
        """
        grid = grid or self.options.grid
        if times is not None:
            if not self.inner_nodes:
                return (), times
            clean = bool(path.sigma(times[-1]) == 0)
            steps = singlestep_steps(len(times) - 1, self.order, self.options, clean)
            return steps, grids.with_inner(path, times.double(), steps)
        assert nfe is not None
        clean = grid.end != "min" or bool(path.sigma(path.t_min) == 0)
        steps = steps_for(nfe, self.rule, self.order, self.options, clean)
        if self.inner_nodes:
            return steps, grids.refined(grid, path, steps)
        return steps, grids.times(grid, path, len(steps), again=self.stays)

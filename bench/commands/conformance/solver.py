"""Properties of training-free solvers, beside those of everything that samples."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ....methods.denoiser import Denoiser, from_function
from ....methods.paths import EDM
from ....methods.randomness import noise
from ....methods.teachers.analytic import GaussianDenoiser
from . import sampling, setup
from .properties import NotApplicable, require
from .sampling import Row

PATH = EDM(0.002, 80.0)
MEAN, VARIANCE = torch.tensor([0.5, -0.25]).double(), torch.tensor([0.25, 0.04]).double()
COARSE, FINE = 10, 40
ADAPTIVE_ERROR = 1e-3


def start() -> Tensor:
    """Unit noise (64, 2) in float64."""
    return noise(0, "conformance", range(64), (2,)).double()


def exact(unit_noise: Tensor) -> Tensor:
    """The end of the Gaussian's probability-flow ODE: x0 = m + (x_T - m) sqrt(v/(v + sigma_T^2))."""
    x = PATH.t_max * unit_noise
    return MEAN + (x - MEAN) * (VARIANCE / (VARIANCE + PATH.t_max**2)).sqrt()


def converges(row: Row) -> None:
    """On the exact denoiser of a Gaussian the error at 40 evaluations is below that at 10, or already rounding."""
    solver, start_noise = setup.solver(row.spec, row.spec.options()), start()
    gaussian = GaussianDenoiser(MEAN, VARIANCE, PATH)

    def error(**length: Any) -> float:
        return float((solver.sample(gaussian, start_noise, **length) - exact(start_noise)).square().mean().sqrt())

    if not row.claimed(row.spec.options()):
        found = error()
        require(found < ADAPTIVE_ERROR, f"the error on a Gaussian is {found:.2g}, not below {ADAPTIVE_ERROR}")
        return
    if _is_stochastic(solver, gaussian, row.first_nfe(COARSE)):
        raise NotApplicable("it draws noise in its steps, so that no single solution is right")
    coarse, fine = (_reachable(row, nfe) for nfe in (COARSE, FINE))
    errors = error(nfe=coarse), error(nfe=fine)
    message = f"the error on a Gaussian is {errors[0]:.2g} at NFE {coarse} and {errors[1]:.2g} at {fine}"
    require(errors[1] < max(errors[0], 1e-9), f"{message}: a solver's error falls as its steps get shorter")


def _reachable(row: Row, wanted: int) -> int:
    options = row.spec.options()
    return next(nfe for nfe in range(wanted, wanted + 24) if row.spec.refusal(nfe, options) is None)


def _is_stochastic(solver: Any, denoiser: Denoiser, nfe: int) -> bool:
    start_noise = start()
    one, other = (
        solver.sample(denoiser, start_noise, nfe=nfe, draws=lambda j, s=seed: noise(s, f"{j}", range(64), (2,)))
        for seed in (0, 1)
    )
    return not torch.equal(one, other)


def times_are_followed(row: Row) -> None:
    """With `times`, it evaluates at each of them but the last, between them where it has inner nodes, never outside."""
    solver = setup.solver(row.spec, row.spec.options())
    if not row.claimed(row.spec.options()):
        raise NotApplicable("it chooses its own times")
    times = torch.linspace(1, 0, 16).double() ** 3 * 10 + 0.05
    seen: list[float] = []
    solver.sample(_recorder(seen), start(), times=times)
    require(bool(seen), "with times=, the denoiser is never asked")
    outside = [t for t in seen if not 0.9999 * float(times[-1]) <= t <= 1.0001 * float(times[0])]
    require(not outside, f"with times from {float(times[0]):.4g} to {float(times[-1]):.4g}, D is asked at {outside}")
    unused = [float(t) for t in times[:-1] if min(abs(float(t) - s) for s in seen) > 1e-4 * float(t)]
    require(not unused, f"of times=, {len(unused)} are never evaluated at, {unused[0] if unused else 0:.4g} first")


def _recorder(seen: list[float]) -> Denoiser:
    """The Gaussian's denoiser, which notes the times that it is asked at."""
    gaussian = GaussianDenoiser(MEAN, VARIANCE, PATH)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        seen.extend(t.reshape(-1).tolist())
        return gaussian(x, t)

    return from_function(denoise, PATH)


PROPERTIES: dict[str, Callable[[Row], None]] = {
    **sampling.PROPERTIES,
    "it converges on an exact Gaussian": converges,
    "the times that are given are followed": times_are_followed,
}

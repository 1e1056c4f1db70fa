"""DDIM (song2021denoising, arXiv:2010.02502, eq. 12) and DDPM (ho2020denoising, arXiv:2006.11239, algorithm 2).

Both are written for any path, in scale-free ratios of the noise levels rho = sigma/alpha, so that a change of path
leaves them the same chain; on a variance-preserving path they are the papers' formulas.
"""

from itertools import pairwise

from torch import Tensor

from ..paths import axpby, plus
from .base import Node, Run, ddim, eps_of
from .combinations import weighted


def ddim_eta(run: Run, x: Tensor) -> Tensor:
    """DDIM's eq. 12 with sigma of eq. 16: x_s = alpha_s D + sqrt(sigma_s^2 - c^2) eps + c z, c = eta times the
    standard deviation of the posterior. draws(j) belongs to step j.
    """
    for j, (t, s) in enumerate(pairwise(run.nodes)):
        x0 = run.x0(x, t)
        std = run.options.eta * s.sigma * _forgotten(t, s) ** 0.5
        if std == 0:
            x = ddim(x, x0, t, s)
        else:
            eps = eps_of(x, x0, t)
            x = weighted([s.alpha, (s.sigma**2 - std**2) ** 0.5, std], [x0, eps, run.noise(j, x)])
    return x


def ddpm(run: Run, x: Tensor) -> Tensor:
    """DDPM's algorithm 2 on a strided chain: the posterior's mean given the clipped D, and noise of variance
    beta (fixedlarge) or the posterior's (fixedsmall); none in the step to clean data. draws(j) belongs to step j.
    """
    for j, (t, s) in enumerate(pairwise(run.nodes)):
        x0 = run.x0(x, t)
        x0 = x0.clamp(-1, 1) if run.options.clip_x0 else x0
        forgotten = _forgotten(t, s)
        x = axpby((1 - forgotten) * _back(t, s), x, s.alpha * forgotten, x0)
        if not s.clean:
            size = s.sigma**2 if run.options.variance == "fixedsmall" else _beta_over_forgotten(t, s)
            x = plus(x, (size * forgotten) ** 0.5, run.noise(j, x))
    return x


def _forgotten(t: Node, s: Node) -> float:
    """1 - (rho_s/rho_t)^2: the share of x_t's noise that came after s."""
    return float(1 - (s.level / t.level) ** 2)


def _back(t: Node, s: Node) -> float:
    """alpha_s/alpha_t, which multiplies what is left of x_t's deviation; without signal nothing is left."""
    return float(s.alpha / t.alpha) if t.signal else 0.0


def _beta_over_forgotten(t: Node, s: Node) -> float:
    """sigma_t^2 on a variance-preserving path, in units of x_s on others."""
    return float((s.alpha**2 + s.sigma**2) * t.sigma**2 / (t.alpha**2 + t.sigma**2))

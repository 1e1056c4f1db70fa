"""DDIM (song2021denoising, arXiv:2010.02502, eq. 12) and DDPM (ho2020denoising, arXiv:2006.11239, algorithm 2).

Both are written for any path, in scale-free ratios of the noise levels rho = sigma/alpha, so that a change of path
leaves them the same chain; on a variance-preserving path they are the papers' formulas.
"""

import math
from itertools import pairwise

from torch import Tensor

from ..paths import Scalar, axpby, plus
from .base import Node, Run, ddim, eps_of
from .combinations import weighted


def ddim_eta(run: Run, x: Tensor) -> Tensor:
    """DDIM's eq. 12 with sigma of eq. 16: x_s = alpha_s D + sqrt(sigma_s^2 - c^2) eps + c z, c = eta times the
    standard deviation of the posterior. With eta "sigma-hat", c is that of eta 1 and z has the standard deviation
    of DDPM's beta instead (appendix D.3), but for the step to clean data, where nothing is added. draws(j) belongs
    to step j.
    """
    larger = run.options.eta == "sigma-hat"
    eta = 1.0 if larger else run.options.eta
    for j, (t, s) in enumerate(pairwise(run.nodes)):
        x0 = run.x0(x, t)
        std = eta * s.sigma * _forgotten(t, s) ** 0.5
        if std == 0:
            x = ddim(x, x0, t, s)
        else:
            eps = eps_of(x, x0, t)
            added = (_beta_over_forgotten(t, s) * _forgotten(t, s)) ** 0.5 if larger else std
            x = weighted([s.alpha, (s.sigma**2 - std**2) ** 0.5, added], [x0, eps, run.noise(j, x)])
    return x


def ddpm(run: Run, x: Tensor) -> Tensor:
    """DDPM's algorithm 2 on a strided chain: the posterior's mean given the clipped D, and noise of variance
    beta (fixedlarge), the posterior's (fixedsmall) or one between them (learned, nichol2021improved,
    arXiv:2102.09672, eq. 15); none in the step to clean data. draws(j) belongs to step j.
    """
    o = run.options
    for j, (t, s) in enumerate(pairwise(run.nodes)):
        x0, share = run.moments(x, t) if o.variance == "learned" else (run.x0(x, t), FIXED[o.variance])
        x0 = x0.clamp(-1, 1) if o.clip_x0 else x0
        forgotten = _forgotten(t, s)
        x = axpby((1 - forgotten) * _back(t, s), x, s.alpha * forgotten, x0)
        if not s.clean:
            x = plus(x, _std(t, s, share), run.noise(j, x))
    return x


FIXED = {"fixedsmall": 0, "fixedlarge": 1}


def _std(t: Node, s: Node, share: Scalar) -> Scalar:
    """The standard deviation of a step's noise, whose log is `share` of the way from the posterior's to beta's."""
    forgotten, small, large = _forgotten(t, s), s.sigma**2, _beta_over_forgotten(t, s)
    if isinstance(share, Tensor):
        return (forgotten * small) ** 0.5 * (share * (math.log(large / small) / 2)).exp()
    return ((large if share else small) * forgotten) ** 0.5


def _forgotten(t: Node, s: Node) -> float:
    """1 - (rho_s/rho_t)^2: the share of x_t's noise that came after s."""
    return float(1 - (s.level / t.level) ** 2)


def _back(t: Node, s: Node) -> float:
    """alpha_s/alpha_t, which multiplies what is left of x_t's deviation; without signal nothing is left."""
    return float(s.alpha / t.alpha) if t.signal else 0.0


def _beta_over_forgotten(t: Node, s: Node) -> float:
    """sigma_t^2 on a variance-preserving path, in units of x_s on others."""
    return float((s.alpha**2 + s.sigma**2) * t.sigma**2 / (t.alpha**2 + t.sigma**2))

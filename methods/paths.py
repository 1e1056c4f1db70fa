"""Gaussian paths x_t = alpha(t) x0 + sigma(t) eps, and every conversion between what networks predict.

Time runs from data (t = 0) to noise (t = t_max) on every path; a flow-matching paper's r is 1 - t.
In each docstring: D = E[x0 | x_t], eps = E[eps | x_t], score = grad log p_t(x_t),
v = alpha eps - sigma D, velocity = dx_t/dt along the probability-flow ODE.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

Time = float | Tensor

Scalar = Any
"""A Python float, or a tensor that multiplies x where every sample has a time of its own."""


def as_time(t: Time) -> Tensor:
    """A float becomes a float64 scalar tensor; a tensor is returned as it is."""
    return t if isinstance(t, Tensor) else torch.tensor(t, dtype=torch.float64)


def expand(coefficient: Tensor, x: Tensor) -> Tensor:
    """Shape a coefficient () or (B,) so that it multiplies x (B, ...), in x's dtype and on its device."""
    coefficient = coefficient.to(device=x.device, dtype=x.dtype, non_blocking=True)
    return coefficient if coefficient.ndim == 0 else coefficient.reshape(-1, *[1] * (x.ndim - 1))


def plus(x: Tensor, c: Scalar, y: Tensor) -> Tensor:
    """x + c y, in one pass over the tensors where c is a number."""
    return x + c * y if isinstance(c, Tensor) else torch.add(x, y, alpha=c)


def axpby(a: Scalar, x: Tensor, b: Scalar, y: Tensor) -> Tensor:
    """a x + b y, in one new tensor where b is a number."""
    return a * x + b * y if isinstance(b, Tensor) else (a * x).add_(y, alpha=b)


class Path(ABC):
    """The pair alpha(t), sigma(t) and its derivatives; t is a float or a tensor of any shape."""

    t_min: float
    t_max: float

    @abstractmethod
    def alpha(self, t: Time) -> Tensor: ...

    @abstractmethod
    def sigma(self, t: Time) -> Tensor: ...

    @abstractmethod
    def dalpha(self, t: Time) -> Tensor: ...

    @abstractmethod
    def dsigma(self, t: Time) -> Tensor: ...

    @abstractmethod
    def time_at(self, noise_level: Time) -> Tensor:
        """The t at which sigma/alpha equals `noise_level`; 0 gives the time of clean data."""

    def noise_level(self, t: Time) -> Tensor:
        """sigma/alpha: EDM's sigma, the noise of the rescaled state x/alpha."""
        return self.sigma(t) / self.alpha(t)

    def half_log_snr(self, t: Time) -> Tensor:
        """log(alpha/sigma), the lambda of the DPM-Solver papers."""
        return torch.log(self.alpha(t)) - torch.log(self.sigma(t))

    def dhalf_log_snr(self, t: Time) -> Tensor:
        return self.dalpha(t) / self.alpha(t) - self.dsigma(t) / self.sigma(t)

    def noisy(self, x0: Tensor, eps: Tensor, t: Time) -> Tensor:
        """x_t = alpha x0 + sigma eps; x0, eps: (B, ...), t: () or (B,)."""
        alpha, sigma = self._coefficients(t, x0)
        return alpha * x0 + sigma * eps

    def eps(self, x: Tensor, x0: Tensor, t: Time) -> Tensor:
        """eps = (x - alpha D)/sigma."""
        alpha, sigma = self._coefficients(t, x)
        return (x - alpha * x0) / sigma

    def score(self, x: Tensor, x0: Tensor, t: Time) -> Tensor:
        """score = (alpha D - x)/sigma^2."""
        alpha, sigma = self._coefficients(t, x)
        return (alpha * x0 - x) / sigma**2

    def v(self, x: Tensor, x0: Tensor, t: Time) -> Tensor:
        """v = alpha eps - sigma D."""
        alpha, sigma = self._coefficients(t, x)
        return alpha * self.eps(x, x0, t) - sigma * x0

    def velocity(self, x: Tensor, x0: Tensor, t: Time) -> Tensor:
        """u = alpha' D + sigma' eps."""
        return expand(self.dalpha(as_time(t)), x) * x0 + expand(self.dsigma(as_time(t)), x) * self.eps(x, x0, t)

    def x0_from_eps(self, x: Tensor, eps: Tensor, t: Time) -> Tensor:
        """D = (x - sigma eps)/alpha."""
        alpha, sigma = self._coefficients(t, x)
        return (x - sigma * eps) / alpha

    def x0_from_score(self, x: Tensor, score: Tensor, t: Time) -> Tensor:
        """D = (x + sigma^2 score)/alpha."""
        alpha, sigma = self._coefficients(t, x)
        return (x + sigma**2 * score) / alpha

    def x0_from_v(self, x: Tensor, v: Tensor, t: Time) -> Tensor:
        """D = (alpha x - sigma v)/(alpha^2 + sigma^2); the denominator is 1 on variance-preserving paths."""
        alpha, sigma = self._coefficients(t, x)
        return (alpha * x - sigma * v) / (alpha**2 + sigma**2)

    def x0_from_x0_and_eps(self, x: Tensor, x0_and_eps: Tensor, t: Time) -> Tensor:
        """D = (sigma^2 x0' + alpha (x - sigma eps'))/(alpha^2 + sigma^2), two predictions (B, 2C, ...) in one.

        Each is trusted where it is well conditioned: "both" of Salimans & Ho 2022.
        """
        own, eps = x0_and_eps.chunk(2, dim=1)
        alpha, sigma = self._coefficients(t, x)
        return (sigma**2 * own + alpha * (x - sigma * eps)) / (alpha**2 + sigma**2)

    def x0_from_velocity(self, x: Tensor, velocity: Tensor, t: Time) -> Tensor:
        """D = (sigma' x - sigma u)/(alpha sigma' - alpha' sigma); holds at alpha = 0 too."""
        alpha, sigma = self._coefficients(t, x)
        dalpha, dsigma = expand(self.dalpha(as_time(t)), x), expand(self.dsigma(as_time(t)), x)
        return (dsigma * x - sigma * velocity) / (alpha * dsigma - dalpha * sigma)

    def ddim_step(self, x: Tensor, x0: Tensor, t: Time, s: Time) -> Tensor:
        """x_s = alpha_s D + sigma_s (x_t - alpha_t D)/sigma_t: DDIM, which is Euler on (x/alpha, sigma/alpha)."""
        alpha_s, sigma_s = self._coefficients(s, x)
        return alpha_s * x0 + sigma_s * self.eps(x, x0, t)

    def x0_of_step(self, x: Tensor, x_s: Tensor, t: Time, s: Time) -> Tensor:
        """The x0 for which one DDIM step from x at t lands on x_s at s; at sigma_s = 0 it is x_s/alpha_s.

        D = (sigma_t x_s - sigma_s x_t)/(sigma_t alpha_s - sigma_s alpha_t), the distillation target of
        Salimans & Ho 2022 and of Berthelot et al. 2023.
        """
        t, s = as_time(t), as_time(s)
        sigma_t, sigma_s = self.sigma(t), self.sigma(s)
        # In the times' own precision: for neighbouring times the two products are nearly equal.
        scale = 1 / (sigma_t * self.alpha(s) - sigma_s * self.alpha(t))
        return expand(scale * sigma_t, x) * x_s - expand(scale * sigma_s, x) * x

    def _coefficients(self, t: Time, x: Tensor) -> tuple[Tensor, Tensor]:
        t = as_time(t)
        return expand(self.alpha(t), x), expand(self.sigma(t), x)


@dataclass(frozen=True)
class VPLinear(Path):
    """Variance preserving, beta linear in t (Song et al. 2021): log alpha = -t^2 (b1 - b0)/4 - t b0/2."""

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-3
    t_max: float = 1.0

    @classmethod
    def between(cls, noise_min: float, noise_max: float, t_min: float = 1e-3) -> "VPLinear":
        """The path with sigma/alpha = noise_min at t_min and noise_max at 1 (Karras et al. 2022, appendix C.3)."""
        low, high = math.log1p(noise_min**2), math.log1p(noise_max**2)
        slope = 2 * (low / t_min - high) / (t_min - 1)
        beta_min = high - slope / 2
        return cls(beta_min, beta_min + slope, t_min)

    def _log_alpha(self, t: Time) -> Tensor:
        t = as_time(t)
        return -(t**2) * (self.beta_max - self.beta_min) / 4 - t * self.beta_min / 2

    def alpha(self, t: Time) -> Tensor:
        return torch.exp(self._log_alpha(t))

    def sigma(self, t: Time) -> Tensor:
        return torch.sqrt(-torch.expm1(2 * self._log_alpha(t)))

    def dalpha(self, t: Time) -> Tensor:
        beta = self.beta_min + as_time(t) * (self.beta_max - self.beta_min)
        return -beta / 2 * self.alpha(t)

    def dsigma(self, t: Time) -> Tensor:
        return -self.alpha(t) * self.dalpha(t) / self.sigma(t)

    def time_at(self, noise_level: Time) -> Tensor:
        b0, db = self.beta_min, self.beta_max - self.beta_min
        q = 2 * db * torch.log1p(as_time(noise_level) ** 2)
        t = q / (db * (torch.sqrt(b0**2 + q) + b0))
        # Where b0 is negative, as it is between EDM's levels, q = 0 has a second root, above which 0/0 lies.
        return t if b0 > 0 else torch.where(q == 0, torch.zeros_like(t), t)


def linear_betas(first: float = 1e-4, last: float = 2e-2, labels: int = 1000) -> tuple[float, ...]:
    """DDPM's betas (Ho et al. 2020, section 4)."""
    return tuple(torch.linspace(first, last, labels, dtype=torch.float64).tolist())


@dataclass(frozen=True)
class VPDiscrete(Path):
    """DDPM's chain (Ho et al. 2020) as a path: label n lies at t = (n + 1)/N with alpha^2 = alphabar_n.

    Label -1, at t = 0, is clean data. Between labels log alpha is linear in t (Lu et al. 2022, appendix
    D.2); beyond the last it goes on as before it. A network's label at t is `label(t)`, a real number.
    """

    betas: tuple[float, ...] = linear_betas()
    t_min: float = 1e-3
    t_max: float = 1.0

    @property
    def labels(self) -> int:
        return len(self.betas)

    def label(self, t: Time) -> Tensor:
        return as_time(t) * self.labels - 1

    def time_of_label(self, label: Time) -> Tensor:
        return (as_time(label) + 1) / self.labels

    @cached_property
    def _log_alphas(self) -> Tensor:
        """log alpha at t = 0, 1/N, ..., 1."""
        steps = torch.log1p(-torch.tensor(self.betas, dtype=torch.float64)) / 2
        return torch.cat([torch.zeros(1, dtype=torch.float64), steps.cumsum(0)])

    @cached_property
    def _changes(self) -> Tensor:
        return self._log_alphas.diff()

    @cached_property
    def _tables(self) -> dict[torch.device, tuple[Tensor, Tensor]]:
        return {}

    def _table(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """`_log_alphas` and `_changes` where they are needed, sent there once."""
        if device not in self._tables:
            self._tables[device] = self._log_alphas.to(device), self._changes.to(device)
        return self._tables[device]

    def _piece(self, t: Time) -> tuple[Tensor, Tensor]:
        """(log alpha, d log alpha/dt) at t."""
        label = as_time(t) * self.labels
        i = label.floor().clamp(0, self.labels - 1).long()
        log_alphas, changes = self._table(i.device)
        change = changes.take(i)
        return log_alphas.take(i) + (label - i) * change, self.labels * change

    def alpha(self, t: Time) -> Tensor:
        return torch.exp(self._piece(t)[0])

    def sigma(self, t: Time) -> Tensor:
        return torch.sqrt(-torch.expm1(2 * self._piece(t)[0]))

    def noise_level(self, t: Time) -> Tensor:
        return torch.sqrt(torch.expm1(-2 * self._piece(t)[0]))

    def dalpha(self, t: Time) -> Tensor:
        log_alpha, slope = self._piece(t)
        return slope * torch.exp(log_alpha)

    def dsigma(self, t: Time) -> Tensor:
        log_alpha, slope = self._piece(t)
        return -slope * torch.exp(2 * log_alpha) / torch.sqrt(-torch.expm1(2 * log_alpha))

    def time_at(self, noise_level: Time) -> Tensor:
        log_alpha = -torch.log1p(as_time(noise_level) ** 2) / 2
        log_alphas, changes = self._table(log_alpha.device)
        i = (torch.searchsorted(-log_alphas, -log_alpha.double(), right=True) - 1).clamp(0, self.labels - 1)
        return (i + (log_alpha - log_alphas.take(i)) / changes.take(i)) / self.labels


@dataclass(frozen=True)
class VPCosine(Path):
    """Cosine path clipped to a log-SNR range (Salimans & Ho 2022): alpha = cos(at + b), sigma = sin(at + b)."""

    logsnr_min: float = -20.0
    logsnr_max: float = 20.0
    t_min: float = 0.0
    t_max: float = 1.0

    @property
    def b(self) -> float:
        return math.atan(math.exp(-self.logsnr_max / 2))

    @property
    def a(self) -> float:
        return math.atan(math.exp(-self.logsnr_min / 2)) - self.b

    def alpha(self, t: Time) -> Tensor:
        return torch.cos(self.a * as_time(t) + self.b)

    def sigma(self, t: Time) -> Tensor:
        return torch.sin(self.a * as_time(t) + self.b)

    def dalpha(self, t: Time) -> Tensor:
        return -self.a * self.sigma(t)

    def dsigma(self, t: Time) -> Tensor:
        return self.a * self.alpha(t)

    def time_at(self, noise_level: Time) -> Tensor:
        return (torch.atan(as_time(noise_level)) - self.b) / self.a


@dataclass(frozen=True)
class EDM(Path):
    """Variance exploding in EDM's time (Karras et al. 2022): alpha = 1, sigma = t."""

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    @property
    def t_min(self) -> float:  # type: ignore[override]
        return self.sigma_min

    @property
    def t_max(self) -> float:  # type: ignore[override]
        return self.sigma_max

    def alpha(self, t: Time) -> Tensor:
        return torch.ones_like(as_time(t))

    def sigma(self, t: Time) -> Tensor:
        return as_time(t)

    def dalpha(self, t: Time) -> Tensor:
        return torch.zeros_like(as_time(t))

    def dsigma(self, t: Time) -> Tensor:
        return torch.ones_like(as_time(t))

    def time_at(self, noise_level: Time) -> Tensor:
        return as_time(noise_level)


@dataclass(frozen=True)
class FlowOT(Path):
    """Flow matching with straight lines (Lipman et al. 2023): alpha = 1 - t, sigma = t."""

    t_min: float = 0.0
    t_max: float = 1.0

    def alpha(self, t: Time) -> Tensor:
        return 1 - as_time(t)

    def sigma(self, t: Time) -> Tensor:
        return as_time(t)

    def dalpha(self, t: Time) -> Tensor:
        return -torch.ones_like(as_time(t))

    def dsigma(self, t: Time) -> Tensor:
        return torch.ones_like(as_time(t))

    def time_at(self, noise_level: Time) -> Tensor:
        rho = as_time(noise_level)
        return torch.where(torch.isinf(rho), torch.ones_like(rho), rho / (1 + rho))


@dataclass(frozen=True)
class FlowCosine(Path):
    """Flow matching on the cosine path (Albergo & Vanden-Eijnden 2023): alpha = cos(pi t/2), sigma = sin(pi t/2)."""

    t_min: float = 0.0
    t_max: float = 1.0

    def alpha(self, t: Time) -> Tensor:
        # sin of the complement is exactly 0 at t = 1, where cos(pi/2) leaves 6e-17.
        return torch.sin(math.pi / 2 * (1 - as_time(t)))

    def sigma(self, t: Time) -> Tensor:
        return torch.sin(math.pi / 2 * as_time(t))

    def dalpha(self, t: Time) -> Tensor:
        return -math.pi / 2 * self.sigma(t)

    def dsigma(self, t: Time) -> Tensor:
        return math.pi / 2 * self.alpha(t)

    def time_at(self, noise_level: Time) -> Tensor:
        return 2 / math.pi * torch.atan(as_time(noise_level))


PATHS: dict[str, Path] = {
    "vp-linear": VPLinear(),
    "vp-cosine": VPCosine(),
    "flow-ot": FlowOT(),
    "flow-cosine": FlowCosine(),
}
"""The papers' paths by the names that options use."""

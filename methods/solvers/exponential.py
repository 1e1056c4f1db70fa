"""Exponential integrators in lambda = log(alpha/sigma), on eps or on D: what the DPM-Solvers and UniPC share.

With F = eps, z = h or F = D, z = -h (h = lambda_s - lambda_t), the exact solution from t to s is
  x_s = DDIM(x) - amp_s sum_k p_k(z) (+-1)^... F^(k-1): in all the formulas below z carries the sign.
"""

import math
from collections import deque

from torch import Tensor

from .base import Node, ddim, eps_of


def p(k: int, z: float) -> float:
    """p_1 = e^z - 1, p_2 = p_1/z - 1, p_3 = p_2/z - 1/2, ...: z phi_k(z), by its series where that is exact."""
    if abs(z) < 1:
        return z * sum(z**j / math.factorial(j + k) for j in range(20))
    value = math.expm1(z)
    for j in range(1, k):
        value = value / z - 1 / math.factorial(j)
    return value


class Integrator:
    """The two forms under one name: `noise` integrates eps (DPM-Solver), else D (DPM-Solver++)."""

    def __init__(self, noise: bool) -> None:
        self.noise = noise

    def value(self, x: Tensor, x0: Tensor, t: Node) -> Tensor:
        """F: eps or D."""
        return eps_of(x, x0, t) if self.noise else x0

    def base(self, x: Tensor, value: Tensor, t: Node, s: Node) -> Tensor:
        """The first-order step lin x - amp p_1 F, which is DDIM's. Holds at alpha_t = 0."""
        x0 = (x - t.sigma * value) / t.alpha if self.noise else value
        return ddim(x, x0, t, s)

    def z(self, t: Node, s: Node) -> float:
        h = float(s.half_log_snr - t.half_log_snr)
        return h if self.noise else -h

    def amp(self, s: Node) -> float:
        return float(s.sigma if self.noise else s.alpha)


class History:
    """The last values F with their nodes, newest first; those at an infinite log-SNR are of no use."""

    def __init__(self, length: int) -> None:
        self._points: deque[tuple[Node, Tensor]] = deque(maxlen=length)

    def push(self, node: Node, value: Tensor) -> None:
        if math.isfinite(node.half_log_snr) or not self._points:
            self._points.appendleft((node, value))

    def differences(self, h: float, count: int) -> tuple[list[float], list[Tensor]]:
        """([r_m], [(F_m - F_0)/r_m]), r_m = (lambda_m - lambda_0)/h < 0, of at most `count` older points."""
        (newest, value), *older = self._points
        usable = [(node, f) for node, f in older if math.isfinite(node.half_log_snr)][:count]
        ratios = [float(node.half_log_snr - newest.half_log_snr) / h for node, _ in usable]
        return ratios, [(f - value) / r for r, (_, f) in zip(ratios, usable, strict=True)]


def order_of_step(i: int, steps: int, order: int, lower_final: bool) -> int:
    """The order of step i (from 0) of a multistep method: rising from 1, and falling to 1 at the end if asked."""
    if i + 1 < order:
        return i + 1
    return min(order, steps - i) if lower_final else order

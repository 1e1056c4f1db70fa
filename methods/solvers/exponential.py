"""Exponential integrators in lambda = log(alpha/sigma), on eps or on D: what the DPM-Solvers and UniPC share.

For a step from t to s let h = lambda_s - lambda_t and d_k the k-th derivative of F over h^k. Then
  x_s = lin x - amp (p_1(z) F + p_2(z) d_1 + p_3(z) d_2 + ...)
with F = eps, z = h, lin = alpha_s/alpha_t, amp = sigma_s (lu2022dpm, arXiv:2206.00927, eq. 3.4 to 3.6), or F = D,
z = -h, lin = sigma_s/sigma_t, amp = alpha_s (lu2022dpmpp, arXiv:2211.01095, eq. 8 and 9).
"""

import math
from collections import deque
from collections.abc import Sequence

from torch import Tensor

from ..paths import axpby
from .base import Node, Run, eps_of, x0_of
from .combinations import Combination


def p(k: int, z: float) -> float:
    """p_1 = e^z - 1, p_2 = p_1/z - 1, p_3 = p_2/z - 1/2, ...: z phi_k(z), by its series where that is exact."""
    if abs(z) < 1:
        total = 0.0
        for j in range(19, 0, -1):
            total = (total + 1) * z / (j + k)
        return z * (total + 1) / math.factorial(k)
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

    def x0(self, x: Tensor, value: Tensor, t: Node) -> Tensor:
        """D for which F is `value` at x."""
        return x0_of(x, value, t) if self.noise else value

    def evaluate(self, run: Run, x: Tensor, t: Node) -> Tensor:
        """F(x, t), evaluated."""
        return run.eps(x, t) if self.noise else run.x0(x, t)

    def linear(self, t: Node, s: Node) -> tuple[float, float]:
        """(lin, -amp p_1): the weights of x and F in the first-order step, which is DDIM's with this F."""
        if self.noise:
            lin = float(s.alpha / t.alpha)
            return lin, float(s.sigma - lin * t.sigma)
        lin = float(s.sigma / t.sigma)
        return lin, float(s.alpha - lin * t.alpha)

    def base(self, x: Tensor, value: Tensor, t: Node, s: Node) -> Tensor:
        """The first-order step lin x - amp p_1 F."""
        lin, first = self.linear(t, s)
        return axpby(lin, x, first, value)

    def z(self, t: Node, s: Node) -> float:
        h = float(s.half_log_snr - t.half_log_snr)
        return h if self.noise else -h

    def amp(self, s: Node) -> float:
        return float(s.sigma if self.noise else s.alpha)


class History:
    """The last values F with their nodes, newest first."""

    def __init__(self, length: int) -> None:
        self._points: deque[tuple[Node, Tensor]] = deque(maxlen=length)

    def push(self, node: Node, value: Tensor) -> None:
        self._points.appendleft((node, value))

    def last(self, h: float, count: int) -> tuple[list[float], list[Tensor]]:
        """([r_m], [F_0, F_m]), r_m = (lambda_m - lambda_0)/h < 0, of at most `count` older points.

        A point at alpha = 0 is left out: lambda is infinite there.
        """
        (newest, value), *older = self._points
        usable = [(node, f) for node, f in older if math.isfinite(node.half_log_snr)][:count]
        ratios = [float(node.half_log_snr - newest.half_log_snr) / h for node, _ in usable]
        return ratios, [value, *(f for _, f in usable)]


def stepped(
    form: Integrator,
    x: Combination,
    t: Node,
    s: Node,
    weights: Sequence[float],
    ratios: Sequence[float],
    values: Sequence[Tensor],
) -> Combination:
    """lin x - amp (p_1 F_0 + sum_m weights[m] d_m) with d_m = (F_m - F_0)/r_m; values: F_0, F_1, ..."""
    lin, first = form.linear(t, s)
    by_value = [form.amp(s) * w / r for w, r in zip(weights, ratios, strict=True)]
    others = [(-c, value) for c, value in zip(by_value, values[1:], strict=True)]
    return Combination(*x.terms(lin), (first + sum(by_value), values[0]), *others)


def orders_of(run: Run, lower_final: bool) -> list[int]:
    """The order of each step of a multistep method: the options', or as order_of_step has them."""
    steps = len(run.nodes) - 1
    given = run.options.orders
    return [order_of_step(i, steps, run.order, lower_final) for i in range(steps)] if given is None else list(given)


def order_of_step(i: int, steps: int, order: int, lower_final: bool) -> int:
    """The order of step i (from 0) of a multistep method: rising from 1, and falling to 1 at the end if asked."""
    if i + 1 < order:
        return i + 1
    return min(order, steps - i) if lower_final else order

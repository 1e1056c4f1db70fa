"""DPM-Solver (lu2022dpm, arXiv:2206.00927) and DPM-Solver++ (lu2022dpmpp, arXiv:2211.01095), on any path.

Steps in lambda = log(alpha/sigma), exact in the linear part; z, amp and p_k as in exponential.py. In the paper's
letters 2M (DPM-Solver++, algorithm 2) is, with h_i = lambda_{t_i} - lambda_{t_{i-1}} and r_i = h_{i-1}/h_i,
  D_i = (1 + 1/(2 r_i)) x_theta(x_{t_{i-1}}) - 1/(2 r_i) x_theta(x_{t_{i-2}}),
  x_{t_i} = sigma_{t_i}/sigma_{t_{i-1}} x_{t_{i-1}} - alpha_{t_i} (e^{-h_i} - 1) D_i.
"""

import math
from collections.abc import Callable

from torch import Tensor

from ..paths import plus
from .base import Node, Run, ddim
from .combinations import Combination
from .exponential import History, Integrator, orders_of, p, stepped
from .unipc import UniC


def multistep(run: Run, x: Tensor) -> Tensor:
    """2M (DPM-Solver++, algorithm 2) and 3M: F extrapolated from the last values, one evaluation a step."""
    form, orders = Integrator(run.options.algorithm_type == "dpmsolver"), multistep_orders(run)
    history, unic = History(max(orders)), UniC.of(run, form, orders)
    for i, t in enumerate(run.nodes[:-1]):
        x0 = run.x0(x, t)
        if unic is not None:
            value = form.value(x, x0, t)
            x = unic.corrected(x, value, t)
            # A step to clean data lands on D as it was evaluated.
            x0 = form.x0(x, value, t) if t.signal and not run.nodes[i + 1].clean else x0
        x = multistep_step(run, form, history, orders[i], i, x, x0)
    return x


def multistep_orders(run: Run) -> list[int]:
    """The order of each step, the last ones lowered as options.lower_order_final says."""
    lower = run.options.lower_order_final
    return orders_of(run, lower == "always" or (lower is True and len(run.nodes) <= 10))


def multistep_step(run: Run, form: Integrator, history: History, order: int, i: int, x: Tensor, x0: Tensor) -> Tensor:
    """Step i, of that order, from x with D = x0, which enters the history. To clean data, where h is infinite, it is
    of order 1.
    """
    o, (t, s) = run.options, run.nodes[i : i + 2]
    history.push(t, form.value(x, x0, t))
    z = form.z(t, s)
    if order == 1 or not math.isfinite(z):
        return ddim(x, x0, t, s)
    ratios, values = history.last(abs(z), order - 1)
    return stepped(form, Combination((1.0, x)), t, s, _weights(o.solver_type, z, ratios), ratios, values).value()


def _weights(solver_type: str, z: float, ratios: list[float]) -> list[float]:
    """Of d_1, or of d_1 and d_2: p_2 slope + p_3 curvature, the slope and curvature of the parabola through them."""
    if len(ratios) < 2:
        return [_second(solver_type, z)] * len(ratios)
    r1, r2 = ratios
    # Half of the second derivative, where the singlestep solver has all of it: as the authors' code.
    return [(p(2, z) * r2 - p(3, z)) / (r2 - r1), (p(3, z) - p(2, z) * r1) / (r2 - r1)]


def singlestep(run: Run, x: Tensor) -> Tensor:
    """DPM-Solver-1, -2, -3, their mixture, and 2S (DPM-Solver++, algorithm 1): a step of order q takes q evaluations.

    Raises ValueError for a step of order above 1 from alpha = 0, where lambda is infinite.
    """
    form = Integrator(run.options.algorithm_type == "dpmsolver")
    if run.per_step and run.per_step[0] > 1:
        run.needs_signal("a step of DPM-Solver spans log(alpha/sigma), which is infinite")
    i = 0
    for order in run.per_step:
        x = STEPS[order](run, form, x, run.nodes[i : i + order + 1])
        i += order
    return x


def _first_order(run: Run, form: Integrator, x: Tensor, at: list[Node]) -> Tensor:
    t, s = at
    return ddim(x, run.x0(x, t), t, s)


def _second_order(run: Run, form: Integrator, x: Tensor, at: list[Node]) -> Tensor:
    """DPM-Solver-2 (algorithm 1; with any r_1 algorithm 4), r_1 where the middle node lies."""
    t, middle, s = at
    z, r1 = form.z(t, s), form.z(t, middle) / form.z(t, s)
    f0 = form.evaluate(run, x, t)
    f1 = form.evaluate(run, form.base(x, f0, t, middle), middle)
    return plus(form.base(x, f0, t, s), -form.amp(s) * _second(run.options.solver_type, z) / r1, f1 - f0)


def _third_order(run: Run, form: Integrator, x: Tensor, at: list[Node]) -> Tensor:
    """DPM-Solver-3 (algorithm 2; with any r_1, r_2 algorithm 5), r_1 and r_2 where the inner nodes lie."""
    t, first, second, s = at
    z = form.z(t, s)
    r1, r2 = form.z(t, first) / z, form.z(t, second) / z
    f0 = form.evaluate(run, x, t)
    f1 = form.evaluate(run, form.base(x, f0, t, first), first)
    inner = plus(form.base(x, f0, t, second), -form.amp(second) * (r2 / r1) * p(2, r2 * z), f1 - f0)
    f2 = form.evaluate(run, inner, second)
    x = form.base(x, f0, t, s)
    if run.options.solver_type == "dpmsolver":
        return plus(x, -form.amp(s) * p(2, z) / r2, f2 - f0)
    a, b = (f1 - f0) / r1, (f2 - f0) / r2
    slope, curvature = (r2 * a - r1 * b) / (r2 - r1), 2 * (b - a) / (r2 - r1)
    return x - form.amp(s) * (p(2, z) * slope + p(3, z) * curvature)


Step = Callable[[Run, Integrator, Tensor, list[Node]], Tensor]
STEPS: dict[int, Step] = {1: _first_order, 2: _second_order, 3: _third_order}


def _second(solver_type: str, z: float) -> float:
    """The weight of F's difference: p_2, or the authors' p_1/2 with the same first term."""
    return p(2, z) if solver_type == "taylor" else p(1, z) / 2

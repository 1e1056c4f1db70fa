"""DPM-Solver (lu2022dpm, arXiv:2206.00927) and DPM-Solver++ (lu2022dpmpp, arXiv:2211.01095), on any path.

Steps in lambda = log(alpha/sigma), exact in the linear part; z, amp and p_k as in exponential.py. In the paper's
letters 2M (DPM-Solver++, algorithm 2) is, with h_i = lambda_{t_i} - lambda_{t_{i-1}} and r_i = h_{i-1}/h_i,
  D_i = (1 + 1/(2 r_i)) x_theta(x_{t_{i-1}}) - 1/(2 r_i) x_theta(x_{t_{i-2}}),
  x_{t_i} = sigma_{t_i}/sigma_{t_{i-1}} x_{t_{i-1}} - alpha_{t_i} (e^{-h_i} - 1) D_i.
"""

import math
from collections.abc import Callable

from torch import Tensor

from .base import Node, Run, ddim
from .exponential import History, Integrator, order_of_step, p


def multistep(run: Run, x: Tensor) -> Tensor:
    """2M (DPM-Solver++, algorithm 2) and 3M: F extrapolated from the last values, one evaluation a step."""
    form, history = Integrator(run.options.algorithm_type == "dpmsolver"), History(run.order)
    for i, t in enumerate(run.nodes[:-1]):
        x = multistep_step(run, form, history, i, x, run.x0(x, t))
    return x


def multistep_step(run: Run, form: Integrator, history: History, i: int, x: Tensor, x0: Tensor) -> Tensor:
    """Step i from x with D = x0, which enters the history. To clean data, where h is infinite, it is of order 1."""
    o, steps, (t, s) = run.options, len(run.nodes) - 1, run.nodes[i : i + 2]
    lower_final = o.lower_order_final == "always" or (o.lower_order_final is True and steps < 10)
    history.push(t, form.value(x, x0, t))
    order = order_of_step(i, steps, run.order, lower_final)
    z = form.z(t, s)
    ratios, d = history.differences(abs(z), order - 1) if math.isfinite(z) else ([], [])
    x = ddim(x, x0, t, s)
    if len(d) == 1:
        x = x - form.amp(s) * _second(o.solver_type, z) * d[0]
    elif len(d) == 2:
        r1, r2 = ratios
        slope = (r2 * d[0] - r1 * d[1]) / (r2 - r1)
        # Half of the second derivative, where the singlestep solver has all of it: as the authors' code.
        curvature = (d[1] - d[0]) / (r2 - r1)
        x = x - form.amp(s) * (p(2, z) * slope + p(3, z) * curvature)
    return x


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
    f0 = form.value(x, run.x0(x, t), t)
    inner = form.base(x, f0, t, middle)
    f1 = form.value(inner, run.x0(inner, middle), middle)
    return form.base(x, f0, t, s) - form.amp(s) * _second(run.options.solver_type, z) / r1 * (f1 - f0)


def _third_order(run: Run, form: Integrator, x: Tensor, at: list[Node]) -> Tensor:
    """DPM-Solver-3 (algorithm 2; with any r_1, r_2 algorithm 5), r_1 and r_2 where the inner nodes lie."""
    t, first, second, s = at
    z = form.z(t, s)
    r1, r2 = form.z(t, first) / z, form.z(t, second) / z
    f0 = form.value(x, run.x0(x, t), t)
    inner = form.base(x, f0, t, first)
    f1 = form.value(inner, run.x0(inner, first), first)
    inner = form.base(x, f0, t, second) - form.amp(second) * (r2 / r1) * p(2, r2 * z) * (f1 - f0)
    f2 = form.value(inner, run.x0(inner, second), second)
    a, b = (f1 - f0) / r1, (f2 - f0) / r2
    x = form.base(x, f0, t, s)
    if run.options.solver_type == "dpmsolver":
        return x - form.amp(s) * p(2, z) * b
    slope, curvature = (r2 * a - r1 * b) / (r2 - r1), 2 * (b - a) / (r2 - r1)
    return x - form.amp(s) * (p(2, z) * slope + p(3, z) * curvature)


Step = Callable[[Run, Integrator, Tensor, list[Node]], Tensor]
STEPS: dict[int, Step] = {1: _first_order, 2: _second_order, 3: _third_order}


def _second(solver_type: str, z: float) -> float:
    """The weight of F's difference: p_2, or the authors' p_1/2 with the same first term."""
    return p(2, z) if solver_type == "taylor" else p(1, z) / 2

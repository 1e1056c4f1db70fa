"""UniPC (zhao2023unipc, arXiv:2302.04867): a multistep predictor, then a corrector that costs no evaluation.

In the paper's letters UniC-p (eq. 4, on eps; appendix A, eq. 10 and 11, on D) is
  x_{t_i} = alpha_{t_i}/alpha_{t_{i-1}} x_{t_{i-1}} - sigma_{t_i} ((e^{h_i} - 1) eps_{i-1} + B(h_i) sum_m a_m/r_m D_m),
D_m the change of eps since t_{i-1}; UniP-p leaves out the term of the new value. On D with B_2 UniP-2 is
DPM-Solver++(2M).
"""

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
from torch import Tensor

from .base import Node, Run, ddim
from .exponential import History, Integrator, minus_differences, order_of_step, p


def unipc(run: Run, x: Tensor) -> Tensor:
    """UniP, then UniC, with B_1(h) = h or B_2(h) = e^h - 1; the value at the predicted state enters the history,
    and the last step has no corrector. The step to clean data is of order 1.
    """
    steps = len(run.nodes) - 1
    form, history = Integrator(run.options.prediction == "noise"), History(run.order)
    x0 = run.x0(x, run.nodes[0])
    value = form.value(x, x0, run.nodes[0])
    history.push(run.nodes[0], value)
    for i, (t, s) in enumerate(pairwise(run.nodes)):
        order = order_of_step(i, steps, run.order, run.options.lower_order_final)
        z = form.z(t, s)
        finite = math.isfinite(z)
        base = form.base(x, value, t, s) if finite else ddim(x, x0, t, s)
        ratios, values = history.last(abs(z), order - 1 if finite else 0)
        x = _corrected(base, form, run.options.variant, z, s, ratios, values)
        if i == steps - 1:
            return x
        x0_new = run.x0(x, s)
        new = form.value(x, x0_new, s)
        if finite:
            x = _corrected(base, form, run.options.variant, z, s, [*ratios, 1.0], [*values, new])
        value, x0 = new, x0_new
        history.push(s, value)
    return x


def _corrected(
    base: Tensor, form: Integrator, variant: str, z: float, s: Node, ratios: list[float], values: list[Tensor]
) -> Tensor:
    """base - amp B sum_m rho_m d_m, d_m = (F_m - F_0)/r_m; values: F_0 and the F_m, of which there may be none."""
    if not ratios:
        return base
    weights = [form.amp(s) * weight for weight in _weights(variant, z, tuple(ratios))]
    return minus_differences(base, weights, ratios, values)


@lru_cache(maxsize=4096)
def _weights(variant: str, z: float, ratios: tuple[float, ...]) -> list[float]:
    """B rho_m, rho being the paper's a, from its len(ratios) linear conditions (theorem 3.1); the same in every batch.

    With one difference the authors take 1/2, which meets the condition to first order in h.
    """
    scale = z if variant == "bh1" else math.expm1(z)
    if len(ratios) == 1:
        return [scale / 2]
    matrix = np.vander(np.array(ratios), increasing=True).T
    target = [math.factorial(m) * p(m + 1, z) for m in range(1, len(ratios) + 1)]
    return np.linalg.solve(matrix, np.array(target)).tolist()

"""UniPC (zhao2023unipc, arXiv:2302.04867): a multistep predictor, then a corrector that costs no evaluation.

In the paper's letters UniC-p (eq. 4, on eps; appendix A, eq. 10 and 11, on D) is
  x_{t_i} = alpha_{t_i}/alpha_{t_{i-1}} x_{t_{i-1}} - sigma_{t_i} ((e^{h_i} - 1) eps_{i-1} + B(h_i) sum_m a_m/r_m D_m),
D_m the change of eps since t_{i-1}; UniP-p leaves out the term of the new value. On D with B_2 UniP-2 is
DPM-Solver++(2M).
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from torch import Tensor

from .base import Node, Run, ddim
from .combinations import Combination
from .exponential import History, Integrator, orders_of, p, stepped


def unipc(run: Run, x: Tensor) -> Tensor:
    """UniP, then UniC, with B_1(h) = h or B_2(h) = e^h - 1; the value at the predicted state enters the history,
    and the last step has no corrector. The step to clean data is of order 1. Without the corrector it is UniP.
    """
    o, steps, orders = run.options, len(run.nodes) - 1, orders_of(run, run.options.lower_order_final)
    form, history = Integrator(o.prediction == "noise"), History(max(orders))
    x0, state = run.x0(x, run.nodes[0]), Combination((1.0, x))
    value = form.value(x, x0, run.nodes[0])
    for i, (t, s) in enumerate(pairwise(run.nodes)):
        history.push(t, value)
        predicted, unic = unip(form, history, o.variant, orders[i], state, x0, t, s)
        if i == steps - 1:
            return predicted
        x0 = run.x0(predicted, s)
        value = form.value(predicted, x0, s)
        state = unic(value) if o.corrector == "unic" else Combination((1.0, predicted))
    return predicted


def unip(
    form: Integrator, history: History, variant: str, order: int, x: Combination, x0: Tensor, t: Node, s: Node
) -> tuple[Tensor, Callable[[Tensor], Combination]]:
    """(UniP's state at s, F there -> UniC's), from x at t with D = x0, whose F is the newest in the history.

    UniC's state is left as a sum: it is no more than a term of the next step's.
    """
    z = form.z(t, s)
    if not math.isfinite(z):
        landed = ddim(x.value(), x0, t, s)
        return landed, lambda value: Combination((1.0, landed))
    ratios, values = history.last(abs(z), order - 1)
    state = _state(form, variant, x, t, s, ratios, values)
    predicted = state.value()

    def unic(value: Tensor) -> Combination:
        return _state(form, variant, x, t, s, [*ratios, 1.0], [*values, value]).told_by(state, predicted)

    return predicted, unic


class UniC:
    """UniC after each step of another multistep solver: the state that the solver reached at a node is corrected by
    the evaluation made there, which is the next step's own.

    orders: of the solver's steps, and of UniC after them.
    """

    def __init__(self, form: Integrator, variant: str, orders: Sequence[int]) -> None:
        self.form, self.variant, self.orders = form, variant, iter(orders)
        self._history = History(max(orders))
        self._start: tuple[Tensor, Node] | None = None

    @classmethod
    def of(cls, run: Run, form: Integrator, orders: Sequence[int]) -> "UniC | None":
        """The run's corrector, None without."""
        variant = run.options.corrector
        return None if variant == "none" else cls(form, variant.removeprefix("unic-"), orders)

    def corrected(self, x: Tensor, value: Tensor, s: Node) -> Tensor:
        """x at s, given the solver's x there and F at it; called at every node in turn. The first x stays as it is,
        and so does one that comes from alpha = 0, where the step in lambda is infinite.
        """
        if self._start is not None:
            start, t = self._start
            order, z = next(self.orders), self.form.z(t, s)
            if math.isfinite(z):
                ratios, values = self._history.last(abs(z), order - 1)
                began = Combination((1.0, start))
                x = _state(self.form, self.variant, began, t, s, [*ratios, 1.0], [*values, value]).value()
        self._history.push(s, value)
        self._start = x, s
        return x


def _state(
    form: Integrator, variant: str, x: Combination, t: Node, s: Node, ratios: list[float], values: list[Tensor]
) -> Combination:
    """UniP's state at s; UniC's if the last of the values F_0, F_1, ... is F at s, whose ratio is 1."""
    return stepped(form, x, t, s, _weights(variant, form.z(t, s), tuple(ratios)), ratios, values)


@lru_cache(maxsize=4096)
def _weights(variant: str, z: float, ratios: tuple[float, ...]) -> list[float]:
    """B rho_m, rho being the paper's a, from its len(ratios) linear conditions (theorem 3.1); the same in every batch.

    With one difference the authors take 1/2, which meets the condition to first order in h.
    """
    if not ratios:
        return []
    scale = z if variant == "bh1" else math.expm1(z)
    if len(ratios) == 1:
        return [scale / 2]
    matrix = np.vander(np.array(ratios), increasing=True).T
    target = [math.factorial(m) * p(m + 1, z) for m in range(1, len(ratios) + 1)]
    return np.linalg.solve(matrix, np.array(target)).tolist()

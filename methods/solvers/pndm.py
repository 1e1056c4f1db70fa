"""PNDM (liu2022pseudo, arXiv:2202.09778) and iPNDM (zhang2023fast, arXiv:2204.13902): DDIM with a mean of eps.

The weights are those of equal steps in t on every grid: that is the method. (PNDM's equation and algorithm numbers
below, and the section of iPNDM, are unchecked.)
"""

from collections.abc import Collection
from itertools import pairwise

import torch
from torch import Tensor

from ..paths import VPDiscrete
from .adams import EQUAL_STEPS, equal_steps, history
from .base import Node, Run, ddim, eps_of, nodes, transfer
from .combinations import weighted
from .exponential import Integrator
from .unipc import UniC


def ipndm(run: Run, x: Tensor) -> Tensor:
    """Orders 1, 2, ... up to options.max_order as values become available: no warm-up."""
    values, unic = history(run.options.max_order), UniC.of(run, Integrator(noise=True), _ipndm_orders(run))
    for t, s in pairwise(run.nodes):
        if t.signal:
            values.appendleft(run.eps(x, t))
            x = x if unic is None else unic.corrected(x, values[0], t)
            x = _adams_bashforth(x, values, t, s)
        else:
            x0 = run.x0(x, t)
            values.appendleft(eps_of(x, x0, t))
            x = x if unic is None else unic.corrected(x, values[0], t)
            x = ddim(x, x0, t, s)
    return x


def _adams_bashforth(x: Tensor, values: Collection[Tensor], t: Node, s: Node) -> Tensor:
    """DDIM's step with the Adams-Bashforth mean of the last values of eps, newest first."""
    ratio = s.alpha / t.alpha
    weight = s.sigma - ratio * t.sigma
    return weighted([ratio, *(weight * w for w in EQUAL_STEPS[len(values) - 1])], [x, *values])


def _ipndm_orders(run: Run) -> list[int]:
    return [min(i + 1, run.options.max_order) for i in range(len(run.nodes) - 1)]


def s_pndm(run: Run, x: Tensor) -> Tensor:
    """S-PNDM, order 2: the first step averages eps at both its ends (equation number unchecked)."""
    run.needs_signal("PNDM divides by alpha")
    values = history(2)
    for t, s in pairwise(run.nodes):
        values.appendleft(run.eps(x, t))
        x = transfer(x, s_pndm_eps(run, x, values, t, s), t, s)
    return x


def s_pndm_eps(run: Run, x: Tensor, values: Collection[Tensor], t: Node, s: Node) -> Tensor:
    """The mean eps of S-PNDM's step from x, given the last `values` of eps, newest first."""
    eps = equal_steps(values)
    if len(values) > 1:
        return eps
    _refuse_clean(s)
    return (eps + run.eps(transfer(x, eps, t, s), s)) / 2


def f_pndm(run: Run, x: Tensor) -> Tensor:
    """F-PNDM, order 4: three pseudo Runge-Kutta steps, then four-step Adams-Bashforth (eq. 12, algorithm 2)."""
    run.needs_signal("PNDM divides by alpha")
    values, middles = history(4), _middles(run, x)
    for i, (t, s) in enumerate(pairwise(run.nodes)):
        values.appendleft(run.eps(x, t))
        if i >= 3:
            x = _adams_bashforth(x, values, t, s)
        else:
            x = transfer(x, _pseudo_runge_kutta(run, x, values[0], t, s, *middles[i]), t, s)
    return x


def _middles(run: Run, x: Tensor) -> list[tuple[Node, Node]]:
    """Of each of the first three steps the middle, and where its first slopes land: there, or the label below."""
    at = torch.tensor([(t.number + s.number) / 2 for t, s in pairwise(run.nodes[:4])], dtype=torch.float64)
    middles = nodes(run.path, at, x)
    landings = nodes(run.path, _floored(run, at), x) if run.options.integer_labels else middles
    return list(zip(middles, landings, strict=True))


def _pseudo_runge_kutta(run: Run, x: Tensor, k1: Tensor, t: Node, s: Node, middle: Node, landing: Node) -> Tensor:
    """PNDM, eq. 13: the classic four slopes, moved by DDIM's transfer to the middle in t and to the end."""
    _refuse_clean(s)
    k2 = run.eps(transfer(x, k1, t, landing), middle)
    k3 = run.eps(transfer(x, k2, t, landing), middle)
    k4 = run.eps(transfer(x, k3, t, s), s)
    return weighted((1 / 6, 2 / 6, 2 / 6, 1 / 6), (k1, k2, k3, k4))


def _floored(run: Run, at: Tensor) -> Tensor:
    path = run.path
    if not isinstance(path, VPDiscrete):
        raise ValueError("integer_labels needs the path VPDiscrete")
    # Arithmetic may leave a whole label a rounding below itself.
    return path.time_of_label((path.label(at) + 1e-6).floor())


def _refuse_clean(s: Node) -> None:
    if s.clean:
        raise ValueError("PNDM's first steps evaluate at their ends, which cannot be clean data: give more steps")

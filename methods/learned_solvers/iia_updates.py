"""IIA's update formulas (zhang2024on, arXiv:2304.11328): what a step combines, and its base solver.

BIIA-EDM is section 3.2 and appendix A, IIA-EDM section 3.3, IIA-DDIM section 4 with eq. 6, IIA-SPNDM and
IIA-IPNDM appendix G (equation 6 as a third party cites it; the others unchecked). Heun's, DDIM's and the PNDMs'
own steps are those of methods/solvers.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from torch import Tensor

from ..solvers.adams import equal_steps, history
from ..solvers.base import Node, Run, Solve, ddim, eps_of, transfer
from ..solvers.ddim import ddim_eta
from ..solvers.dpm_solver import multistep, multistep_orders, multistep_step
from ..solvers.exponential import History, Integrator
from ..solvers.heun import heun
from ..solvers.pndm import ipndm, s_pndm, s_pndm_eps

Combine = Callable[[int, Tensor, Tensor, Sequence[Tensor]], Tensor]
"""(i, x, plain, columns) -> plain + sum_k c_ik columns[k], the state after step i from x: c stored, or fitted now."""

Gradients = Callable[[Tensor, Tensor, Tensor, Tensor, Node, Node], tuple[Tensor, ...]]
"""(x, D, x ahead, D ahead, t, s) -> what Heun's step from t to s adds up, in x/alpha."""

BaseStep = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(i, x, D) -> (the base solver's state after step i, the eps that it moved along)."""

Update = Callable[[Run, Tensor, Combine, int], Tensor]
"""(run, x at the first node, combine, r) -> x at the last: a solver with r steps of history."""


def biia_edm(run: Run, x: Tensor, combine: Combine, r: int) -> Tensor:
    """BIIA-EDM (section 3.2): z_{i+1} = z_i + (rho_{i+1} - rho_i) sum_{j<=r} gamma_ij (d_{i-j} + d'_{i-j+1})/2.

    z = x/alpha; d and d' are Heun's two slopes eps. Heun itself has gamma_i0 = 1 and no history.
    """
    return _from_slopes(run, x, combine, r, _mean_slope, lambda t, s: s.alpha * (s.level - t.level))


def iia_edm(run: Run, x: Tensor, combine: Combine, r: int) -> Tensor:
    """IIA-EDM (section 3.3): z_{i+1} = z_i + sum_{j<=r} beta_ij (z_{i-j} - D_{i-j}) + gamma_ij (D_{i-j} - D~_{i-j+1}).

    z = x/alpha, D~ the denoiser at Heun's predicted state. Heun itself has beta_i0 = (rho_{i+1} - rho_i)/rho_i
    and gamma_i0 = (rho_{i+1} - rho_i)/(2 rho_{i+1}), rho = sigma/alpha, and no history.
    """
    return _from_slopes(run, x, combine, r, _residuals, lambda t, s: s.alpha)


def _mean_slope(x: Tensor, x0: Tensor, ahead: Tensor, x0_ahead: Tensor, t: Node, s: Node) -> tuple[Tensor, ...]:
    return ((eps_of(x, x0, t) + eps_of(ahead, x0_ahead, s)) / 2,)


def _residuals(x: Tensor, x0: Tensor, ahead: Tensor, x0_ahead: Tensor, t: Node, s: Node) -> tuple[Tensor, ...]:
    return x / t.alpha - x0, x0 - x0_ahead


def _from_slopes(
    run: Run, x: Tensor, combine: Combine, r: int, gradients: Gradients, scale: Callable[[Node, Node], Any]
) -> Tensor:
    """Heun's evaluations, with the gradients of this step and of the r before it as columns."""
    run.needs_signal("Heun steps in sigma/alpha, which is infinite")
    past: deque[tuple[Tensor, ...]] = deque(maxlen=r + 1)
    for i, (t, s) in enumerate(pairwise(run.nodes)):
        x0 = run.x0(x, t)
        ahead = ddim(x, x0, t, s)
        if s.clean:
            return ahead
        past.appendleft(gradients(x, x0, ahead, run.x0(ahead, s), t, s))
        columns = [scale(t, s) * gradient for step in past for gradient in step]
        x = combine(i, x, (s.alpha / t.alpha) * x, columns)
    return x


def iia_ddim(run: Run, x: Tensor, combine: Combine, r: int) -> Tensor:
    """IIA-DDIM (section 4, eq. 6): DDIM's step, plus differences of D and of eps; the paper has r = 1."""
    D, eps = history(r + 1), history(r + 1)
    for i, (t, s) in enumerate(pairwise(run.nodes)):
        D.appendleft(run.x0(x, t))
        eps.appendleft(eps_of(x, D[0], t))
        z = ddim(x, D[0], t, s)
        x = z if s.clean else plus_differences(combine, i, x, z, D, eps)
    return x


def plus_differences(
    combine: Combine, i: int, x: Tensor, z: Tensor, D: Sequence[Tensor], eps: Sequence[Tensor]
) -> Tensor:
    """z + sum_j phi_ij (D_{i-j} - D_{i-j-1}) + psi_ij (eps_{i-j} - eps_{i-j-1}), z being the base solver's step.

    D, eps: those of step i and of the steps before it, newest first; with none before it z is left as it is.
    """
    columns = [change for j in range(len(D) - 1) for change in (D[j] - D[j + 1], eps[j] - eps[j + 1])]
    return combine(i, x, z, columns) if columns else z


def iia_kin(steps_of: Callable[[Run], BaseStep]) -> Update:
    """IIA-DDIM's update around another base solver (appendix G).

    The paper's own forms could not be checked, and this one is natural: eps is the mean that a PNDM's step goes
    along, for DPM-Solver++(2M) the network's; D is the network's in all.
    """

    def solve(run: Run, x: Tensor, combine: Combine, r: int) -> Tensor:
        base_step = steps_of(run)
        D, eps = history(r + 1), history(r + 1)
        for i, (t, s) in enumerate(pairwise(run.nodes)):
            D.appendleft(run.x0(x, t))
            z, along = base_step(i, x, D[0])
            eps.appendleft(along)
            x = z if s.clean else plus_differences(combine, i, x, z, D, eps)
        return x

    return solve


def _dpmpp_2m_steps(run: Run) -> BaseStep:
    form, values, orders = Integrator(noise=False), History(run.order), multistep_orders(run)

    def step(i: int, x: Tensor, x0: Tensor) -> tuple[Tensor, Tensor]:
        return multistep_step(run, form, values, orders[i], i, x, x0), eps_of(x, x0, run.nodes[i])

    return step


def _s_pndm_steps(run: Run) -> BaseStep:
    run.needs_signal("PNDM divides by alpha")
    values = history(2)

    def step(i: int, x: Tensor, x0: Tensor) -> tuple[Tensor, Tensor]:
        t, s = run.nodes[i : i + 2]
        values.appendleft(eps_of(x, x0, t))
        eps = s_pndm_eps(run, x, values, t, s)
        return transfer(x, eps, t, s), eps

    return step


def _ipndm_steps(run: Run) -> BaseStep:
    values = history(run.options.max_order)

    def step(i: int, x: Tensor, x0: Tensor) -> tuple[Tensor, Tensor]:
        t, s = run.nodes[i : i + 2]
        values.appendleft(eps_of(x, x0, t))
        eps = equal_steps(values)
        return transfer(x, eps, t, s) if t.signal else ddim(x, x0, t, s), eps

    return step


@dataclass(frozen=True)
class Variant:
    """fine: the base solver as it runs inside an interval; fine_options, fine_grid: where that differs from the whole.

    width: columns per step of history; own: whether the current step has some without a past.
    """

    solve: Update
    fine: Solve
    width: int = 2
    own: bool = False
    fine_options: dict[str, Any] = field(default_factory=dict)
    fine_grid: dict[str, Any] = field(default_factory=dict)

    def columns(self, i: int, r: int) -> int:
        """How many coefficients step i (from 0) has."""
        return self.width * (min(i, r) + self.own)


EVEN_LEVELS = {"spacing": "karras", "rho": 1.0}
VARIANTS = {
    "heun": Variant(iia_edm, heun, own=True, fine_grid=EVEN_LEVELS),
    "heun-basic": Variant(biia_edm, heun, width=1, own=True, fine_grid=EVEN_LEVELS),
    "ddim": Variant(iia_ddim, ddim_eta),
    # Its order falls at the end of a run; a step's interval does not end one.
    "dpmpp-2m": Variant(iia_kin(_dpmpp_2m_steps), multistep, fine_options={"lower_order_final": False}),
    "s-pndm": Variant(iia_kin(_s_pndm_steps), s_pndm),
    "ipndm": Variant(iia_kin(_ipndm_steps), ipndm),
}

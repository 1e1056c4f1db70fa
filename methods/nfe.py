"""How many steps a requested NFE buys: exact, or a refusal that says why. No torch.

A rule maps (evaluations, order, options, clean) to the evaluations of each step; their sum is the
evaluations asked for. `clean` says whether the grid's last node is clean data, where most solvers of
more than one stage take a single evaluation.
"""

from collections.abc import Callable, Sequence
from typing import Any

Plan = tuple[int, ...]
Rule = Callable[[int, int, Any, bool], Plan]


class UnreachableNFE(ValueError):
    """The method cannot spend exactly this many evaluations; the message is the reason in a table's dash."""


def one_per_step(nfe: int, order: int = 1, options: Any = None, clean: bool = True) -> Plan:
    """Euler, DDIM and every multistep method: one evaluation a step."""
    return (1,) * nfe


def heun(nfe: int, order: int, options: Any, clean: bool) -> Plan:
    """Two evaluations a step, one in the step to noise level 0: NFE = 2N - 1, or 2N without such a step."""
    if clean and nfe % 2 == 0:
        raise UnreachableNFE("Heun takes two evaluations a step and one in the last: odd NFE only")
    if not clean and nfe % 2 == 1:
        raise UnreachableNFE("Heun takes two evaluations a step on a grid that stops above noise 0: even NFE only")
    return (2,) * (nfe // 2) + (1,) * clean


def singlestep(nfe: int, order: int, options: Any, clean: bool) -> Plan:
    """DPM-Solver's orders by step; an evaluation each. A step to noise level 0 is of order 1."""
    full = nfe - clean
    if options.method == "singlestep_fixed" and full % order:
        rest = f"{order} evaluations a step" + (" and one in the step to noise 0" if clean else "")
        raise UnreachableNFE(f"DPM-Solver-{order} takes {rest}; `method: singlestep` spends every NFE")
    if options.method == "singlestep_fixed" or order == 1:
        orders = (order,) * (full // order)
    elif order == 2:
        orders = (2,) * (full // 2) + (1,) * (full % 2)
    else:
        orders = fast(full)
    return orders + (1,) * clean


def fast(evaluations: int) -> Plan:
    """DPM-Solver-fast (Lu et al. 2022, appendix B): steps of order 3, closed by 2 and 1, by 1, or by 2."""
    threes, rest = divmod(evaluations, 3)
    if rest == 0 and threes:
        return (3,) * (threes - 1) + (2, 1)
    return (3,) * threes + (rest,) * (rest > 0)


def singlestep_plan_of(steps: int, order: int, options: Any, clean: bool) -> Plan:
    """The orders over a grid of `steps` steps: of the largest NFE that has so many."""
    full = steps - clean
    if options.method == "singlestep_fixed" or order < 3:
        return (order,) * full + (1,) * clean
    return (3,) * (full - 1) + (2,) * (full > 0) + (1,) * clean


STAGES = {"euler": 1, "midpoint": 2, "heun": 2, "kutta3": 3, "heun3": 3, "rk4": 4, "rk4-3/8": 4}


def runge_kutta(nfe: int, order: int, options: Any, clean: bool) -> Plan:
    """As many evaluations a step as the tableau has stages; one in a last step of Euler's."""
    stages, euler_end = STAGES[options.tableau], clean and options.last_step == "euler"
    steps, rest = divmod(nfe - euler_end, stages)
    if rest:
        end = " and one in the last" if euler_end else ""
        raise UnreachableNFE(f"the tableau {options.tableau} takes {stages} evaluations a step{end}")
    return (stages,) * steps + (1,) * euler_end


def s_pndm(nfe: int, order: int, options: Any, clean: bool) -> Plan:
    """Two evaluations in the first step, then one a step; the first step cannot end at noise 0."""
    least = 3 if clean else 2
    if nfe < least:
        raise UnreachableNFE(f"S-PNDM's first step takes two evaluations: NFE of at least {least}")
    return (2,) + (1,) * (nfe - 2)


def f_pndm(nfe: int, order: int, options: Any, clean: bool) -> Plan:
    """Four evaluations in each of the first three steps, then one a step."""
    if nfe < 13:
        raise UnreachableNFE("F-PNDM's first three steps take four evaluations each: NFE of at least 13")
    return (4, 4, 4) + (1,) * (nfe - 12)


def adaptive(nfe: int) -> Plan:
    raise UnreachableNFE("an adaptive solver chooses its own number of evaluations")


def halvings(nfe: int, steps: Sequence[int]) -> int:
    """One evaluation a step, by the student of so many steps."""
    if nfe not in steps:
        known = ", ".join(map(str, steps))
        raise UnreachableNFE(f"halving the steps makes students of {known} evaluations and no other")
    return nfe


def bespoke_steps(nfe: int, order: int) -> int:
    """A Runge-Kutta step takes as many evaluations as its order."""
    if nfe % order:
        raise UnreachableNFE(f"RK{order} takes {order} evaluations a step: a multiple of {order}")
    return nfe // order


def one_evaluation(nfe: int) -> int:
    """A student that maps noise to data has no steps to divide."""
    if nfe != 1:
        raise UnreachableNFE("the student maps noise to data in one evaluation: NFE 1 only")
    return 1


def rectified_flow(nfe: int, distilled: int = 0) -> int:
    """Euler's steps, any number of them; those of the sampler that it was distilled for, if it was (0: it was not)."""
    if distilled and nfe != distilled:
        raise UnreachableNFE(f"the flow was distilled to be sampled at NFE {distilled} only")
    return nfe


def iia_steps(steps: int, clean: bool, own: bool) -> int:
    """The base solver's steps, if any is fitted: not one to clean data, nor a first one without columns of its own."""
    if steps - clean - (not own) < 1:
        past = "" if own else " and come after another"
        raise UnreachableNFE(f"IIA fits steps that end above noise 0{past}: with none it would be its base solver")
    return steps


def searched_levels(nfe: int, searched_nfe: int) -> Plan:
    """Consistency models' levels, where they are searched one after another up to some NFE."""
    if nfe > searched_nfe:
        raise UnreachableNFE(f"levels are searched for up to {searched_nfe} evaluations, see searched_nfe")
    return one_per_step(nfe)


def phase_end(nfe: int, phases: Sequence[int]) -> int:
    """A method trained in phases has a student at the steps where one ends."""
    if nfe not in phases:
        raise UnreachableNFE(f"no phase ends at {nfe} steps: there are students of {', '.join(map(str, phases))}")
    return nfe


def plan(nfe: int, rule: Rule, order: int, options: Any, clean: bool) -> Plan:
    """The rule's plan for `nfe`, with what the options add: one evaluation more, one less."""
    evaluations = nfe + options.afs - options.denoise_to_zero
    if evaluations < 1:
        raise UnreachableNFE("denoise_to_zero takes one evaluation beside the steps: NFE of at least 2")
    return rule(evaluations, order, options, clean)

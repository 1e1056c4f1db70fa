"""How many steps a requested NFE buys: exact, or a refusal that says why. No torch.

A rule maps (evaluations, order, options, clean) to the evaluations of each step; their sum is the
evaluations asked for. `clean` says whether the grid's last node is clean data, where most solvers of
more than one stage take a single evaluation. A rule of one method alone is in that method's file in `specs`.
"""

import operator
from collections.abc import Callable
from typing import Any

Steps = tuple[int, ...]
Rule = Callable[[int, int, Any, bool], Steps]


class UnreachableNFE(ValueError):
    """The method cannot spend exactly this many evaluations; the message is the reason in a table's dash."""


def whole(nfe: Any) -> int:
    """`nfe` as an int; ValueError for what is not an integer (4.0 and True are not), or less than 1."""
    if isinstance(nfe, bool) or not hasattr(nfe, "__index__"):
        raise ValueError(f"nfe must be an integer, not {nfe!r}")
    if (number := operator.index(nfe)) < 1:
        raise ValueError(f"nfe must be at least 1, not {number}")
    return number


def one_per_step(nfe: int, order: int = 1, options: Any = None, clean: bool = True) -> Steps:
    """Euler, DDIM and every multistep method: one evaluation a step."""
    return (1,) * nfe


def heun(nfe: int, order: int, options: Any, clean: bool) -> Steps:
    """Two evaluations a step, one in the step to noise level 0: NFE = 2N - 1, or 2N without such a step."""
    if clean and nfe % 2 == 0:
        raise UnreachableNFE("Heun takes two evaluations a step and one in the last: odd NFE only")
    if not clean and nfe % 2 == 1:
        raise UnreachableNFE("Heun takes two evaluations a step on a grid that stops above noise 0: even NFE only")
    return (2,) * (nfe // 2) + (1,) * clean


def singlestep(nfe: int, order: int, options: Any, clean: bool) -> Steps:
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


def fast(evaluations: int) -> Steps:
    """DPM-Solver-fast (Lu et al. 2022, appendix B): steps of order 3, closed by 2 and 1, by 1, or by 2."""
    threes, rest = divmod(evaluations, 3)
    if rest == 0 and threes:
        return (3,) * (threes - 1) + (2, 1)
    return (3,) * threes + (rest,) * (rest > 0)


def singlestep_steps(steps: int, order: int, options: Any, clean: bool) -> Steps:
    """The orders over a grid of `steps` steps: of the largest NFE that has so many."""
    full = steps - clean
    if options.method == "singlestep_fixed" or order < 3:
        return (order,) * full + (1,) * clean
    return (3,) * (full - 1) + (2,) * (full > 0) + (1,) * clean


def one_evaluation(nfe: int) -> Steps:
    """A student that maps noise to data has no steps to divide."""
    if whole(nfe) != 1:
        raise UnreachableNFE("the student maps noise to data in one evaluation: NFE 1 only")
    return (1,)


def steps_for(nfe: int, rule: Rule, order: int, options: Any, clean: bool) -> Steps:
    """The rule's steps for `nfe`, with what the options add: one evaluation more, one less."""
    evaluations = nfe + options.afs - options.denoise_to_zero
    if evaluations < 1:
        raise UnreachableNFE("denoise_to_zero takes one evaluation beside the steps: NFE of at least 2")
    steps = rule(evaluations, order, options, clean)
    check_orders(options, len(steps))
    return steps


def check_orders(options: Any, steps: int) -> None:
    """UnreachableNFE where the options list the orders of another number of steps."""
    orders = getattr(options, "orders", None)
    if orders is not None and len(orders) != steps:
        raise UnreachableNFE(f"the option orders lists {len(orders)} steps, not {steps}")

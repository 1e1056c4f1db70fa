"""How many steps a requested NFE buys: exact, or a refusal that says why. No torch."""


class UnreachableNFE(ValueError):
    """The method cannot spend exactly this many evaluations; the message is the reason in a table's dash."""


def one_per_step(nfe: int) -> int:
    """Euler, DDIM, the multistep DPM-Solver++: one evaluation a step."""
    return nfe


def heun_steps(nfe: int) -> int:
    """EDM's Heun: two evaluations a step, one in the last (to noise level 0): NFE = 2N - 1."""
    if nfe % 2 == 0:
        raise UnreachableNFE("Heun takes two evaluations a step and one in the last: odd NFE only")
    return (nfe + 1) // 2


def adaptive(nfe: int) -> int:
    raise UnreachableNFE("an adaptive solver chooses its own number of evaluations")


def bespoke_steps(nfe: int, order: int) -> int:
    """A Runge-Kutta step takes as many evaluations as its order."""
    if nfe % order:
        raise UnreachableNFE(f"RK{order} takes {order} evaluations a step: a multiple of {order}")
    return nfe // order

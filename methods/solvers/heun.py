"""EDM's second-order sampler (karras2022elucidating, arXiv:2206.00364, algorithms 1 and 2), on any path."""

import math
from itertools import pairwise

import torch
from torch import Tensor

from .base import Node, Run, ddim, nodes, transfer


def heun(run: Run, x: Tensor) -> Tensor:
    """On y = x/alpha and rho = sigma/alpha, dy/drho = eps: a step with the eps of both its ends.

    With options.S_churn > 0 it is algorithm 2. With options.alpha < 1 the second eps is taken inside the step
    (their appendix D.2). The step to clean
    data stays Euler's, since eps has no value there. Raises ValueError for a grid that starts without
    signal (alpha = 0, a flow's t = 1), where rho is infinite.
    """
    run.needs_signal("Heun steps in sigma/alpha, which is infinite")
    weight = 1 / (2 * run.options.alpha)
    starts = _churned(run, x)
    stages = _stages(run, x, starts)
    for j, (t, s) in enumerate(pairwise(run.nodes)):
        hat, stage = starts[j], stages[j]
        x = x if hat is t else _with_noise(run, x, t, hat, j)
        if s.clean:
            x = ddim(x, run.x0(x, hat), hat, s)
        else:
            eps = run.eps(x, hat)
            eps = torch.lerp(eps, run.eps(transfer(x, eps, hat, stage), stage), weight)
            x = transfer(x, eps, hat, s)
    return x


def _churned(run: Run, x: Tensor) -> list[Node]:
    """Where each step starts: at its node, or with churn at the level (1 + gamma) times higher."""
    o, t = run.options, run.nodes[:-1]
    gamma = min(o.S_churn / len(t), math.sqrt(2) - 1)
    if gamma == 0:
        return t
    hats = _at_levels(run, x, [node.level * (1 + gamma) for node in t])
    highest = math.inf if o.S_max is None else o.S_max
    return [hat if o.S_min <= node.level <= highest else node for hat, node in zip(hats, t, strict=True)]


def _with_noise(run: Run, x: Tensor, t: Node, hat: Node, j: int) -> Tensor:
    added = math.sqrt(hat.level**2 - t.level**2) * run.options.S_noise
    return (hat.alpha / t.alpha) * x + hat.alpha * added * run.noise(j, x)


def _stages(run: Run, x: Tensor, starts: list[Node]) -> list[Node]:
    """Where each step takes its second eps: at its end, or the share options.alpha of the way there."""
    ends = run.nodes[1:]
    if run.options.alpha == 1:
        return ends
    levels = [t.level + run.options.alpha * (s.level - t.level) for t, s in zip(starts, ends, strict=True)]
    return _at_levels(run, x, levels)


def _at_levels(run: Run, x: Tensor, levels: list[float]) -> list[Node]:
    return nodes(run.path, run.path.time_at(torch.tensor(levels, dtype=torch.float64)), x)

"""Grids of labels: which labels of a discrete path a sampler of K steps visits. No torch."""

import math
from itertools import accumulate, pairwise

import numpy as np

from .specs.solver import Grid


def labels(spacing: str, count: int, steps: int) -> list[int]:
    """Ascending labels of a chain of `count`. DDIM's (song2021denoising, appendix D.2): "ddim-uniform" every
    count//steps-th from 0, "ddim-quad" the squares of even steps up to sqrt(0.8 count). OpenAI's timestep_respacing
    (nichol2021improved, section 4): "respaced" even from 0 to count - 1, "respaced-ddim" every n-th from 0, n the
    first that gives so many.

    Where `steps` does not divide `count` the uniform list is cut to `steps`. ValueError where there is no such n.
    """
    if spacing == "ddim-uniform":
        return list(range(0, count, count // steps))[:steps]
    if spacing == "respaced":
        # Summed up, as in OpenAI's code, whose rounding differs from that of the products.
        stride = (count - 1) / (steps - 1) if steps > 1 else 1.0
        return [round(place) for place in accumulate([stride] * (steps - 1), initial=0.0)]
    if spacing == "respaced-ddim":
        for n in range(1, count + 1):
            if len(every := range(0, count, n)) == steps:
                return list(every)
        raise ValueError(f"no stride divides {count} labels into {steps} steps: take respaced, or other steps")
    # numpy's linspace, as in DDIM's code: squares of integers fall on either side of a label by its rounding.
    return [int(square) for square in np.linspace(0, math.sqrt(0.8 * count), steps) ** 2]


def spaced_labels(grid: Grid, count: int, steps: int) -> list[float]:
    """diffusers' descending labels of a chain of `count` for K = `steps`, by its timestep_spacing (lin2024common,
    arXiv:2305.08891, table 2).

    labels-leading: i (count // parts) + offset; labels-trailing: round(count - i count/K) - 1; labels-linspace:
    `parts` even steps from count - 1 to 0, rounded where parts is K + 1, whose label 0 is left out.
    """
    more = grid.parts == "steps+1"
    if grid.spacing == "labels-leading":
        return [float(i * (count // (steps + more)) + grid.offset) for i in range(steps - 1 + more, more - 1, -1)]
    if grid.spacing == "labels-trailing":
        return [float(round(count - i * count / steps) - 1) for i in range(steps)]
    even = np.linspace(0, count - 1, steps + more)[::-1]
    return [float(label) for label in (even.round()[:-1] if more else even)]


def visited(grid: Grid, count: int, steps: int, again: bool = False) -> list[float]:
    """Descending labels at which the grid's K steps begin, and label 0 where it ends there.

    again: a label may come several times in a row, as DDIM's quadratic ones do from 30 steps of 1000 labels on: a step
    between them leaves x as it is. ValueError, with advice, for more steps than labels and for labels that do not fall.
    """
    nodes = steps + 1 if grid.end == "min" else steps
    if nodes > count:
        raise ValueError(f"{steps} steps on a path of {count} labels: take fewer")
    if grid.spacing.startswith("labels-"):
        chosen = spaced_labels(grid, count, steps) + ([0.0] if grid.end == "min" else [])
    else:
        chosen = [float(n) for n in reversed(labels(grid.spacing, count, nodes))]
    if chosen[0] >= count:
        raise ValueError(f"offset {grid.offset} leads to label {chosen[0]:g}, and the last is {count - 1}")
    least = 0 if again and grid.spacing == "ddim-quad" else 1e-9
    if min((t - s for t, s in pairwise(chosen)), default=1) < least:
        advice = "give offset: 1, or end: zero" if chosen[-2:] == [0.0, 0.0] and grid.end == "min" else ADVICE
        raise ValueError(f"{grid.spacing} repeats a label at {steps} steps: {advice}")
    return chosen


ADVICE = "take fewer or ddim-uniform, or ddim or euler, for which the step between them is none"

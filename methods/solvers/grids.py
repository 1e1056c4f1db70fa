"""Time grids: where a solver with K steps evaluates. Data, recorded with every result."""

import math

import torch
from torch import Tensor

from ..options import Grid
from ..paths import Path


def times(grid: Grid, path: Path, steps: int) -> Tensor:
    """K + 1 decreasing times, float64, from the noisiest to the cleanest.

    With u_i from 0 to 1 between the ends (level = sigma/alpha):
      karras     level = (max^(1/rho) + u (min^(1/rho) - max^(1/rho)))^rho   (Karras et al. 2022, eq. 5)
      log-snr    log level linear in u                                       (Lu et al. 2022)
      uniform    t linear in u
      quadratic  sqrt(t) linear in u                                         (Song et al. 2021, DDIM)
    grid.end says what happens to the last node: see options.Grid.
    Raises ValueError if steps < 1 or the largest level is infinite where the spacing needs it finite.
    """
    if steps < 1:
        raise ValueError(f"a time grid needs at least one step, not {steps}")
    nodes = steps if grid.end == "append-zero" else steps + 1
    u = torch.linspace(0.0, 1.0, nodes, dtype=torch.float64) if nodes > 1 else torch.zeros(1, dtype=torch.float64)
    t = _spaced(grid, path, u)
    clean = path.time_at(0.0).to(torch.float64).reshape(1)
    if grid.end == "zero":
        return torch.cat([t[:-1], clean])
    return torch.cat([t, clean]) if grid.end == "append-zero" else t


def karras(u: Tensor, first: float, last: float, rho: float = 7.0) -> Tensor:
    """Noise levels at positions u in [0, 1] of the curve from `first` to `last` (Karras et al. 2022, eq. 5)."""
    levels = (first ** (1 / rho) + u * (last ** (1 / rho) - first ** (1 / rho))) ** rho
    return torch.where(u == 0, first, torch.where(u == 1, last, levels))


def _spaced(grid: Grid, path: Path, u: Tensor) -> Tensor:
    t_first = path.t_max if grid.noise_max is None else float(path.time_at(grid.noise_max))
    t_last = path.t_min if grid.noise_min is None else float(path.time_at(grid.noise_min))
    if grid.spacing in ("uniform", "quadratic"):
        power = 1.0 if grid.spacing == "uniform" else 2.0
        return (t_first ** (1 / power) + u * (t_last ** (1 / power) - t_first ** (1 / power))) ** power
    first = float(path.noise_level(t_first)) if grid.noise_max is None else grid.noise_max
    last = float(path.noise_level(t_last)) if grid.noise_min is None else grid.noise_min
    if not (0 < last < first < float("inf")):
        raise ValueError(
            f"a {grid.spacing} grid needs finite noise levels 0 < min < max, not {last:g} and {first:g}: "
            "give noise_min and noise_max, or spacing: uniform"
        )
    if grid.spacing == "log-snr":
        levels = torch.exp(math.log(first) + u * (math.log(last) - math.log(first)))
    else:
        levels = karras(u, first, last, grid.rho)
    t = path.time_at(levels)
    # The ends exactly, not as the round trip through the noise level leaves them.
    t[0] = t_first
    if len(t) > 1:
        t[-1] = t_last
    return t

"""Time grids: where a solver with K steps evaluates. Data, recorded with every result."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ..denoiser import Denoiser
from ..labels import visited
from ..paths import Path, Scalar, Time, VPDiscrete
from ..specs.solver import Grid


def times(grid: Grid, path: Path, steps: int, again: bool = False) -> Tensor:
    """K + 1 decreasing times, float64, from the noisiest to the cleanest.

    With u_i from 0 to 1 between the ends (level = sigma/alpha):
      karras     level = (max^(1/rho) + u (min^(1/rho) - max^(1/rho)))^rho   (karras2022elucidating, eq. 5)
      log-snr    log level linear in u                                       (lu2022dpm)
      uniform    t linear in u
      quadratic  sqrt(t) linear in u                                         (song2021denoising, appendix D.2)
    The others are labels, see methods/labels.py; again: the same may follow itself.
    grid.end says what happens to the last node: see specs.solver.Grid.
    Raises ValueError if steps < 1, the largest level is infinite where the spacing needs it finite, or append-zero
    would repeat clean data.
    """
    if steps < 1:
        raise ValueError(f"a time grid needs at least one step, not {steps}")
    clean = path.time_at(0.0).to(torch.float64).reshape(1)
    if grid.of_labels:
        return _label_grid(grid, path, steps, clean, again)
    nodes = steps if grid.end == "append-zero" else steps + 1
    u = torch.linspace(0.0, 1.0, nodes, dtype=torch.float64) if nodes > 1 else torch.zeros(1, dtype=torch.float64)
    t = _spaced(grid, path, u, *_ends(grid, path))
    if grid.end == "zero":
        return torch.cat([t[:-1], clean])
    if grid.end == "append-zero" and bool(t[-1] == clean):
        raise ValueError("append-zero: the path ends at clean data by itself; give noise_min, or end: zero")
    return torch.cat([t, clean]) if grid.end == "append-zero" else t


def refined(grid: Grid, path: Path, evaluations: Sequence[int]) -> Tensor:
    """The grid of len(evaluations) steps, each divided by the grid's own spacing into as many parts as it
    has evaluations: the nodes of a singlestep DPM-Solver (lu2022dpm; the authors' get_orders_and_timesteps).

    A spacing in t is divided from the whole, so that every part is one step of the finer grid.
    """
    if grid.spacing not in ("karras", "log-snr"):
        return times(grid, path, sum(evaluations))
    outer = times(grid, path, len(evaluations))
    return torch.cat([*divided(grid, path, outer, evaluations), outer[-1:]])


def divided(grid: Grid, path: Path, outer: Tensor, parts: Sequence[int]) -> list[Tensor]:
    """The times of each step of `outer` (K + 1,), its start included and its end not: parts[j] of them by the
    grid's own spacing.

    A step to clean data is divided down to the grid's smallest level, whose place clean data takes, as in a
    grid of end "zero"; a step that starts there is not divided, since no network knows the levels below.
    """
    lowest, starts = _ends(grid, path)[1], outer[:-1]
    clean = path.sigma(outer[1:]) == 0
    ends = torch.where(clean, lowest, outer[1:])
    whole = (clean & (starts <= lowest)).tolist()
    parts = [1 if undivided else count for undivided, count in zip(whole, parts, strict=True)]
    if grid.spacing in ("karras", "log-snr"):
        return _divided_levels(grid, path, starts, ends, parts)
    steps = zip(starts, ends, parts, strict=True)
    return [t.reshape(1) if count == 1 else within(grid, path, t, s, count)[:-1] for t, s, count in steps]


def _divided_levels(grid: Grid, path: Path, starts: Tensor, ends: Tensor, parts: Sequence[int]) -> list[Tensor]:
    u = torch.cat([torch.linspace(0.0, 1.0, count + 1, dtype=torch.float64)[:-1] for count in parts])
    counts = torch.tensor(parts)
    (first, last), several = path.noise_level(torch.stack([starts, ends])), counts > 1
    if bool(several.any()):
        _check_levels(grid, float(first[several].max()), float(last[several].min()))
    levels = _levels(grid, u, first.repeat_interleave(counts), last.repeat_interleave(counts))
    times = torch.where(u == 0, starts.repeat_interleave(counts), path.time_at(levels))
    return list(times.split(list(parts)))


def within(grid: Grid, path: Path, t: Time, s: Time, parts: int) -> Tensor:
    """parts + 1 decreasing times from t to s > 0 by the grid's own spacing.

    On a grid of labels: evenly spaced labels, rounded, each once, so that there may be fewer.
    """
    u = torch.linspace(0.0, 1.0, parts + 1, dtype=torch.float64)
    if isinstance(path, VPDiscrete) and grid.of_labels:
        first, last = path.label(t), path.label(s)
        found = path.time_of_label((first + u * (last - first)).round().unique().flip(0))
        # The ends exactly, not as the round trip through the label leaves them.
        found[0], found[-1] = float(t), float(s)
        return found
    return _spaced(grid, path, u, float(t), float(s))


def with_inner(path: Path, outer: Tensor, evaluations: Sequence[int]) -> Tensor:
    """Given outer times, the nodes of each step at equal distances in log-SNR: the papers' r_1 and r_2."""
    parts = []
    for (t, s), parts_in_step in zip(pairwise(outer), evaluations, strict=True):
        u = torch.arange(1, parts_in_step, dtype=torch.float64) / parts_in_step
        high, low = path.half_log_snr(t), path.half_log_snr(s)
        parts += [t.reshape(1), path.time_at(torch.exp(-(high + u * (low - high)))) if len(u) else u]
    return torch.cat([*parts, outer[-1:]])


def karras(u: Tensor, first: Scalar, last: Scalar, rho: float = 7.0) -> Tensor:
    """Noise levels at positions u in [0, 1] of the curve from `first` to `last` (karras2022elucidating, eq. 5)."""
    levels = (first ** (1 / rho) + u * (last ** (1 / rho) - first ** (1 / rho))) ** rho
    return torch.where(u == 0, first, torch.where(u == 1, last, levels))


def on_its_path(grid: Grid, denoiser: Denoiser) -> Denoiser:
    """The denoiser on the path that the grid's nodes are times of: for labels the one that it was trained on."""
    trained = denoiser.trained_path
    return denoiser.on(trained) if grid.of_labels and isinstance(trained, VPDiscrete) else denoiser


def _label_grid(grid: Grid, path: Path, steps: int, clean: Tensor, again: bool) -> Tensor:
    if not isinstance(path, VPDiscrete):
        raise ValueError(f"{grid.spacing} is a grid of labels: it needs the path VPDiscrete, not {type(path).__name__}")
    chosen = visited(grid, path.labels, steps, again)
    times = path.time_of_label(torch.tensor(chosen, dtype=torch.float64))
    return times if grid.end == "min" else torch.cat([times, clean])


def _ends(grid: Grid, path: Path) -> tuple[float, float]:
    first = path.t_max if grid.noise_max is None else float(path.time_at(grid.noise_max))
    last = path.t_min if grid.noise_min is None else float(path.time_at(grid.noise_min))
    return first, last


def _spaced(grid: Grid, path: Path, u: Tensor, t_first: float, t_last: float) -> Tensor:
    if grid.spacing not in ("karras", "log-snr"):
        power = 2.0 if grid.spacing in ("quadratic", "ddim-quad") else 1.0
        return (t_first ** (1 / power) + u * (t_last ** (1 / power) - t_first ** (1 / power))) ** power
    first, last = path.noise_level(torch.tensor([t_first, t_last], dtype=torch.float64)).tolist()
    _check_levels(grid, first, last)
    t = path.time_at(_levels(grid, u, first, last))
    # The ends exactly, not as the round trip through the noise level leaves them.
    t[0] = t_first
    if len(t) > 1:
        t[-1] = t_last
    return t


def _levels(grid: Grid, u: Tensor, first: Scalar, last: Scalar) -> Tensor:
    if grid.spacing == "karras":
        return karras(u, first, last, grid.rho)
    log = torch.log if isinstance(first, Tensor) else math.log
    return torch.exp(log(first) + u * (log(last) - log(first)))


def _check_levels(grid: Grid, first: float, last: float) -> None:
    if not (0 < last < first < float("inf")):
        raise ValueError(
            f"a {grid.spacing} grid needs finite noise levels 0 < min < max, not {last:g} and {first:g}: "
            "give noise_min and noise_max, or spacing: uniform"
        )

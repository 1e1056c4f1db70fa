"""DPM-Solver++ (Lu et al. 2022): exponential integrators on the data prediction, in lambda = log(alpha/sigma)."""

import torch
from torch import Tensor

from ..paths import Path, expand
from .base import Denoise, is_clean, steps_of


def dpmpp_2m(denoise: Denoise, path: Path, x: Tensor, times: Tensor) -> Tensor:
    """DPM-Solver++(2M), algorithm 2: D extrapolated from the last two evaluations, then an exact linear step.

    x_s = (sigma_s/sigma_t) x - alpha_s (e^{-h} - 1) [D_0 + (D_0 - D_1)/(2 r)], r = h_last/h. The first step
    is of order 1; so is the last one below ten steps (the authors' lower_order_final), and the step to
    clean data, where h is infinite.
    """
    steps = steps_of(times)
    x0_last = h_last = None
    for i, (t, s) in enumerate(steps):
        x0 = denoise(x, t)
        h = path.half_log_snr(s) - path.half_log_snr(t)
        lower_order = is_clean(path, s) or (i == len(steps) - 1 and len(steps) < 10)
        if x0_last is None or h_last is None or lower_order:
            data = x0
        else:
            data = x0 + expand(h / (2 * h_last), x) * (x0 - x0_last)
        x = expand(path.sigma(s) / path.sigma(t), x) * x - expand(path.alpha(s) * torch.expm1(-h), x) * data
        x0_last, h_last = x0, h
    return x

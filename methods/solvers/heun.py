"""EDM's deterministic second-order sampler (Karras et al. 2022, algorithm 1), on any path."""

from torch import Tensor

from ..paths import Path, expand
from .base import Denoise, is_clean, steps_of


def heun(denoise: Denoise, path: Path, x: Tensor, times: Tensor) -> Tensor:
    """On y = x/alpha and rho = sigma/alpha, dy/drho = eps: average eps at both ends of the step.

    The step to clean data stays Euler's, since eps has no value there. Raises ValueError for a grid that
    starts without signal (alpha = 0, a flow's t = 1), where rho is infinite.
    """
    if (path.alpha(times[0]) == 0).any():
        raise ValueError("Heun steps in sigma/alpha, which is infinite at times[0]: give the grid a noise_max")
    for t, s in steps_of(times):
        x0 = denoise(x, t)
        x_next = path.ddim_step(x, x0, t, s)
        if not is_clean(path, s):
            eps = (path.eps(x, x0, t) + path.eps(x_next, denoise(x_next, s), s)) / 2
            alpha_t, alpha_s = expand(path.alpha(t), x), expand(path.alpha(s), x)
            sigma_t, sigma_s = expand(path.sigma(t), x), expand(path.sigma(s), x)
            x_next = alpha_s * (x - sigma_t * eps) / alpha_t + sigma_s * eps
        x = x_next
    return x

"""Kernel distance (KID, Binkowski et al. 2018): the unbiased MMD^2 with a cubic polynomial kernel."""

from typing import Any

from .frechet import as_features


def kernel_distance(real: Any, fake: Any) -> float:
    """The U-statistic over all rows of features (N, D), float64, kernel (x.y/D + 1)^3. May be below 0."""
    x, y = as_features(real, "real"), as_features(fake, "fake")
    d = x.shape[1]
    k_xx, k_yy, k_xy = (x @ x.T / d + 1) ** 3, (y @ y.T / d + 1) ** 3, (x @ y.T / d + 1) ** 3
    within_x = (k_xx.sum() - k_xx.diagonal().sum()) / (len(x) * (len(x) - 1))
    within_y = (k_yy.sum() - k_yy.diagonal().sum()) / (len(y) * (len(y) - 1))
    return float(within_x + within_y - 2 * k_xy.mean())

"""How near a published number must be to be called reproduced: where one more run of ours would fall."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..significance import t_quantile

FLOORS = {"FID": 0.01, "precision": 0.005, "recall": 0.005}
"""What half precision and another device change by themselves."""
MIN_OF_THREE = 0.846
"""How far the least of three normals lies below their mean, in standard deviations: 3/(2 sqrt(pi))."""


@dataclass(frozen=True)
class Ours:
    """What was measured of one cell.

    values: of noise blocks for a row without training, of training seeds for a trained one. error: the jackknife's
    standard error of one value over its noises, NaN where it is not known.
    """

    values: Sequence[float]
    error: float = math.nan
    trained: bool = False

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / len(self.values)

    @property
    def spread(self) -> float:
        """Sample standard deviation; NaN of one value."""
        n, mean = len(self.values), self.mean
        return math.sqrt(math.fsum((v - mean) ** 2 for v in self.values) / (n - 1)) if n > 1 else math.nan

    @property
    def sigma(self) -> float:
        """Of one run. With few values their spread may be small by luck: never below the noises' own error."""
        known = [s for s in (self.spread if len(self.values) > 2 else math.nan, self.error) if not math.isnan(s)]
        return max(known, default=math.nan)


def half_width(ours: Ours, metric: str, decimals: int) -> float:
    """H: a published number with so many decimals is reproduced within the mean ± H.

    H = q sigma sqrt(1 + 1/n) + 0.5 10^-decimals with q = t_{n-1, 0.975}, 2 for fewer than three values, and at least
    the metric's floor. NaN where sigma is not known.
    """
    n = len(ours.values)
    q = t_quantile(n - 1) if n > 2 else 2.0
    width = q * ours.sigma * math.sqrt(1 + 1 / n) + 0.5 * 10.0**-decimals
    return width if math.isnan(width) else max(width, FLOORS.get(metric, 0.0))


def compared(published: float, ours: Ours, statistic: str) -> tuple[float, float]:
    """(our number, the published one) as they are compared.

    A paper that prints the least of three blocks of noises is compared with our least of three; where we have another
    count, its number is first raised by what the least of three lies below their mean.
    """
    if statistic != "min-of-3":
        return ours.mean, published
    if len(ours.values) == 3:
        return min(ours.values), published
    return ours.mean, published + (0.0 if math.isnan(ours.sigma) else MIN_OF_THREE * ours.sigma)

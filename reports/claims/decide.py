"""Three-way tests of paired differences over seeds: holds, does not hold, undecided.

A difference is d = log A - log(f B) of one seed, or a plain one where values are bounded or may be negative. Seeds have
their own noises, hence an interval over seeds holds the luck of the noises and that of training.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from scipy.special import stdtr

from ..significance import ERRORS, t_quantile

LEAST = 3
"""Seeds below which nothing is decided."""
LEVEL = 0.025
"""Of each one-sided test: the share of false "holds"."""
MOST = 200
"""Seeds beyond which it is not said how many would decide."""


class Outcome(StrEnum):
    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Interval:
    """Student's 95 % interval of the mean difference, mean ± half, over n seeds with standard deviation sd.

    noise: the paired jackknife's standard error of the mean, the luck of the noises alone: a few seeds may scatter
    little by chance, and half is at least two of it.
    """

    mean: float
    sd: float
    noise: float
    n: int

    @classmethod
    def of(cls, differences: Sequence[float], noise: float = 0.0) -> "Interval":
        n = len(differences)
        mean = math.fsum(differences) / n if n else math.nan
        sd = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1)) if n > 1 else math.nan
        return cls(mean, sd, 0.0 if math.isnan(noise) else noise, n)

    def half(self, n: int | None = None) -> float:
        """Half the width, with the present scatter and n seeds."""
        n = self.n if n is None else n
        if n < 2:
            return math.nan
        return max(t_quantile(n - 1) * self.sd / math.sqrt(n), ERRORS * self.noise * math.sqrt(self.n / n))

    @property
    def low(self) -> float:
        return self.mean - self.half()

    @property
    def high(self) -> float:
        return self.mean + self.half()

    def p_below(self, bound: float) -> float:
        """One-sided p of "the mean is not below the bound"."""
        if self.n < LEAST:
            return 1.0
        quantile = t_quantile(self.n - 1)
        error = self.half() / quantile
        if error == 0:
            return 0.0 if self.mean < bound else 1.0
        return float(stdtr(self.n - 1, (self.mean - bound) / error))


@dataclass(frozen=True)
class Decision:
    """p: one-sided, of "it does not hold". seeds: how many would decide at the present scatter, None if more than MOST
    would, or where it is decided."""

    outcome: Outcome
    interval: Interval
    p: float
    seeds: int | None = None


def less(interval: Interval, negligible: float) -> Decision:
    """Whether the mean difference is below 0; it does not hold once a gain of `negligible` is excluded.

    negligible: as a difference, above 0: -log(1 - share) for logarithms.
    """

    def rule(mean: float, half: float) -> Outcome:
        if mean + half < 0:
            return Outcome.HOLDS
        return Outcome.FAILS if mean - half > -negligible else Outcome.UNDECIDED

    return _decision(interval, rule, interval.p_below(0.0))


def within(interval: Interval, low: float, high: float) -> Decision:
    """Whether the mean difference lies between low and high: two one-sided tests; not, once the interval is beyond."""

    def rule(mean: float, half: float) -> Outcome:
        if low < mean - half and mean + half < high:
            return Outcome.HOLDS
        return Outcome.FAILS if mean - half > high or mean + half < low else Outcome.UNDECIDED

    mirrored = replace(interval, mean=-interval.mean)
    return _decision(interval, rule, max(interval.p_below(high), mirrored.p_below(-low)))


def _decision(interval: Interval, rule: Callable[[float, float], Outcome], p: float) -> Decision:
    if interval.n == 0:
        return Decision(Outcome.NOT_RUN, interval, 1.0)
    found = rule(interval.mean, interval.half()) if interval.n >= LEAST else Outcome.UNDECIDED
    seeds = None
    if found is Outcome.UNDECIDED and interval.n >= 2:
        counts = range(max(LEAST, interval.n + 1), MOST + 1)
        decided = (n for n in counts if rule(interval.mean, interval.half(n)) is not Outcome.UNDECIDED)
        seeds = next(decided, None)
    return Decision(found, interval, p, seeds)


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """Of tests that must all hold: no correction is needed, and one that does not hold decides."""
    for found in (Outcome.FAILS, Outcome.NOT_RUN, Outcome.UNDECIDED):
        if found in outcomes:
            return found
    return Outcome.HOLDS if outcomes else Outcome.NOT_RUN


def holm(p_values: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Which tests still hold when the chance of any false "holds" among them is at most `level` (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    found = [False] * len(p_values)
    for rank, i in enumerate(order):
        if p_values[i] > level / (len(p_values) - rank):
            break
        found[i] = True
    return found

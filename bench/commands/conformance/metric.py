"""Properties of metrics, on made-up features: what a value means, and that it depends on nothing that it should not."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ....methods.randomness import noise
from ...metrics import TooFew
from .properties import Failed, NotApplicable, described, require

ROWS, DIMENSIONS = 1100, 12
"""Enough rows for subsets of 1,000."""
ERROR = 1e-5
"""Relative: by how much the order of a sum may move a value."""


@dataclass(frozen=True)
class MetricUnderTest:
    """A metric under test.

    value(fake, reference) -> (value, what its protocol adds), both (N, D), or images (N, C, H, W) in [-1, 1] where
    it is paired. Raises TooFew. paired: row i of one is compared with row i of the other.
    compares: with a reference at all, rather than taken from the samples alone.
    """

    name: str
    summary: str
    higher_is_better: bool
    enough: int
    value: Callable[[Tensor, Tensor], tuple[float, str]]
    paired: bool = False
    compares: bool = True

    def data(self) -> tuple[Tensor, Tensor, Tensor]:
        """(reference, samples that are nearly right, noise)."""
        shape = (3, 8, 8) if self.paired else (DIMENSIONS,)
        count = 64 if self.paired else ROWS
        first, second, third = (noise(0, f"check-{k}", range(count), shape) for k in range(3))
        if self.paired:
            images = torch.tanh(first)
            return images, (images + 0.05 * second).clamp(-1, 1), torch.tanh(third)
        scale = torch.linspace(0.5, 2.0, DIMENSIONS)
        return scale * first, scale * second, 0.3 * third + 6

    @cached_property
    def values(self) -> dict[str, tuple[float, str]]:
        """What the metric says of near samples, of noise, and of the reference itself."""
        reference, near, far = self.data()
        return {name: self.value(x, reference) for name, x in (("near", near), ("noise", far), ("itself", reference))}

    def better(self, one: float, other: float) -> bool:
        return one > other if self.higher_is_better else one < other


def facts_are_usable(metric: MetricUnderTest) -> None:
    require(bool(metric.summary) and "\n" not in metric.summary, "its summary is not one line")
    require(metric.enough >= 0, f"enough is {metric.enough}: the number of samples below which a value says little")


def values_are_finite(metric: MetricUnderTest) -> None:
    for what in ("near", "noise"):
        value, _ = metric.values[what]
        require(isinstance(value, float), f"the value is a {type(value).__name__}: return a float")
        require(math.isfinite(value), f"for {what} samples the value is {value}")


def values_repeat(metric: MetricUnderTest) -> None:
    reference, near, _ = metric.data()
    one, other = metric.values["near"], metric.value(near, reference)
    require(one == other, f"the same samples have the values {one[0]:.8g} and {other[0]:.8g}: seed what it draws")


def order_is_forgotten(metric: MetricUnderTest) -> None:
    """The order of the samples changes nothing, unless the protocol says that it divides them."""
    reference, near, _ = metric.data()
    order = torch.randperm(len(near), generator=torch.Generator().manual_seed(0))
    value, setting = metric.values["near"]
    if "splits=" in setting or "subsets=" in setting:
        raise NotApplicable(f"its protocol says that it divides the samples: {setting}")
    shuffled, _ = metric.value(near[order], reference[order] if metric.paired else reference)
    same = math.isclose(value, shuffled, rel_tol=ERROR, abs_tol=ERROR)
    advice = "take every sample alike, or say `splits=` or `subsets=` in the protocol"
    require(same, f"the value is {value:.6g}, and {shuffled:.6g} with the samples in another order: {advice}")


def direction_is_right(metric: MetricUnderTest) -> None:
    """Samples like the reference are better than noise."""
    if not metric.compares:
        raise NotApplicable("it has no reference that samples could be like")
    good, bad = metric.values["near"][0], metric.values["noise"][0]
    way = "higher" if metric.higher_is_better else "lower"
    require(metric.better(good, bad), f"{way} is better, and noise has {bad:.4g}, good samples {good:.4g}")


def reference_is_best(metric: MetricUnderTest) -> None:
    """The reference beside itself is no worse than other good samples."""
    if not metric.compares:
        raise NotApplicable("it has no reference")
    itself, good = metric.values["itself"][0], metric.values["near"][0]
    require(not math.isnan(itself), "the reference beside itself has no value")
    slack = 0.05 * abs(good)
    worse = itself < good - slack if metric.higher_is_better else itself > good + slack
    require(not worse, f"the reference beside itself has {itself:.4g}, other samples {good:.4g}, which is better")


def too_few_are_refused(metric: MetricUnderTest) -> None:
    """One, two and three samples have a finite value, or are refused with TooFew: then the metric is skipped."""
    reference, near, _ = metric.data()
    for count in (1, 2, 3):
        try:
            value, _ = metric.value(near[:count], reference[:count] if metric.paired else reference)
        except NotApplicable:
            raise
        except TooFew as error:
            require("\n" not in str(error), "TooFew has several lines: say it in one")
        except Exception as error:
            raise Failed(f"of {count} samples it raises {described(error)}: raise TooFew") from None
        else:
            require(math.isfinite(value), f"of {count} samples the value is {value}: raise TooFew")


PROPERTIES: dict[str, Callable[[MetricUnderTest], None]] = {
    "its facts are usable": facts_are_usable,
    "values are finite floats": values_are_finite,
    "the same samples have the same value": values_repeat,
    "the order of the samples changes nothing": order_is_forgotten,
    "good samples are better than noise": direction_is_right,
    "the reference beside itself is best": reference_is_best,
    "too few samples are refused": too_few_are_refused,
}

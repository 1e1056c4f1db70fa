"""How a registered metric becomes one under test: its function on features that no network has made."""

from typing import Any

import torch
from torch import Tensor

from ....methods.assets import missing_lpips
from ...metrics.metric import LPIPS, PIXELS, Comparison, Metric
from .metric import MetricUnderTest
from .properties import NotApplicable


def under_test(metric: Metric) -> MetricUnderTest:
    """The metric, computed as the scoring stage does: see Comparison for what it is given."""

    def value(fake: Tensor, reference: Tensor) -> tuple[float, str]:
        if metric.features == LPIPS and (missing := missing_lpips()) is not None:
            raise NotApplicable(str(missing))
        # An image and its caption have a score, of which the first feature is as good as any.
        samples = fake[:, 0] if metric.captioned else fake
        found = metric.compute(Comparison(samples, compared(metric, reference)))
        return found.value, found.setting

    return MetricUnderTest(
        metric.name,
        metric.summary,
        metric.higher_is_better,
        metric.enough,
        value,
        paired=metric.features in (PIXELS, LPIPS),
        compares=metric.against not in ("nothing", "captions"),
    )


def compared(metric: Metric, reference: Tensor) -> Any:
    """What `Comparison.reference` holds for the metric's `against`."""
    if metric.against == "moments":
        return reference.double().mean(0).numpy(), torch.cov(reference.double().T).numpy()
    return reference if metric.against in ("rows", "truth") else None

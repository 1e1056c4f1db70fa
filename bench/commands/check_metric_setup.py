"""How a registered metric becomes one under test: its function on features that no network has made."""

from collections.abc import Callable

import torch
from torch import Tensor

from ...methods.assets import missing_lpips
from ...reports.measures import CLASSIFIER, LPIPS, PIXELS, Measure
from ..metrics import TooFew, class_coverage, frechet_distance, manifold_scores, scoring
from ..stages.score import PER_SAMPLE
from .check_metric import MetricUnderTest
from .check_properties import NotApplicable

Value = Callable[[Tensor, Tensor], tuple[float, str]]


def under_test(metric: Measure) -> MetricUnderTest:
    paired = metric.features in (PIXELS, LPIPS)
    compares = paired or metric.features == CLASSIFIER or bool(metric.against)
    return MetricUnderTest(
        metric.name, metric.summary, metric.higher_is_better, metric.enough, _value(metric), paired, compares
    )


def _value(metric: Measure) -> Value:
    if metric.features in (PIXELS, LPIPS):
        return lambda fake, truth: (_per_sample(metric, fake, truth), "")
    if metric.features == CLASSIFIER:
        return lambda fake, real: (_of_classifier(metric.name, fake, real), "")
    return lambda fake, real: _published(metric, fake, real)


def _per_sample(metric: Measure, fake: Tensor, truth: Tensor) -> float:
    if metric.features == LPIPS and (missing := missing_lpips()) is not None:
        raise NotApplicable(missing)
    return float(PER_SAMPLE[metric.name](fake, truth).mean())


def _of_classifier(name: str, fake: Tensor, real: Tensor) -> float:
    if name.startswith("fd_"):
        return frechet_distance(real, fake)
    if name == "class_coverage":
        return class_coverage(real.argmax(1), fake.argmax(1), real.shape[1])
    scores = manifold_scores(real.double(), fake.double(), scoring.NEIGHBOURS[name])
    return float(getattr(scores, name))


def _published(metric: Measure, fake: Tensor, real: Tensor) -> tuple[float, str]:
    if metric.captioned:
        raise NotApplicable("it is taken from images with their captions, by the network itself")
    moments = real.double().mean(0).numpy(), torch.cov(real.double().T).numpy()
    reference = scoring.Reference("made-up", {metric.array: moments}, "made-up", {metric.array: real})
    found = scoring.measured([metric.name], {metric.array: fake}, lambda name: reference, "made-up")[metric.name]
    if "skipped" in found:
        raise TooFew(found["skipped"])
    last = found["protocol"].rpartition("/")[2]
    return found["value"], last if "=" in last else ""

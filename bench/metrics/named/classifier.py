"""Metrics in the features of a small classifier that is trained on the data set, or of its classes. Not FID."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..metric import Comparison, Metric, Value

if TYPE_CHECKING:
    from torch import Tensor

    from ..manifold import ManifoldScores


def frechet(samples: Comparison) -> Value:
    from ..frechet import frechet_to_reference

    return Value(*frechet_to_reference(samples.reference, samples.fake, samples.blocks))


def _manifolds(real: "Tensor", fake: "Tensor", k: int) -> "ManifoldScores":
    """In float64, which keeps distances that are equal equal; these features are few."""
    from ..manifold import manifold_scores

    return manifold_scores(real.double(), fake.double(), k)


def neighbours(score: str, k: int) -> Callable[[Comparison], Value]:
    """The field `score` of ManifoldScores, k as in its paper; one pass serves all the scores of the same k."""

    def compute(samples: Comparison) -> Value:
        return Value(getattr(samples.once(_manifolds, k), score), setting=f"k={k}")

    return compute


def coverage_of_classes(samples: Comparison) -> Value:
    from ..classes import class_coverage

    real, fake = samples.reference, samples.fake
    return Value(class_coverage(real.argmax(1), fake.argmax(1), real.shape[1]))


METRICS = (
    Metric(
        name="fd_digits",
        display="FD (digits)",
        summary="Fréchet distance in the features of a small classifier of digits, not FID",
        features="classifier",
        array="features",
        compute=frechet,
        against="moments",
        enough=1000,
        log_scale=True,
        specific=True,
        papers=("heusel2017gans",),
    ),
    Metric(
        name="fd_cifar10",
        display="FD (CIFAR-10)",
        summary="the same on CIFAR-10, not FID",
        features="classifier",
        array="features",
        compute=frechet,
        against="moments",
        enough=5000,
        log_scale=True,
        specific=True,
        papers=("heusel2017gans",),
    ),
    Metric(
        name="precision",
        display="precision",
        summary="share of samples inside the manifold of real images, k = 3, same features",
        features="classifier",
        array="features",
        compute=neighbours("precision", k=3),
        fewest=4,
        against="rows",
        higher_is_better=True,
        enough=1000,
        pair="recall",
        papers=("kynkaanniemi2019improved",),
    ),
    Metric(
        name="recall",
        display="recall",
        summary="share of real images inside the manifold of samples, k = 3, same features",
        features="classifier",
        array="features",
        compute=neighbours("recall", k=3),
        fewest=4,
        against="rows",
        higher_is_better=True,
        enough=1000,
        pair="precision",
        papers=("kynkaanniemi2019improved",),
    ),
    Metric(
        name="density",
        display="density",
        summary="real balls that a sample lies in, mean over k = 5, same features",
        features="classifier",
        array="features",
        compute=neighbours("density", k=5),
        fewest=6,
        against="rows",
        higher_is_better=True,
        enough=1000,
        pair="coverage",
        papers=("naeem2020reliable",),
    ),
    Metric(
        name="coverage",
        display="coverage",
        summary="share of real images whose ball, k = 5, holds a sample, same features",
        features="classifier",
        array="features",
        compute=neighbours("coverage", k=5),
        fewest=6,
        against="rows",
        higher_is_better=True,
        enough=1000,
        pair="density",
        papers=("naeem2020reliable",),
    ),
    Metric(
        name="class_coverage",
        display="class coverage",
        summary="1 - total variation between the classes of samples and data, same classifier",
        features="classifier",
        array="logits",
        compute=coverage_of_classes,
        against="rows",
        higher_is_better=True,
        enough=500,
    ),
)

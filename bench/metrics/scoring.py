"""From features to numbers: every metric that published weights serve, each with its protocol."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...reports import jackknife
from ...reports.measures import MEASURES
from .. import published_files as weights
from . import (
    ManifoldScores,
    TooFew,
    cmmd,
    frechet_to_moments,
    inception_score,
    kernel_distance,
    kernel_distance_subsets,
    manifold_scores,
)
from .extractors import EXTRACTORS
from .extractors.network import FeatureNetwork
from .extractors.statistics import moments_of
from .moments import Features

BATCH = 64
"""Images at a time: some GPUs' features vary with it."""
SUBSET = 10_000
"""Reference images whose features are kept, for neighbours and kernels, as in guided-diffusion's reference files."""
NEIGHBOURS = {"precision": 3, "recall": 3, "density": 5, "coverage": 5}
"""The k of each score, as the papers that define them have it."""


@dataclass(frozen=True)
class Reference:
    """What images are compared with: by array, the moments of all (`name`) and features of some (`some`)."""

    name: str
    moments: dict[str, tuple[Any, Any]]
    some: str = ""
    features: dict[str, Tensor] = field(default_factory=dict)


def published(name: str, array: str) -> Reference:
    """Moments that somebody published, by the register's name or a path, as `references.published` has checked them."""
    path = weights.located(name)
    if path is None:
        raise FileNotFoundError(weights.missing(name))
    return Reference(f"{path.stem}@{weights.sha256(path)[:8]}", {array: moments_of(path, array)})


def extract(
    network: FeatureNetwork, images: Callable[[slice], Tensor], count: int, arrays: Iterable[str]
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """(indices, features by array on the CPU) of all images in batches; images(slice) is uint8 (B, C, H, W)."""
    wanted = set(arrays)
    for start in range(0, count, BATCH):
        rows = slice(start, min(count, start + BATCH))
        found = network(images(rows))
        yield torch.arange(rows.start, rows.stop), {name: found[name].cpu() for name in found.keys() & wanted}


def features_of(
    extractor: str,
    images: Callable[[slice], Tensor],
    count: int,
    arrays: Iterable[str],
    device: str,
    on_progress: Callable[[float], None],
) -> dict[str, Tensor]:
    """The features (N, D) of all images, by array."""
    gathered: dict[str, Features] = {}
    network = EXTRACTORS[extractor].load(device)
    for rows, found in extract(network, images, count, arrays):
        for name, part in found.items():
            gathered.setdefault(name, Features(count, part.shape[1])).update(part, rows)
        on_progress((int(rows[-1]) + 1) / count)
    return {name: features.compute() for name, features in gathered.items()}


def arrays_of(metrics: Iterable[str]) -> set[str]:
    """The outputs of their extractor that these metrics are taken from."""
    return {MEASURES[name].array for name in metrics}


def measured(
    metrics: Iterable[str], features: dict[str, Tensor], references: Callable[[str], Reference], setting: str
) -> dict[str, dict[str, Any]]:
    """{metric: {"value", "samples", "protocol", "without"}} of metrics that share an extractor.

    references(metric) is what it is compared with; `setting` what the protocol says of extractor and rounding. Fréchet
    distances have the values "without" each block of samples; a metric that so few samples do not have is {"skipped"}.
    """
    manifolds: dict[int, ManifoldScores] = {}

    def value(name: str) -> dict[str, Any]:
        array = MEASURES[name].array
        fake, found, extra, against = features[array], {}, "", "none"
        if MEASURES[name].against == "moments":
            reference = references(name)
            against = reference.name
            distance, without = frechet_to_moments(*reference.moments[array], fake, jackknife.bounds(len(fake)))
            found = {"value": distance, "without": without}
        elif MEASURES[name].against == "rows":
            reference = references(name)
            against = reference.some
            found["value"], extra = _of_rows(name, reference.features[array], fake, manifolds)
        elif name == "inception_score":
            found["value"], extra = inception_score(fake)[0], "/splits=10"
        else:
            found["value"] = float(fake.double().mean())
        return {**found, "samples": len(fake), "protocol": f"{name}/{setting}/{len(fake)}/{against}{extra}"}

    return {name: attempted(lambda name=name: value(name)) for name in metrics}  # type: ignore[misc]


def attempted(value: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The value, or {"skipped": why} where the metric is not defined for so few samples."""
    try:
        return value()
    except TooFew as error:
        return {"skipped": str(error)}


def _of_rows(name: str, real: Tensor, fake: Tensor, manifolds: dict[int, ManifoldScores]) -> tuple[float, str]:
    """(value, what else the protocol says); one pass over the neighbours serves all the scores of its k."""
    if name == "kid":
        return 1000 * kernel_distance(real, fake), "/all pairs"
    if name == "kid_subsets":
        return 1000 * kernel_distance_subsets(real, fake)[0], "/subsets=100x1000"
    if name == "cmmd":
        return cmmd(real, fake), "/sigma=10"
    score = name.removeprefix("inception_")
    k = NEIGHBOURS[score]
    if k not in manifolds:
        manifolds[k] = manifold_scores(real, fake, k)
    return getattr(manifolds[k], score), f"/k={k}"


def captioned(
    metric: str,
    images: Callable[[slice], Tensor],
    captions: Sequence[str],
    device: str,
    rounding: str,
    on_progress: Callable[[float], None],
) -> dict[str, Any]:
    """The mean score of images with their captions, as `measured` gives it; the protocol names the captions' hash."""
    extractor = EXTRACTORS[MEASURES[metric].features]
    network: Any = extractor.load(device)
    total = 0.0
    for start in range(0, len(captions), BATCH):
        rows = slice(start, min(len(captions), start + BATCH))
        total += float(network.score(images(rows), captions[rows]).double().sum())
        on_progress(rows.stop / len(captions))
    digits = hashlib.sha256("\n".join(captions).encode()).hexdigest()[:8]
    protocol = f"{metric}/{extractor.protocol()}/{rounding}/{len(captions)}/captions@{digits}"
    return {"value": total / len(captions), "samples": len(captions), "protocol": protocol}

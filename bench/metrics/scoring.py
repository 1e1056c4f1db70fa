"""From features to numbers: the value of every metric that is asked for, with its protocol."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .. import published_files
from .arrays import TooFew
from .extractors import EXTRACTORS
from .extractors.network import FeatureNetwork
from .extractors.statistics import moments_of
from .measured import Measured
from .metric import Comparison, Metric
from .moments import Features
from .register import METRICS

BATCH = 64
"""Images at a time: some GPUs' features vary with it."""
SUBSET = 10_000
"""Reference images whose features are kept, for neighbours and kernels, as in guided-diffusion's reference files."""


@dataclass(frozen=True)
class Reference:
    """What samples are compared with: by array, the moments of all real images (`name`) and features of some (`some`).

    `truth`, where there is one, holds the exact solutions (N, ...) from the samples' noises; `name` is then theirs. Of
    captions there is the `name` alone.
    """

    name: str
    moments: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    some: str = ""
    features: dict[str, Tensor] = field(default_factory=dict)
    truth: Tensor | None = None


@dataclass(frozen=True)
class Images8:
    """Images of 8 bits: read(slice) is uint8 (B, C, H, W); `rounding` says how they became 8 bits."""

    read: Callable[[slice], Tensor]
    count: int
    rounding: str


def published(name: str, array: str) -> Reference:
    """Moments that somebody published, by the register's name or a path, as `references.published` has checked them."""
    path = published_files.located(name)
    if path is None:
        raise FileNotFoundError(str(published_files.missing(name)))
    return Reference(f"{path.stem}@{published_files.sha256(path)[:8]}", {array: moments_of(path, array)})


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
    extractor: str, images: Images8, arrays: Iterable[str], device: str, on_progress: Callable[[float], None]
) -> dict[str, Tensor]:
    """The features (N, D) of all images, by array."""
    gathered: dict[str, Features] = {}
    network = EXTRACTORS[extractor].load(device)
    for rows, found in extract(network, images.read, images.count, arrays):
        for name, part in found.items():
            gathered.setdefault(name, Features(images.count, part.shape[1])).update(part, rows)
        on_progress((int(rows[-1]) + 1) / images.count)
    return {name: features.compute() for name, features in gathered.items()}


def arrays_of(metrics: Iterable[str]) -> set[str]:
    """The outputs of their extractor that these metrics are taken from."""
    return {METRICS[name].array for name in metrics}


def measured(
    metrics: Iterable[str], features: dict[str, Tensor], references: Callable[[str], Reference], setting: str
) -> dict[str, Measured]:
    """The values by metric, of metrics that share their features, by array.

    references(metric) is what it is compared with; `setting` what the protocol says of features and rounding.
    """
    shared: dict[str, dict[Any, Any]] = {}

    def value(metric: Metric) -> Measured:
        against, reference = _compared_with(metric, references)
        samples = Comparison(features[metric.array], reference, shared.setdefault(metric.array, {}))
        return _valued(metric, samples, setting, against)

    return {name: _attempted(lambda name=name: value(METRICS[name])) for name in metrics}  # type: ignore[misc]


def _compared_with(metric: Metric, references: Callable[[str], Reference]) -> tuple[str, Any]:
    """(what the protocol calls it, what `Comparison.reference` holds)."""
    if metric.against == "nothing":
        return "none", None
    reference = references(metric.name)
    if metric.against == "captions":
        return reference.name, None
    if metric.against == "moments":
        return reference.name, reference.moments[metric.array]
    if metric.against == "rows":
        return reference.some, reference.features[metric.array]
    return reference.name, reference.truth


def _valued(metric: Metric, samples: Comparison, setting: str, against: str) -> Measured:
    found, count = metric.compute(samples), len(samples.fake)
    protocol = "/".join([metric.name, setting, str(count), against, *([found.setting] if found.setting else [])])
    return Measured(value=found.value, samples=count, protocol=protocol, without=found.without)


def _attempted(value: Callable[[], Measured]) -> Measured:
    """The value, or why there is none where the metric is not defined for so few samples."""
    try:
        return value()
    except TooFew as error:
        return Measured(skipped=str(error))


def captioned(
    metric: str, images: Images8, captions: Sequence[str], device: str, on_progress: Callable[[float], None]
) -> Measured:
    """A score of images with their captions, as `measured` gives it; the protocol names the captions' hash."""
    extractor = EXTRACTORS[METRICS[metric].features]
    network: Any = extractor.load(device)
    scores = []
    for start in range(0, len(captions), BATCH):
        rows = slice(start, min(len(captions), start + BATCH))
        scores.append(network.score(images.read(rows), captions[rows]))
        on_progress(rows.stop / len(captions))
    digits = hashlib.sha256("\n".join(captions).encode()).hexdigest()[:8]
    setting = f"{extractor.protocol()}/{images.rounding}"
    return _valued(METRICS[metric], Comparison(torch.cat(scores)), setting, f"captions@{digits}")

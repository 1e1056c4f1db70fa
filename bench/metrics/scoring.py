"""From features to numbers: the value of every metric that is asked for, with its protocol."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from .. import published_files
from .arrays import TooFew
from .extractors import EXTRACTORS
from .extractors.network import FeatureNetwork
from .extractors.resize import lanczos
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


class Reader(Protocol):
    """What looks at every image once, batch by batch."""

    def take(self, rows: Tensor, images: Tensor) -> None:
        """rows: indices (B,); images uint8 (B, C, H, W)."""
        ...


class FeatureReader:
    """Gathers the features of all images by one extractor, by array: `features` are (N, D), on the CPU.

    side: images of other sizes are made squares of so many pixels first.
    """

    def __init__(self, extractor: str, arrays: Iterable[str], count: int, device: str, side: int | None = None) -> None:
        self.network, self.wanted, self.count = EXTRACTORS[extractor].load(device), set(arrays), count
        self.side = side
        self._gathered: dict[str, Features] = {}

    def take(self, rows: Tensor, images: Tensor) -> None:
        if self.side is not None and images.shape[-2:] != (self.side, self.side):
            images = lanczos(images, self.side, self.side)
        for name, part in self.network(images).items():
            if name in self.wanted:
                gathered = self._gathered.setdefault(name, Features(self.count, part.shape[1]))
                gathered.update(part.cpu(), rows)

    @property
    def features(self) -> dict[str, Tensor]:
        return {name: gathered.compute() for name, gathered in self._gathered.items()}


class CaptionReader:
    """Gathers the scores (N,) of all images with their captions by one extractor."""

    def __init__(self, extractor: str, captions: Sequence[str], device: str) -> None:
        self.extractor, self.captions = EXTRACTORS[extractor], captions
        self.network: Any = self.extractor.load(device)
        self._scores: list[Tensor] = []

    def take(self, rows: Tensor, images: Tensor) -> None:
        self._scores.append(self.network.score(images, [self.captions[row] for row in rows.tolist()]).cpu())

    def measured(self, metric: str, rounding: str) -> Measured:
        """As `measured` gives it; the protocol names the captions' hash."""
        scores = Comparison(torch.cat(self._scores))
        return _valued(METRICS[metric], scores, f"{self.extractor.protocol()}/{rounding}", identity(self.captions))


def identity(captions: Sequence[str]) -> str:
    """What the protocol calls the captions of some images."""
    digest = hashlib.sha256("\n".join(captions).encode()).hexdigest()
    return f"captions@{digest[:8]}"


def stream(images: Images8, readers: Iterable[Reader], on_progress: Callable[[float], None]) -> None:
    """Show every image to every reader; each is read once, and no more than a batch of them is in memory."""
    for start in range(0, images.count, BATCH):
        rows = range(start, min(images.count, start + BATCH))
        batch, indices = images.read(slice(rows.start, rows.stop)), torch.arange(rows.start, rows.stop)
        for reader in readers:
            reader.take(indices, batch)
        on_progress(rows.stop / images.count)


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

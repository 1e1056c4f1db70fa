"""From features to numbers: the value of every metric that is asked for, with its protocol."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from .. import published_files
from .arrays import TooFew
from .batch_size import batched
from .extractors import EXTRACTORS
from .extractors.network import FeatureNetwork
from .extractors.resize import lanczos
from .extractors.statistics import moments_of
from .frechet import Known
from .measured import Measured
from .metric import Comparison, Metric
from .moments import BlockMoments, Running
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
    return _published(path, published_files.sha256(path), array)


@lru_cache(maxsize=2)
def _published(path: Path, sha256: str, array: str) -> Reference:
    return Reference(f"{path.stem}@{sha256[:8]}", {array: Known(moments_of(path, array))})


def extract(
    network: FeatureNetwork, images: Callable[[slice], Tensor], count: int, arrays: Iterable[str]
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """(indices, features by array on the CPU) of all images in batches; images(slice) is uint8 (B, C, H, W)."""
    wanted = set(arrays)

    def features(rows: range) -> dict[str, Tensor]:
        found = network(images(slice(rows.start, rows.stop)))
        return {name: found[name].cpu() for name in found.keys() & wanted}

    for rows, found in batched("features", range(count), BATCH, features):
        yield torch.arange(rows.start, rows.stop), found


class Reader(Protocol):
    """What looks at every image once, batch by batch."""

    def take(self, rows: Tensor, images: Tensor) -> None:
        """rows: indices (B,); images uint8 (B, C, H, W)."""
        ...


class FeatureReader:
    """Gathers what metrics need of the features of all images by one extractor, in order: see `features`.

    side: images of other sizes are made squares of so many pixels first.
    """

    def __init__(
        self, extractor: str, metrics: Sequence[str], count: int, device: str, side: int | None = None
    ) -> None:
        self.network, self.wanted, self.count = EXTRACTORS[extractor].load(device), arrays_of(metrics), count
        self.side = side
        self._rows = arrays_of(name for name in metrics if not METRICS[name].of_moments)
        self._whole: dict[str, Tensor] = {}
        self._running: dict[str, Running] = {}

    @property
    def features(self) -> dict[str, Tensor | BlockMoments]:
        """By array, on the CPU: (N, D), or their moments where all metrics take these and they are smaller."""
        return {**self._whole, **{name: running.compute() for name, running in self._running.items()}}

    def take(self, rows: Tensor, images: Tensor) -> None:
        if self.side is not None and images.shape[-2:] != (self.side, self.side):
            images = lanczos(images, self.side, self.side)
        for part, found in batched("features", range(len(rows)), len(rows), lambda part: self._of(images, part)):
            for name, features in found.items():
                self._keep(name, rows[part.start : part.stop], features)

    def _keep(self, name: str, rows: Tensor, features: Tensor) -> None:
        size = self.count, features.shape[1]
        if not features.isfinite().all():
            raise ValueError("features hold values that are not finite")
        if name not in self._rows and Running.smaller(*size):
            self._running.setdefault(name, Running(*size)).update(features)
        else:
            self._whole.setdefault(name, torch.empty(size))[rows] = features

    def _of(self, images: Tensor, rows: range) -> dict[str, Tensor]:
        found = self.network(images[rows.start : rows.stop])
        return {name: part.cpu() for name, part in found.items() if name in self.wanted}


class CaptionReader:
    """Gathers the scores (N,) of all images with their captions by one extractor."""

    def __init__(self, extractor: str, captions: Sequence[str], device: str) -> None:
        self.extractor, self.captions = EXTRACTORS[extractor], captions
        self.network: Any = self.extractor.load(device)
        self._scores = torch.empty(0)

    def take(self, rows: Tensor, images: Tensor) -> None:
        for part, scores in batched(
            "captioned images", range(len(rows)), len(rows), lambda few: self._of(rows, images, few)
        ):
            if not len(self._scores):
                self._scores = scores.new_empty(len(self.captions))
            self._scores[rows[part.start : part.stop]] = scores

    def _of(self, rows: Tensor, images: Tensor, part: range) -> Tensor:
        captions = [self.captions[row] for row in rows[part.start : part.stop].tolist()]
        scores: Tensor = self.network.score(images[part.start : part.stop], captions)
        return scores.cpu()

    def measured(self, metric: str, rounding: str) -> Measured:
        """As `measured` gives it; the protocol names the captions' hash."""
        scores = Comparison(self._scores)
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
    metrics: Iterable[str],
    features: Mapping[str, Tensor | BlockMoments],
    references: Callable[[str], Reference],
    setting: str,
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

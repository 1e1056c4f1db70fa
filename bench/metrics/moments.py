"""Features of samples that many processes draw: their moments, or the features themselves, by the samples' indices."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ...reports.jackknife import BLOCKS, bounds
from .frechet import frechet_to, frechet_to_reference


class BlockMoments:
    """Count, sum of x and sum of x x^T of each of K blocks of samples: (K,), (K, D), (K, D, D), float64.

    Of x - centre, where there is one: products far from the origin lose digits.
    """

    def __init__(self, counts: Tensor, sums: Tensor, products: Tensor, centre: Tensor | None = None) -> None:
        self.counts, self.sums, self.products = counts, sums, products
        self.centre = torch.zeros_like(sums[0]) if centre is None else centre
        self._whole = counts.sum(), sums.sum(0), products.sum(0)

    def __len__(self) -> int:
        return int(self._whole[0])

    @property
    def mean(self) -> Tensor:
        return self._moments(*self._whole)[0]

    @property
    def cov(self) -> Tensor:
        """Divides by N - 1."""
        return self._moments(*self._whole)[1]

    def rests(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Mean and covariance without each block, in turn: what the jackknife takes."""
        count, total, products = self._whole
        for i in range(len(self.counts)):
            yield self._moments(count - self.counts[i], total - self.sums[i], products - self.products[i])

    def _moments(self, count: Tensor, total: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
        mean = total / count
        return self.centre + mean, (products - count * torch.outer(mean, mean)) / (count - 1)


class Running:
    """The moments of features (N, D) that arrive in the order of the samples, in the jackknife's blocks.

    It takes 8 K D^2 bytes, whatever N.
    """

    def __init__(self, samples: int, dimensions: int, blocks: int = BLOCKS) -> None:
        self.ends = torch.tensor([last for _, last in bounds(samples, blocks)])
        self.sums = torch.zeros(len(self.ends), dimensions, dtype=torch.float64)
        self.products = torch.zeros(len(self.ends), dimensions, dimensions, dtype=torch.float64)
        self.centre: Tensor | None = None
        self.seen = 0

    @staticmethod
    def smaller(samples: int, dimensions: int) -> bool:
        """Whether they take less memory than the features in float32. Then there are more samples than dimensions."""
        return 2 * BLOCKS * dimensions < samples

    def update(self, features: Tensor) -> None:
        """The features (B, D) of the next B samples."""
        x = features.double()
        if self.centre is None:
            self.centre = x.mean(0)
        x -= self.centre
        members = torch.bucketize(torch.arange(self.seen, self.seen + len(x)), self.ends, right=True)
        for block in members.unique().tolist():
            part = x[members == block]
            self.sums[block] += part.sum(0)
            self.products[block].addmm_(part.T, part)
        self.seen += len(x)

    def compute(self) -> BlockMoments:
        assert self.seen == self.ends[-1]
        counts = self.ends.diff(prepend=self.ends.new_zeros(1))
        return BlockMoments(counts.to(self.sums), self.sums, self.products, self.centre)


def frechet_of(
    fake: Tensor | BlockMoments, reference: tuple[Any, Any], blocks: list[tuple[int, int]]
) -> tuple[float, list[float]]:
    """`frechet_to_reference` of features (N, D), or of their moments in the same blocks."""
    if isinstance(fake, BlockMoments):
        whole, *without = frechet_to(reference, chain([(fake.mean, fake.cov)], fake.rests()))
        return whole, without
    return frechet_to_reference(reference, fake, blocks)


class Moments(Metric):
    """The moments of features (N, D) in blocks of samples, without the features: an FID and its jackknife.

    A sample's block follows from its index, so that batches, their order and processes do not matter. The products
    take 8 K D^2 bytes, 0.7 GB for K = 20 blocks of 2048 dimensions: held twice, as torchmetrics keeps the zeros for
    reset(), and twice more for each process while they are summed.
    """

    is_differentiable = False
    full_state_update = False
    sums: Tensor
    products: Tensor
    seen: Tensor

    def __init__(self, samples: int, dimensions: int, blocks: int = BLOCKS, **options: Any) -> None:
        super().__init__(**options)
        edges = bounds(samples, blocks)
        self.samples = samples
        self.last = torch.tensor([last for _, last in edges])
        sums = torch.zeros(len(edges), dimensions, dtype=torch.float64)
        products = torch.zeros(len(edges), dimensions, dimensions, dtype=torch.float64)
        self.add_state("sums", sums, dist_reduce_fx="sum")
        self.add_state("products", products, dist_reduce_fx="sum")
        self.add_state("seen", torch.zeros(samples, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, features: Tensor, rows: Tensor) -> None:
        """features (B, D) of the samples with the indices rows (B,) in [0, samples)."""
        features, rows = _checked(features, rows, self.samples, self.sums.shape[1])
        self.seen.index_add_(0, rows.to(self.seen.device), torch.ones_like(rows, device=self.seen.device))
        members = torch.bucketize(rows, self.last.to(rows.device), right=True)
        for block in members.unique().tolist():
            x = features[members == block].double()
            self.sums[block] += x.sum(0)
            self.products[block].addmm_(x.T, x)

    def compute(self) -> BlockMoments:
        """Of all processes. Raises ValueError unless each sample was seen once: moments cannot drop a repetition."""
        if not (self.seen == 1).all():
            missing, repeated = int((self.seen == 0).sum()), int((self.seen > 1).sum())
            raise ValueError(f"moments of {self.samples} samples: {missing} are missing, {repeated} were repeated")
        counts = self.last.diff(prepend=self.last.new_zeros(1))
        return BlockMoments(counts.to(self.sums), self.sums, self.products)


class Features(Metric):
    """Features (N, D) in the order of the samples, whoever computed them; of repetitions, one is kept."""

    is_differentiable = False
    full_state_update = False
    features: list[Tensor]
    rows: list[Tensor]

    def __init__(self, samples: int, dimensions: int, dtype: torch.dtype = torch.float32, **options: Any) -> None:
        super().__init__(**options)
        self.samples, self.dimensions, self.of_dtype = samples, dimensions, dtype
        self.add_state("features", [], dist_reduce_fx="cat")
        self.add_state("rows", [], dist_reduce_fx="cat")
        self.reset()

    def update(self, features: Tensor, rows: Tensor) -> None:
        """features (B, D) of the samples with the indices rows (B,) in [0, samples)."""
        features, rows = _checked(features, rows, self.samples, self.dimensions)
        self.features.append(features.to(self.of_dtype))
        self.rows.append(rows)

    def reset(self) -> None:
        super().reset()
        # A process without a batch takes part in the gathering with an array of the others' shape and dtype.
        self.features.append(torch.empty(0, self.dimensions, dtype=self.of_dtype, device=self.device))
        self.rows.append(torch.empty(0, dtype=torch.int64, device=self.device))

    def compute(self) -> Tensor:
        """Of all processes, (N, D). Raises ValueError if a sample is missing."""
        features, rows = (part if isinstance(part, Tensor) else torch.cat(part) for part in (self.features, self.rows))
        order = rows.argsort(stable=True)
        first = torch.ones_like(order, dtype=torch.bool)
        first[1:] = rows[order][1:] != rows[order][:-1]
        if int(first.sum()) != self.samples:
            raise ValueError(f"features of {self.samples} samples: {self.samples - int(first.sum())} are missing")
        return features[order[first]]


def _checked(features: Tensor, rows: Tensor, samples: int, dimensions: int) -> tuple[Tensor, Tensor]:
    if features.ndim != 2 or features.shape[1] != dimensions or rows.shape != features.shape[:1]:
        raise ValueError(
            f"features {tuple(features.shape)} of rows {tuple(rows.shape)} are not (B, {dimensions}), (B,)"
        )
    if not features.isfinite().all():
        raise ValueError("features hold values that are not finite")
    if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= samples):
        raise ValueError(f"rows must be indices below {samples}")
    return features.detach(), rows.detach().to(torch.int64)

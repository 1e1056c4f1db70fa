"""Data sets that break a promise of the conformance kit."""

import torch

from fewstep.datasets.base import ImageSet
from fewstep.datasets.registry import DatasetSpec

COUNT, CLASSES = 40, 4


class Whitened(ImageSet):
    """Its samples depend on the batch that they are in."""

    def samples(self, indices):
        x0 = super().samples(indices)
        return (x0 - x0.mean(0)).clamp(-1, 1)


def _images():
    return torch.randint(256, (COUNT, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def right():
    return ImageSet("right", _images(), torch.arange(COUNT) % CLASSES, classes=CLASSES)


def whitened():
    return Whitened("whitened", _images(), torch.arange(COUNT) % CLASSES, classes=CLASSES)


def counted_from_one():
    return ImageSet("counted-from-one", _images(), 1 + torch.arange(COUNT) % CLASSES, classes=CLASSES)


def spec(name: str) -> DatasetSpec:
    """The data set as a package would announce it."""
    target = f"{__name__}:{name.replace('-', '_')}"
    return DatasetSpec(name, target, "forty random images", (1, 8, 8), COUNT, (), classes=CLASSES)

"""The feature networks of fd_digits and fd_cifar10: small classifiers, and how they are trained on part of the data."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..methods.randomness import generator
from .base import ImageSet


class Classifier(nn.Module):
    """x (B, C, H, W) in [-1, 1] -> `features` (B, D) after ReLU, and logits (B, classes)."""

    def __init__(self, body: nn.Sequential, features: int, classes: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(features, classes)

    def features(self, x: Tensor) -> Tensor:
        return self.body(x)

    def logits(self, features: Tensor) -> Tensor:
        return self.head(features)

    def right(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Whether the likeliest class is that of labels (B,), bool (B,)."""
        return logits.argmax(1) == labels

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def digits_classifier() -> Classifier:
    """64 features of 8x8 images."""
    return Classifier(
        nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(64 * 16, 64),
            nn.ReLU(),
        ),
        features=64,
        classes=10,
    )


def cifar10_classifier() -> Classifier:
    """128 features of 32x32 images: four convolutions, each halving the side, the mean over what is left, one layer."""
    layers: list[nn.Module] = []
    width = 3
    for wider in (32, 64, 128, 128):
        layers += [nn.Conv2d(width, wider, 3, padding=1), nn.BatchNorm2d(wider), nn.ReLU(), nn.MaxPool2d(2)]
        width = wider
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(width, 128), nn.ReLU()]
    return Classifier(nn.Sequential(*layers), features=128, classes=10)


@dataclass(frozen=True)
class Recipe:
    """A data set's classifier and how it is trained; `held_out` images, a fifth at most, tell how accurate it is."""

    build: Callable[[], Classifier]
    epochs: float
    held_out: int
    batch: int = 128
    learning_rate: float = 4e-3

    def options(self) -> dict[str, float]:
        """The numbers of the recipe, for the record."""
        return {
            "epochs": self.epochs,
            "held_out": self.held_out,
            "batch": self.batch,
            "learning_rate": self.learning_rate,
        }

    def steps(self, images: int) -> int:
        return max(1, round(self.epochs * images / self.batch))

    def split(self, data: ImageSet) -> tuple[Tensor, Tensor]:
        """(training rows, held-out rows), a fixed permutation."""
        order = torch.randperm(len(data), generator=generator(0, f"{data.name}-split"))
        held_out = min(self.held_out, len(data) // 5 + 1)
        return order[held_out:], order[:held_out]

    def parts(self, data: ImageSet) -> tuple[ImageSet, ImageSet]:
        """(what is trained on, what is held out)."""
        images, labels = data.images, data.targets
        assert labels is not None
        training, held_out = (
            ImageSet(f"{data.name}-{part}", images[rows], labels[rows], data.max_value, data.classes)
            for part, rows in zip(("train", "held-out"), self.split(data), strict=True)
        )
        return training, held_out


DIGITS = Recipe(digits_classifier, epochs=26.7, held_out=360)
CIFAR10 = Recipe(cifar10_classifier, epochs=5, held_out=5000)

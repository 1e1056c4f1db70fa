"""Scorers of images with captions: two small encoders to one sphere, and how they are trained (Radford et al. 2021)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..methods.text_encoder import TextEncoder, tokens
from . import scenes
from .base import ImageSet

WIDTH = 64
"""Of the sphere."""


class Scorer(nn.Module):
    """Images and captions as unit vectors, near one another where an image shows what a caption says.

    captions: of the data set, by row. meanings: rows (N,) int64 -> what each says, int64.
    """

    tokens: Tensor

    def __init__(self, body: nn.Sequential, captions: tuple[str, ...], meanings: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.text = body, TextEncoder(WIDTH)
        self.meanings = meanings
        self.register_buffer("tokens", tokens(captions), persistent=False)

    def features(self, x: Tensor) -> Tensor:
        """Unit vectors (B, WIDTH) of x (B, C, H, W) in [-1, 1]."""
        return nn.functional.normalize(self.body(x))

    def captions(self, rows: Tensor) -> Tensor:
        """Unit vectors (B, WIDTH) of the captions of rows (B,) int64."""
        return nn.functional.normalize(self.text(self.tokens[rows]))

    def logits(self, features: Tensor) -> Tensor:
        """The cosine of features (B, WIDTH) with each caption, (B, captions)."""
        return features @ self.captions(torch.arange(len(self.tokens), device=features.device)).T

    def right(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Whether the nearest caption says what the caption of rows (B,) says, bool (B,)."""
        return self.meanings(logits.argmax(1)) == self.meanings(rows)


def scenes_scorer() -> Scorer:
    """Of 16x16 images: two convolutions, two more at half the side, and two layers."""
    body = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 16, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Linear(128, WIDTH),
    )
    return Scorer(body, scenes.PROMPTS, scenes.meanings)


@dataclass(frozen=True)
class ScorerRecipe:
    """A data set's scorer and how it is trained; the pictures of `held_out` tell how well it reads.

    noise: standard deviation of what is added to images. temperature: by which cosines are divided.
    """

    build: Callable[[], Scorer]
    held_out: Callable[[], ImageSet]
    training_steps: int
    batch: int = 128
    learning_rate: float = 4e-3
    noise: float = 0.1
    temperature: float = 0.05

    def options(self) -> dict[str, float]:
        """The numbers of the recipe, for the record."""
        return {
            "steps": self.training_steps,
            "batch": self.batch,
            "learning_rate": self.learning_rate,
            "noise": self.noise,
            "temperature": self.temperature,
        }

    def steps(self, images: int) -> int:
        return self.training_steps

    def parts(self, data: ImageSet) -> tuple[ImageSet, ImageSet]:
        """(what is trained on: all of the data, what is held out)."""
        return data, self.held_out()


SCENES = ScorerRecipe(scenes_scorer, scenes.held_out, training_steps=600)

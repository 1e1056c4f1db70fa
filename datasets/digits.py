"""scikit-learn's handwritten digits (Alpaydin & Kaynak 1998): 1797 real 8x8 images, part of the library."""

import numpy as np
import torch

from ..methods.randomness import generator
from .base import ImageSet

HELD_OUT = 360
"""Images kept from the classifier that measures fd_digits, so that its accuracy can be stated."""


def digits() -> ImageSet:
    """All 1797 images; pixel values are 0..16."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images.astype(np.uint8))[:, None]
    return ImageSet("digits", images, torch.from_numpy(bunch.target.astype(np.int64)), max_value=16, classes=10)


def split(data: ImageSet) -> tuple[torch.Tensor, torch.Tensor]:
    """(training rows, held-out rows), a fixed permutation."""
    order = torch.randperm(len(data), generator=generator(0, "digits-split"))
    return order[HELD_OUT:], order[:HELD_OUT]

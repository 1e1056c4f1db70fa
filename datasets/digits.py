"""scikit-learn's handwritten digits (Alpaydin & Kaynak 1998): 1797 real 8x8 images, part of the library."""

import numpy as np
import torch

from .base import ImageSet


def digits() -> ImageSet:
    """All 1797 images; pixel values are 0..16."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images.astype(np.uint8))[:, None]
    return ImageSet("digits", images, torch.from_numpy(bunch.target.astype(np.int64)), max_value=16, classes=10)

"""In which form samples are kept. No torch."""

import math

from ...datasets.registry import DatasetSpec

# What is decided is a parameter of the samples' task.
PART_OF_RESULTS = False

LARGE = 2**30
"""Bytes of a cell's samples in float32 up to which they are kept so."""
OF_IMAGES = {"classifier", "scorer", "perceptual", "published"}
"""Groups of metrics that only images have."""


def in_8_bits(data: DatasetSpec, count: int, latent: bool) -> bool:
    """Whether so many samples of the data are kept in 8 bits: images that would be too large in float32.

    Latents and samples of a known law are no images. The metrics that a suite asks for do not matter: others, asked for
    later, are taken from the same samples.
    """
    images = not latent and len(data.shape) == 3 and not OF_IMAGES.isdisjoint(data.metrics)
    return images and "law" not in data.metrics and 4 * math.prod(data.shape) * count > LARGE

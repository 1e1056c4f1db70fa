"""Which caption a sample is drawn from."""

from torch import Tensor

from .archive import ArchivedSet
from .base import shuffled


def draw_captions(data: ArchivedSet, seed: int, indices: Tensor) -> list[str]:
    """The caption of each of the samples `indices` of `seed`: a function of (seed, index) alone.

    Each run through the frozen list is a permutation, so that as many samples as there are captions use each once.
    """
    return data.captions(shuffled(indices, len(data.prompts), seed, "captions"))

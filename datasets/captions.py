"""Which caption a sample is drawn from."""

from typing import Protocol

import torch
from torch import Tensor

from ..methods.randomness import generator


class Captioned(Protocol):
    """A data set with a frozen list of captions."""

    @property
    def prompts(self) -> tuple[str, ...]: ...

    def captions(self, indices: Tensor) -> list[str]: ...


def caption_rows(data: Captioned, seed: int, indices: Tensor) -> Tensor:
    """The places (len(indices),) in the frozen list of samples `indices`: a function of (seed, index) alone.

    Each run through the list is a permutation, so that as many samples as there are captions use each once.
    """
    count = len(data.prompts)
    rows = torch.empty_like(indices)
    rounds = indices // count
    for turn in rounds.unique().tolist():
        order = torch.randperm(count, generator=generator(seed, "captions", turn))
        here = rounds == turn
        rows[here] = order[indices[here] % count]
    return rows


def draw_captions(data: Captioned, seed: int, indices: Tensor) -> list[str]:
    """The caption of each of the samples `indices`."""
    return data.captions(caption_rows(data, seed, indices))

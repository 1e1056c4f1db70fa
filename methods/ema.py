"""Exponential moving averages of weights."""

import copy
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn

Weights = list[Tensor] | tuple[Tensor, ...]
Update = Callable[[Weights, Weights, int], None]
"""(average, current, updates so far): p <- some mean of p and q."""


class Paired:
    """A network that follows another of the same shape, and the pairs of their tensors.

    They are listed once, when they are first asked for: walking the modules takes longer than an average itself.
    """

    def __init__(self, average: nn.Module, model: nn.Module) -> None:
        self.average, self.model = average, model

    @cached_property
    def weights(self) -> tuple[Weights, Weights]:
        return list(self.average.parameters()), list(self.model.parameters())

    @cached_property
    def buffers(self) -> tuple[Weights, Weights]:
        return list(self.average.buffers()), list(self.model.buffers())

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """p <- m p + (1 - m) q from the very first update, with a decay of the moment: a target network's update."""
        average, current = self.weights
        torch._foreach_lerp_(average, current, 1 - decay)


class Average(nn.Module):
    """A frozen average, `module`, of the weights of a model after each of `n_averaged` optimiser steps.

    As torch's AveragedModel without `use_buffers`: the first update copies the model, `rule` makes the later ones,
    and buffers are copied each time. The count is a number of the host's, so that no update waits for a device.
    """

    def __init__(self, model: nn.Module, rule: Update) -> None:
        super().__init__()
        self.module = copy.deepcopy(model).requires_grad_(False).eval()
        self.rule, self.n_averaged = rule, 0
        self._pair: Paired | None = None

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        if self._pair is None or self._pair.model is not model:
            self._pair = Paired(self.module, model)
        average, current = self._pair.weights
        if self.n_averaged:
            self.rule(average, current, self.n_averaged)
        else:
            torch._foreach_copy_(average, current)
        buffers, sources = self._pair.buffers
        if buffers:
            torch._foreach_copy_(buffers, sources)
        self.n_averaged += 1

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Average":
        """A move to another device replaces buffers."""
        self._pair = None
        return super()._apply(fn, recurse)

    def get_extra_state(self) -> int:
        return self.n_averaged

    def set_extra_state(self, state: int) -> None:
        self.n_averaged = state


def ema(decay: float) -> Update:
    """p <- m p + (1 - m) q."""

    @torch.no_grad()
    def update(average: Weights, current: Weights, _: int) -> None:
        torch._foreach_lerp_(average, current, 1 - decay)

    return update


def ramped_ema(decay: float) -> Update:
    """As `ema`, with m = min(decay, (1 + i)/(10 + i)) at update i, so that short runs forget their start."""

    @torch.no_grad()
    def update(average: Weights, current: Weights, count: int) -> None:
        torch._foreach_lerp_(average, current, 1 - min(decay, (1 + count) / (10 + count)))

    return update


def bias_corrected_ema(decay: float) -> Update:
    """p <- p + (1 - m)/(1 - m^k) (q - p) at update k = 1, 2, ... (Berthelot et al. 2023, apple/ml-tract).

    So p = sum_j (1 - m) m^(k - j) q_j/(1 - m^k): what it started from is forgotten at k = 1.
    """

    @torch.no_grad()
    def update(average: Weights, current: Weights, count: int) -> None:
        k = count + 1
        torch._foreach_lerp_(average, current, (1 - decay) / (1 - decay**k))

    return update


def halflife_decay(images: float, halflife: float, batch: int, ramp: float | None = None) -> float:
    """m = 0.5^(batch/h), h = min(halflife, ramp * images): EDM's training code (Karras et al. 2022), and SiD's.

    halflife is in images, of which `images` have been seen; without a ramp h is halflife from the start.
    """
    h = halflife if ramp is None else min(halflife, ramp * images)
    return 0.5 ** (batch / max(h, 1e-8))


def halflife_ema(halflife: float, batch: int, ramp: float | None = None) -> Update:
    """p <- m p + (1 - m) q with `halflife_decay` of the images seen before this update."""

    @torch.no_grad()
    def update(average: Weights, current: Weights, count: int) -> None:
        decay = halflife_decay(count * batch, halflife, batch, ramp)
        torch._foreach_lerp_(average, current, 1 - decay)

    return update

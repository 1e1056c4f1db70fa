"""Exponential moving averages of weights, on torch's AveragedModel."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Weights = list[Tensor] | tuple[Tensor, ...]
Update = Callable[[Weights, Weights, Tensor | int], None]


def averaged(model: nn.Module, update: Update) -> AveragedModel:
    """A frozen average of `model`, to be updated with `.update_parameters(model)` after each optimiser step."""
    average = AveragedModel(model, multi_avg_fn=update, use_buffers=False)
    return average.requires_grad_(False).eval()


def ema(decay: float) -> Update:
    """p <- m p + (1 - m) q; at the first update p is q itself."""

    @torch.no_grad()
    def update(average: Weights, current: Weights, _: Tensor | int) -> None:
        torch._foreach_lerp_(average, current, 1 - decay)

    return update


def ramped_ema(decay: float) -> Update:
    """As `ema`, with m = min(decay, (1 + i)/(10 + i)) at update i, so that short runs forget their start."""

    @torch.no_grad()
    def update(average: Weights, current: Weights, count: Tensor | int) -> None:
        i = int(count)
        torch._foreach_lerp_(average, current, 1 - min(decay, (1 + i) / (10 + i)))

    return update

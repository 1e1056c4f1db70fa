"""Exponential moving averages of weights, on torch's AveragedModel."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Weights = list[Tensor] | tuple[Tensor, ...]
Update = Callable[[Weights, Weights, Tensor | int], None]


def averaged(model: nn.Module, update: Update) -> AveragedModel:
    """A frozen average of `model`, to be updated with `.update_parameters(model)` after each optimiser step.

    The first update copies the model; `update` (average, current, updates so far) makes the later ones.
    """
    average = AveragedModel(model, multi_avg_fn=update, use_buffers=False)
    return average.requires_grad_(False).eval()


def ema(decay: float) -> Update:
    """p <- m p + (1 - m) q."""

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


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """p <- m p + (1 - m) q from the very first update, with a decay of the moment: a target network's update."""
    torch._foreach_lerp_(list(average.parameters()), [p.detach() for p in model.parameters()], 1 - decay)


def bias_corrected_ema(decay: float) -> Update:
    """p <- p + (1 - m)/(1 - m^k) (q - p) at update k = 1, 2, ... (Berthelot et al. 2023, apple/ml-tract).

    So p = sum_j (1 - m) m^(k - j) q_j/(1 - m^k): what it started from is forgotten at k = 1.
    """

    @torch.no_grad()
    def update(average: Weights, current: Weights, count: Tensor | int) -> None:
        k = int(count) + 1
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
    def update(average: Weights, current: Weights, count: Tensor | int) -> None:
        decay = halflife_decay(int(count) * batch, halflife, batch, ramp)
        torch._foreach_lerp_(average, current, 1 - decay)

    return update

"""Adam, fused, without what its step gathers anew each time."""

from typing import Any

import torch
from torch import Tensor


class Adam(torch.optim.Adam):
    """torch.optim.Adam(fused=True) to the bit.

    The lists of weights, moments and counts are kept from step to step: for a network of a hundred small tensors
    gathering them takes as long as the update.
    """

    def __init__(self, params: Any, lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        super().__init__(params, lr, betas=betas, fused=True)
        self._kept: dict[int, tuple[list[Tensor], ...]] = {}

    def _init_group(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        grads: list[Tensor],
        exp_avgs: list[Tensor],
        exp_avg_sqs: list[Tensor],
        max_exp_avg_sqs: list[Tensor],
        steps: list[Tensor],
    ) -> bool:
        """Fill the lists with what the step works on; torch's own way where that is new, or a gradient is missing."""
        lists, weights = (params, exp_avgs, exp_avg_sqs, steps), group["params"]
        gradients = [p.grad for p in weights]
        kept = self._kept.get(id(weights))
        is_same = kept is not None and self.state.get(weights[0], {}).get("exp_avg") is kept[1][0]
        if kept is None or not is_same or any(g is None for g in gradients):
            has_complex: bool = super()._init_group(group, params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, steps)
            if len(params) == len(weights):
                self._kept[id(weights)] = tuple(list(one) for one in lists)
            return has_complex
        for own, before in zip(lists, kept, strict=True):
            own += before
        grads += gradients
        return False

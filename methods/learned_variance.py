"""Networks that say the variance of a reverse step (nichol2021improved, arXiv:2102.09672, section 3.1)."""

import torch
from torch import Tensor

from .denoiser import X0_FROM, Condition, NetworkDenoiser


class LearnedVariance(NetworkDenoiser):
    """A network whose output has twice the channels: the prediction, and v of eq. 15 in [-1, 1] by training alone.

    Solvers that add no noise of that variance ask for the prediction, for the same forward.
    """

    predicts_variance = True

    def predict_moments(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        prediction, v = super()._output(x, t, condition).chunk(2, dim=1)
        return torch.stack([X0_FROM[self.prediction](self.path, x, prediction, t), (v + 1) / 2])

    def _output(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return super()._output(x, t, condition).chunk(2, dim=1)[0]

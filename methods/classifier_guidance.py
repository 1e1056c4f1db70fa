"""Classifier guidance (dhariwal2021diffusion, arXiv:2105.05233, section 4.2 and algorithm 2).

eps <- eps - w sigma grad_x log p(y | x, t), with a classifier p that was trained on noisy samples.
"""

import operator
from collections.abc import Callable

import torch
from torch import Tensor, nn

from . import meter
from .denoiser import Condition, Denoiser, Wrapper
from .paths import Path, expand
from .scalings import parameter_dtype, time_dtype


class NoisyClassifier(nn.Module):
    """log p(y | x, t) of a network (x, label) -> logits (B, classes), trained on noisy samples of `path`.

    The network's x is at the scale of `path`, in the network's dtype; its label is `time_of` the path's t (B,).
    """

    def __init__(self, network: nn.Module, path: Path, time_of: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.path, self.time_of = network, path, time_of

    def identity(self) -> str:
        """How the weights are read, in so far as it makes another classifier of them."""
        t_max = torch.tensor(self.path.t_max, dtype=torch.float64)
        return f"classifier on {self.path!r}, told {float(self.time_of(t_max)):.9g}"

    def log_probability(self, x: Tensor, alpha: Tensor, level: Tensor, labels: Tensor) -> Tensor:
        """(B,) for x (B, ...) = alpha x0 + sigma eps and labels (B,); alpha and level = sigma/alpha are () or (B,)."""
        t = self.path.time_at(level)
        own = (expand(self.path.alpha(t) / alpha, x) * x).to(parameter_dtype(self.network, x))
        logits = self.network(own, self.time_of(t).to(time_dtype(self.network, own.dtype)).expand(len(x)))
        return logits.log_softmax(1).gather(1, labels[:, None])[:, 0]


class ClassifierGuided(Wrapper):
    """D + w sigma^2/alpha grad_x log p(y | x, t), w = `scale`: eps moved as above.

    One evaluation (NFE) is one forward of the denoiser's network, and a forward and a backward of the classifier, whose
    FLOPs a budget is charged beside it. The condition is a label (B,) int64; without one nothing is guided. The
    denoiser itself may know no labels: `class_counts` then says with which to sample.
    """

    def __init__(self, denoiser: Denoiser, classifier: NoisyClassifier, scale: float) -> None:
        super().__init__(denoiser, denoiser.path)
        self.classifier, self.scale = classifier, scale

    def around(self, denoiser: Denoiser) -> Denoiser:
        return ClassifierGuided(denoiser, self.classifier, self.scale)

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        x0 = self.denoiser(x, t, condition)
        if condition is None:
            return x0
        weight = self.scale * self.path.sigma(t) ** 2 / self.path.alpha(t)
        return x0 + expand(weight, x) * meter.forward(operator.call, self.gradient, x, t, condition)

    def gradient(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """grad_x log p(labels | x, t), like x; with a graph of its own where gradients are being recorded."""
        recorded = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x if recorded and x.requires_grad else x.detach().requires_grad_()
            log_p = self.classifier.log_probability(x, self.path.alpha(t), self.path.noise_level(t), labels)
            (gradient,) = torch.autograd.grad(log_p.sum(), x, create_graph=recorded)
        return gradient

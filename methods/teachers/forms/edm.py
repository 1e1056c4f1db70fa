"""EDM's networks (Karras et al. 2022) and those that it took over: four preconditionings of two backbones."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...networks.edm import EDMPrecond, Preconditioner, VPPrecond, edm_network, iDDPMPrecond
from ...paths import EDM, VPDiscrete, VPLinear
from .. import preconditioned
from ..pretrained import Pretrained
from .base import Checkpoint, CheckpointError

EXAMPLE = '{"precond": "EDMPrecond", "kwargs": {...}}, what NVlabs/edm makes the network with'


def build(checkpoint: Checkpoint, dropout: float = 0.0) -> Pretrained:
    """The network of EDM's code with the checkpoint's weights. CheckpointError where they do not fit."""
    try:
        kwargs = {**checkpoint.config["kwargs"], "dropout": dropout}
        network = edm_network({"precond": checkpoint.config["precond"], "kwargs": kwargs})
        network.load_state_dict(checkpoint.state)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"not a network in EDM's form: {' '.join(str(error).split())[:300]}") from None
    return pretrained(network)


class LabelledNetwork(nn.Module):
    """F(x, c_noise, labels) of EDM's backbone, which takes a row for each sample: one-hot, zeros for the null label.

    labels: (B,) int64 from 0, `classes` or None for the null label.
    """

    model: Any

    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__()
        self.model, self.classes = model, classes

    def forward(
        self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None, embedding: Tensor | None = None
    ) -> Tensor:
        output: Tensor = self.model(x, c_noise, rows(condition, self.classes, x), embedding=embedding)
        return output

    def embed(self, c_noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """The backbone's embedding of c_noise (B,) and labels (B,), or null."""
        embedding: Tensor = self.model.embed(c_noise, rows(condition, self.classes, c_noise))
        return embedding


class Negated(LabelledNetwork):
    """The same, its output times -1: EDM's networks for VE are trained on -eps."""

    def forward(
        self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None, embedding: Tensor | None = None
    ) -> Tensor:
        return -super().forward(x, c_noise, condition, embedding)


def pretrained(network: Preconditioner) -> Pretrained:
    """A network of EDM's code as trained on its own path: table 1 of Karras et al. 2022, read backwards."""
    shape = (network.img_channels, network.img_resolution, network.img_resolution)
    backbone = LabelledNetwork(network.model, network.label_dim)
    facts: dict[str, Any] = {"shape": shape, "classes": network.label_dim}
    facts["null"] = getattr(network.model, "label_dropout", 0.0) > 0
    if isinstance(network, EDMPrecond):
        path = EDM(network.sigma_min, network.sigma_max)
        return Pretrained(backbone, path, "F", preconditioned.c_noise, **facts, sigma_data=network.sigma_data)
    if isinstance(network, VPPrecond):
        labels = network.M - 1
        vp = VPLinear(network.beta_min, network.beta_min + network.beta_d, network.epsilon_t)
        return Pretrained(backbone, vp, "eps", lambda t: labels * t, **facts)
    if isinstance(network, iDDPMPrecond):
        u = network.u.double().flip(0)
        chain = VPDiscrete(tuple((1 - (1 + u[:-1] ** 2) / (1 + u[1:] ** 2)).tolist()), t_min=1 / network.M)
        return Pretrained(backbone, chain, "eps", partial(_nearest_label, chain), **facts)
    ve = EDM(network.sigma_min, network.sigma_max)
    return Pretrained(Negated(network.model, network.label_dim), ve, "eps", lambda t: torch.log(t / 2), **facts)


def _nearest_label(chain: VPDiscrete, t: Tensor) -> Tensor:
    """EDM asks such a network at the label whose noise level is nearest."""
    label = chain.label(t).clamp(min=0)
    below, above = label.floor(), label.ceil()
    levels = [chain.noise_level(chain.time_of_label(n)) for n in (below, above)]
    return torch.where(chain.noise_level(t) - levels[0] <= levels[1] - chain.noise_level(t), below, above)


def rows(labels: Tensor | None, classes: int, x: Tensor) -> Tensor | None:
    """Labels (B,) as rows (B, classes) of x's dtype, of zeros for the label `classes`; None, which stands for zeros."""
    if labels is None or classes == 0:
        return None
    return functional.one_hot(labels.to(x.device), classes + 1)[:, :classes].to(x.dtype)

"""EDM's networks (Karras et al. 2022) and those that it took over: four preconditionings of two backbones."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...networks.edm import EDMPrecond, Preconditioner, VEPrecond, VPPrecond, edm_network, iDDPMPrecond
from ...paths import EDM, Path, VPDiscrete, VPLinear
from ..pretrained import Prediction, Pretrained
from . import schedules
from .base import Checkpoint, CheckpointError, Label, negate


class LabelledNetwork(nn.Module):
    """F(x, c_noise, labels) of EDM's backbone, which takes a row for each sample: one-hot, zeros for the null label.

    labels: (B,) int64 from 0, `classes` or None for the null label.
    """

    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__()
        self.model, self.classes = model, classes

    def forward(self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None) -> Tensor:
        output: Tensor = self.model(x, c_noise, rows(condition, self.classes, x))
        return output


def rows(labels: Tensor | None, classes: int, x: Tensor) -> Tensor | None:
    """Labels (B,) as rows (B, classes) of x's dtype, of zeros for the label `classes`; None, which stands for zeros."""
    if labels is None or classes == 0:
        return None
    return functional.one_hot(labels.to(x.device), classes + 1)[:, :classes].to(x.dtype)


def network(checkpoint: Checkpoint, dropout: float) -> Preconditioner:
    """D(x; sigma) with the checkpoint's weights. CheckpointError, which does not name the file, where they do not fit."""
    try:
        kwargs = {**checkpoint.config["kwargs"], "dropout": dropout}
        made = edm_network({"precond": checkpoint.config["precond"], "kwargs": kwargs})
        made.load_state_dict(checkpoint.state)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"not a network in EDM's form: {' '.join(str(error).split())[:300]}") from None
    return made


def c_noise(sigma: Tensor) -> Tensor:
    return torch.log(sigma) / 4


def build(checkpoint: Checkpoint, dropout: float = 0.0) -> Pretrained:
    made = network(checkpoint, dropout)
    path, prediction, time_of = _conventions(made)
    if isinstance(made, VEPrecond):
        negate(*_last(made.model))
    side = made.img_resolution
    return Pretrained(
        network=LabelledNetwork(made.model, made.label_dim),
        path=path,
        prediction=prediction,
        time_of=time_of,
        shape=(made.img_channels, side, side),
        classes=made.label_dim,
        null=checkpoint.config["kwargs"].get("label_dropout", 0) > 0,
        sigma_data=made.sigma_data if isinstance(made, EDMPrecond) else 0.5,
    )


def _conventions(made: Preconditioner) -> tuple[Path, Prediction, Any]:
    """The path that the backbone was trained on, what it says there once its sign is right, and its time."""
    if isinstance(made, VPPrecond):
        vp = VPLinear(made.beta_min, made.beta_min + made.beta_d, made.epsilon_t)
        return vp, "eps", Scaled(made.M - 1)
    if isinstance(made, VEPrecond):
        # Data in [0, 1] for Song et al.: their sigma is half of ours.
        return EDM(made.sigma_min, made.sigma_max), "eps", log_half
    if isinstance(made, iDDPMPrecond):
        chain = VPDiscrete(schedules.cosine_betas(made.M, made.C_2, 1 - made.C_1), t_min=1 / made.M)
        return chain, "eps", Label(chain)
    return EDM(made.sigma_min, made.sigma_max), "F", c_noise


class Scaled:
    """t -> factor t."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, t: Tensor) -> Tensor:
        return t * self.factor


def log_half(sigma: Tensor) -> Tensor:
    return torch.log(sigma / 2)


def _last(backbone: nn.Module) -> list[nn.Module]:
    """The layers whose sum is the backbone's output."""
    return [layer for name, layer in backbone.named_modules() if name.endswith(("aux_conv", "out_conv"))]
